"""The bench: which modules run, how their ports connect, on which devices.

`load_bench` turns a TOML file into a checked `Bench`, or raises one BenchError that tells every
problem with its key and its remedy. A problem does not hide others, nor bring follow-on ones:
what depends on something wrong is not checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mlink.bench_file import (
    Problems,
    bench_path,
    convert,
    key_path,
    parse_value,
    read_toml,
    set_value,
    shown,
)
from mlink.catalog import broken_types, device_schemes, module_types, nearest, proposal
from mlink.errors import BenchError
from mlink.module import ModuleSettings, ModuleType, Ports, PortSpec

_RESERVED = ("type", "device", "inputs")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEY_OF_SENTENCE = re.compile(r"(?P<key>[\w.\[\]-]+): (?P<what>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Connection:
    """An input of a module and the stream that it subscribes to."""

    port: str
    source_module: str
    source_port: str
    queue: int | None = None
    """Bound of the subscription in items; None is the default of the data type."""


@dataclass(frozen=True, slots=True)
class ModuleConfig:
    """One module of a bench, checked."""

    name: str
    type: ModuleType
    settings: ModuleSettings
    device: str | None
    """A key of the `[devices]` table, or a device string."""
    connections: tuple[Connection, ...]
    inputs: tuple[PortSpec, ...]
    outputs: tuple[PortSpec, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """A checked bench."""

    name: str
    path: Path
    dir: Path
    """Folder of the bench file, absolute; relative paths in settings start here."""
    devices: dict[str, str]
    modules: dict[str, ModuleConfig]

    def device_spec(self, name: str) -> str:
        """Return the device string of a module's `device`, which may be one itself."""
        return self.devices.get(name, name)


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    bench: dict[str, Any] = {}
    devices: dict[str, str] = {}
    modules: dict[str, dict[str, Any]] = {}


class _DeviceFile(msgspec.Struct, forbid_unknown_fields=True):
    devices: dict[str, str]


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    source: str = msgspec.field(name="from")
    queue: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None


def load_bench(
    path: Path,
    *,
    devices: Path | None = None,
    overrides: Sequence[str] = (),
    catalog: Mapping[str, ModuleType] | None = None,
) -> Bench:
    """Load and check a bench file (or the `bench.toml` of a folder).

    Args:
        path: The file.
        devices: A file whose `[devices]` table replaces the bench's own.
        overrides: Settings as "module.key=value".
        catalog: Module types by name; those that are installed when None.

    Raises:
        BenchError: Something is wrong; the message tells all of it.
    """
    path = bench_path(path)
    table = read_toml(path)
    problems = Problems(path)
    overridden = _override(table, overrides, problems)
    file = convert(table, _File, problems, _top_level)
    problems.raise_if_any()
    assert file is not None
    head = convert(file.bench, _Head, problems, lambda *keys: f"[bench] {key_path(*keys)}".strip())
    if head is not None and (len(head.name) > 100 or not head.name.isprintable()):
        problems.add("[bench] name", "must be one line of at most 100 characters")
    if devices is not None:
        file.devices = _load_devices(devices)
    loader = _Loader(path, file, overridden, catalog, problems)
    modules = loader.load()
    problems.raise_if_any()
    resolved = path.resolve()
    name = head.name if head else ""
    return Bench(
        name=name or (resolved.parent.name if path.stem == "bench" else path.stem),
        path=resolved,
        dir=resolved.parent,
        devices=file.devices,
        modules=modules,
    )


def _top_level(*keys: str) -> str:
    return f"[{keys[0]}] {key_path(*keys[1:])}".strip() if keys else ""


def _load_devices(path: Path) -> dict[str, str]:
    problems = Problems(path)
    file = convert(read_toml(path), _DeviceFile, problems, _top_level)
    problems.raise_if_any()
    assert file is not None
    return file.devices


def _override(table: dict[str, Any], overrides: Sequence[str], problems: Problems) -> set[str]:
    """Apply `--set` options; return the "module.key" that they set."""
    done = set()
    modules = table.get("modules", {})
    for text in overrides:
        target, equals, value = text.partition("=")
        module, *keys = target.strip().split(".")
        if not equals or not keys or not all(keys):
            raise BenchError(
                f"--set {shown(text)} is not of the form module.key=value",
                remedy="For example --set cam.framerate=60.",
            )
        if not isinstance(modules, dict) or not isinstance(modules.get(module), dict):
            known = modules if isinstance(modules, dict) else ()
            problems.add(
                f"--set {target}",
                f"there is no module {shown(module)}",
                proposal(module, known, "modules"),
            )
        elif not set_value(modules[module], keys, parse_value(value.strip())):
            problems.add(f"--set {target}", "the key is not a table, so nothing can be set in it")
        done.add(f"{module}.{keys[0]}")
    return done


