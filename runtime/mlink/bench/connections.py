"""Connections of a bench: which output feeds which input, checked against the modules' ports."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

import msgspec

from mlink.bench.file import Places, Problems, convert, shown
from mlink.bench.module import Codec, Connection, ModuleConfig, Policy
from mlink.module import PortSpec
from mlink.proposals import proposal
from mlink.transport.codec import COMMANDS
from mlink.transport.conversion import fits
from mlink.types import DataType


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    source: str = msgspec.field(name="from")
    queue: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    codec: Codec = "raw"
    policy: Policy = ""


class Connections:
    """Reads the `inputs` tables of a bench's modules.

    Args:
        names: All modules of the file.
        modules: The modules that are valid by themselves; ports of the others are not checked.
        places: Names the keys of the file in messages.
        problems: Receives what is wrong.
    """

    def __init__(
        self,
        names: Collection[str],
        modules: Mapping[str, ModuleConfig],
        places: Places,
        problems: Problems,
    ) -> None:
        self._names = names
        self._modules = modules
        self._where = places
        self._problems = problems

    def read(self, name: str, inputs: object) -> list[Connection]:
        """Return the connections in a module's `inputs` table, without those that are invalid.

        Args:
            name: The module's name.
            inputs: Its `inputs` table: port → "module.port", or a table with `from`, `queue`, and
                for streams between hosts `codec` and `policy`.
        """
        if not isinstance(inputs, dict):
            self._problems.add(
                self._where("modules", name, "inputs"),
                f"{shown(inputs)} is not a table",
                'Write inputs = { PORT = "module.port" }.',
            )
            return []
        found = [self._connection(name, port, value) for port, value in inputs.items()]
        return [connection for connection in found if connection is not None]

    def _connection(self, name: str, port: str, value: object) -> Connection | None:
        where = self._where("modules", name, "inputs", port)
        if isinstance(value, list):
            what = f"an input accepts one stream, but {len(value)} are given"
            self._problems.add(where, what, "Give the module an input port for each stream.")
            return None
        if isinstance(value, str):
            value = {"from": value}
        if not isinstance(value, dict):
            what = f'{shown(value)} is not of the form "module.port"'
            self._problems.add(where, what, 'Write "module.port" or { from = "module.port" }.')
            return None
        link = convert(
            value, _Input, self._problems, self._where.below("modules", name, "inputs", port)
        )
        if link is None:
            return None
        target = self._target(name, port, where)
        source = self._source(link.source, where)
        if target and source and not fits(source[1].data_type, target.data_type):
            self._wrong_type(where, name, target, *source)
        if target and link.codec != "raw" and target.data_type is not DataType.Frame:
            what = f"codec is for frames, and '{name}.{port}' takes {target.data_type.name}"
            self._problems.add(where, what, "Leave it out.")
        if target and link.policy == "newest" and target.data_type in COMMANDS:
            what = f"'{name}.{port}' takes commands, of which none may be lost"
            self._problems.add(where, what, "Leave policy out.")
        source_module, _, source_port = link.source.partition(".")
        return Connection(
            port, source_module, source_port, link.queue, codec=link.codec, policy=link.policy
        )

    def _target(self, name: str, port: str, where: str) -> PortSpec | None:
        module = self._modules.get(name)
        if module is None:
            return None
        ports = {spec.id: spec for spec in module.inputs}
        if port not in ports:
            what = f"'{name}' ({module.type.id}) has no input port {shown(port)}"
            self._problems.add(where, what, proposal(port, ports, "input ports"))
        return ports.get(port)

    def _source(self, source: str, where: str) -> tuple[str, PortSpec] | None:
        name, dot, port = source.partition(".")
        if not (name and dot and port):
            what = f'{shown(source)} is not of the form "module.port"'
            self._problems.add(where, what, self._propose_output(source))
            return None
        if name not in self._names:
            what = f"there is no module {shown(name)}"
            self._problems.add(where, what, proposal(name, self._names, "modules"))
            return None
        module = self._modules.get(name)
        if module is None:
            return None
        ports = {spec.id: spec for spec in module.outputs}
        if port not in ports:
            what = f"'{name}' ({module.type.id}) has no output port {shown(port)}"
            self._problems.add(where, what, proposal(port, ports, "output ports"))
            return None
        return name, ports[port]

    def _propose_output(self, module: str) -> str:
        if module in self._modules and self._modules[module].outputs:
            return f"Did you mean '{module}.{self._modules[module].outputs[0].id}'?"
        return 'Name a module and its output port, such as "cam.video".'

    def _wrong_type(
        self, where: str, name: str, target: PortSpec, source_name: str, source: PortSpec
    ) -> None:
        fitting = [
            f"{module.name}.{port.id}"
            for module in self._modules.values()
            for port in module.outputs
            if fits(port.data_type, target.data_type)
        ]
        wanted = target.data_type.name
        self._problems.add(
            where,
            f"'{source_name}.{source.id}' sends {source.data_type.name}, "
            f"but '{name}.{target.id}' accepts {wanted}",
            f"Outputs that fit: {', '.join(fitting[:10])}."
            if fitting
            else f"No module of this bench sends {wanted}.",
        )