class _Loader:
    """Turns the tables of one file into modules."""

    def __init__(
        self,
        path: Path,
        file: _File,
        overridden: set[str],
        catalog: Mapping[str, ModuleType] | None,
        problems: Problems,
    ) -> None:
        self._dir = path.resolve().parent
        self._file = file
        self._overridden = overridden
        self._types = module_types() if catalog is None else catalog
        self._broken = broken_types() if catalog is None else {}
        self._problems = problems
        self._done: dict[str, ModuleConfig] = {}

    def load(self) -> dict[str, ModuleConfig]:
        """Load all modules: first each by itself, then their connections."""
        if not self._file.modules:
            self._problems.add(
                "[modules]", "there are no modules", "Add at least one table [modules.NAME]."
            )
        self._check_device_table()
        for name, table in self._file.modules.items():
            module = self._module(name, table)
            if module is not None:
                self._done[name] = module
        for name, table in self._file.modules.items():
            connections = self._connections(name, table.get("inputs", {}))
            if name in self._done:
                self._done[name] = replace(self._done[name], connections=tuple(connections))
        return self._done

    def _where(self, module: str, *keys: str) -> str:
        if keys and f"{module}.{keys[0]}" in self._overridden:
            return f"--set {key_path(module, *keys)}"
        return f"[{key_path('modules', module)}] {key_path(*keys)}".strip()

    def _module(self, name: str, table: dict[str, Any]) -> ModuleConfig | None:
        """Load a module without its connections; None when something is wrong with it."""
        before = len(self._problems)
        if not _NAME.fullmatch(name):
            self._problems.add(
                self._where(name),
                f"{shown(name)} cannot be a module's name",
                "Use at most 64 letters, digits, '-' and '_', beginning with a letter or digit.",
            )
        type_ = self._type(name, table)
        if type_ is None:
            return None
        given = {key: value for key, value in table.items() if key not in _RESERVED}
        settings = self._settings(name, type_, given)
        device = self._device(name, table.get("device"), type_, settings)
        if settings is None:
            return None
        ports = self._ports(name, type_, settings)
        if ports is None or len(self._problems) > before:
            return None
        return ModuleConfig(name, type_, settings, device, (), *ports)

    def _type(self, name: str, table: dict[str, Any]) -> ModuleType | None:
        if "type" not in table:
            typo = nearest("type", table)
            remedy = f"Did you mean 'type' by '{typo}'?" if typo else "`mlink modules` lists types."
            self._problems.add(self._where(name), "the module has no 'type'", remedy)
            return None
        type_name = table["type"]
        found = self._types.get(type_name) if isinstance(type_name, str) else None
        if found is None:
            what = f"unknown module type {shown(type_name)}"
            remedy = proposal(str(type_name), self._types, "module types")
            if isinstance(type_name, str) and type_name in self._broken:
                what = f"module type '{type_name}' cannot be loaded: {self._broken[type_name]}"
                remedy = "Reinstall the package that provides it, with its extras."
            self._problems.add(self._where(name, "type"), what, remedy)
        return found

    def _settings(
        self, name: str, type_: ModuleType, given: dict[str, Any]
    ) -> ModuleSettings | None:
        settings = convert(
            given, type_.settings, self._problems, lambda *keys: self._where(name, *keys), _RESERVED
        )
        if settings is None:
            return None
        for sentence in settings.check(self._dir):
            match = _KEY_OF_SENTENCE.fullmatch(sentence)
            self._problems.add(
                self._where(name, *match["key"].split(".")) if match else self._where(name),
                match["what"] if match else sentence,
                "Correct it in the bench file; paths are relative to the folder of that file.",
            )
        return settings

    def _ports(self, name: str, type_: ModuleType, settings: ModuleSettings) -> Ports | None:
        inputs, outputs = type_.ports_for(settings)
        for kind, ports in (("input", inputs), ("output", outputs)):
            for port, count in Counter(port.id for port in ports).items():
                if count > 1 or not port:
                    what = f"{count} {kind} ports have the id {shown(port)}"
                    self._problems.add(self._where(name), what, "Give each port an id of its own.")
        return inputs, outputs

    # devices ------------------------------------------------------------------------------

    def _check_device_table(self) -> None:
        for key, spec in self._file.devices.items():
            self._check_spec(f"[devices] {key_path(key)}", spec)

    def _check_spec(self, where: str, spec: str) -> None:
        if not spec.strip() or not spec.isprintable():
            self._problems.add(
                where,
                f"{shown(spec)} is not a device",
                'A device is for example "/dev/ttyACM0" or "virtual:uno"; see `mlink devices`.',
            )
            return
        scheme, colon, rest = spec.partition(":")
        if colon and scheme not in device_schemes():
            close = nearest(scheme, device_schemes())
            if close:
                remedy = f"Did you mean '{close}:{rest}'?"
                self._problems.add(where, f"unknown kind of device {shown(spec)}", remedy)

    def _device(
        self, name: str, device: object, type_: ModuleType, settings: ModuleSettings | None
    ) -> str | None:
        where = self._where(name, "device")
        table = self._file.devices
        if device is None:
            if type_.uses_device and settings is not None and not settings.names_device():
                known = f" (one of: {', '.join(sorted(table))})" if table else ""
                self._problems.add(
                    self._where(name),
                    f"a module of type '{type_.id}' needs a device",
                    f'Add device = "…" with a key of the [devices] table{known}.',
                )
        elif not isinstance(device, str):
            self._problems.add(where, f"{shown(device)} is not a text", 'Write device = "…".')
        elif not type_.uses_device:
            self._problems.add(
                where, f"a module of type '{type_.id}' uses no device", "Remove this key."
            )
        elif device in table:
            return device
        elif ":" in device or "/" in device:
            self._check_spec(where, device)
            return device
        else:
            self._problems.add(
                where,
                f"{shown(device)} is not in the [devices] table",
                proposal(device, table, "devices")
                if table
                else f'Add a table [devices] with {key_path(device)} = "…"; see `mlink devices`.',
            )
        return None

    # connections --------------------------------------------------------------------------

    def _connections(self, name: str, inputs: object) -> list[Connection]:
        if not isinstance(inputs, dict):
            self._problems.add(
                self._where(name, "inputs"),
                f"{shown(inputs)} is not a table",
                'Write inputs = { PORT = "module.port" }.',
            )
            return []
        found = [self._connection(name, port, value) for port, value in inputs.items()]
        return [connection for connection in found if connection is not None]

    def _connection(self, name: str, port: str, value: object) -> Connection | None:
        where = self._where(name, "inputs", port)
        if isinstance(value, list):
            what = f"an input takes one stream, {len(value)} are given"
            self._problems.add(where, what, "Give the module an input port for each stream.")
            return None
        if isinstance(value, str):
            value = {"from": value}
        if not isinstance(value, dict):
            what = f'{shown(value)} is not of the form "module.port"'
            self._problems.add(where, what, 'Write "module.port" or { from = "module.port" }.')
            return None
        link = convert(
            value, _Input, self._problems, lambda *keys: self._where(name, "inputs", port, *keys)
        )
        if link is None:
            return None
        target = self._target(name, port, where)
        source = self._source(link.source, where)
        if target is not None and source is not None and source[1].data_type != target.data_type:
            self._wrong_type(where, name, target, *source)
        source_module, _, source_port = link.source.partition(".")
        return Connection(port, source_module, source_port, link.queue)

    def _target(self, name: str, port: str, where: str) -> PortSpec | None:
        module = self._done.get(name)
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
        if name not in self._file.modules:
            what = f"there is no module {shown(name)}"
            self._problems.add(where, what, proposal(name, self._file.modules, "modules"))
            return None
        module = self._done.get(name)
        if module is None:
            return None
        ports = {spec.id: spec for spec in module.outputs}
        if port not in ports:
            what = f"'{name}' ({module.type.id}) has no output port {shown(port)}"
            self._problems.add(where, what, proposal(port, ports, "output ports"))
            return None
        return name, ports[port]

    def _propose_output(self, module: str) -> str:
        if module in self._done and self._done[module].outputs:
            return f"Did you mean '{module}.{self._done[module].outputs[0].id}'?"
        return 'Name a module and its output port, such as "cam.video".'

    def _wrong_type(
        self, where: str, name: str, target: PortSpec, source_name: str, source: PortSpec
    ) -> None:
        fitting = [
            f"{module.name}.{port.id}"
            for module in self._done.values()
            for port in module.outputs
            if port.data_type == target.data_type
        ]
        wanted = target.data_type.value
        self._problems.add(
            where,
            f"'{source_name}.{source.id}' sends {source.data_type.value}, "
            f"but '{name}.{target.id}' takes {wanted}",
            f"Outputs that send {wanted}: {', '.join(fitting[:10])}."
            if fitting
            else f"No module of this bench sends {wanted}.",
        )
