"""One module's table of a bench: its type, settings, device and ports, checked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

from mlink.bench.file import Places, Problems, Table, convert, key_path, shown
from mlink.catalog import broken_types, device_schemes, module_types
from mlink.module import ModuleSettings, ModuleType, Ports, PortSpec
from mlink.proposals import nearest, proposal
from mlink.refusals import import_remedy

_RESERVED = ("type", "device", "host", "inputs", "stop_on_failure")
Codec = Literal["raw", "jpeg"]
Policy = Literal["", "all", "newest"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
CONTROLLER: Final = "controller"
"""What the machine that leads a run is called in messages and names; no host has that name."""
_KEY_OF_SENTENCE = re.compile(r"(?P<key>[\w.\[\]-]+): (?P<what>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Connection:
    """A subscription: an input port of a module and the output port that feeds it."""

    port: str
    source_module: str
    source_port: str
    queue: int | None = None
    """Length of the subscription's queue in items; None is the default of the data type."""
    order: Literal["", "first", "never", "feedback"] = ""
    """Between partners: the source comes first even in a cycle, or does not count for the order.
    "feedback" is for a part of a bench on one host: all of it has found the stream to be one."""
    codec: Codec = "raw"
    """How frames cross to another host; JPEG is smaller, and loses detail."""
    policy: Policy = ""
    """What crosses to another host while the link is slow: "all" that its queue holds, or the
    "newest" item alone; "" is "all"."""


@dataclass(frozen=True, slots=True)
class ModuleConfig:
    """One checked module of a bench.

    `inputs` and `outputs` are its declared ports, which may depend on its settings (scripts).
    """

    name: str
    type: ModuleType
    settings: ModuleSettings
    device: str | None
    """A key of the `[devices]` table, or a device string."""
    connections: tuple[Connection, ...]
    inputs: tuple[PortSpec, ...]
    outputs: tuple[PortSpec, ...]
    host: str = ""
    """The host that it runs on, a key of `[hosts]`; "" is the controller."""
    stop_on_failure: bool = True
    """Whether its failure while the run lasts ends the run; in virtual time it always does."""


class ModuleLoader:
    """Turns `[modules.NAME]` tables into modules, without their connections.

    Args:
        bench_dir: Folder of the bench file; relative paths in settings start there.
        devices: The `[devices]` table: key → device string.
        catalog: Module types by name; the installed ones when None.
        places: Names the keys of the file in messages.
        problems: Receives what is wrong.
    """

    def __init__(
        self,
        bench_dir: Path,
        devices: Mapping[str, str],
        catalog: Mapping[str, ModuleType] | None,
        places: Places,
        problems: Problems,
    ) -> None:
        self._dir = bench_dir
        self._devices = devices
        self._types = module_types() if catalog is None else catalog
        self._broken = broken_types() if catalog is None else {}
        self._where = places
        self._problems = problems

    def load(self, name: str, table: Table) -> ModuleConfig | None:
        """Return a module without its connections; None when its ports cannot be known.

        Args:
            name: Key of the module in `[modules]`.
            table: Its table. Keys other than `type`, `device`, `host`, `inputs` and
                `stop_on_failure` are settings.
        """
        if not _NAME.fullmatch(name):
            self._problems.add(
                self._where("modules", name),
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
        self._check_device(name, device, type_, settings)
        stops = table.get("stop_on_failure", True)
        if not isinstance(stops, bool):
            where = self._where("modules", name, "stop_on_failure")
            self._problems.add(where, f"must be true or false, not {shown(stops)}")
        ports = self._ports(name, type_, settings)
        host = self._host(name, table)
        return ModuleConfig(name, type_, settings, device, (), *ports, host, bool(stops))

    def _host(self, name: str, table: Table) -> str:
        """Return the host of a module; "" for the controller."""
        host = table.get("host", "")
        if isinstance(host, str) and (host or "host" not in table):
            return "" if host == CONTROLLER else host
        where = self._where("modules", name, "host")
        self._problems.add(where, f"{shown(host)} is not a host's name", 'Write host = "NAME".')
        return ""

    def _type(self, name: str, table: Table) -> ModuleType | None:
        if "type" not in table:
            typo = nearest("type", table)
            remedy = f"Did you mean 'type' by '{typo}'?" if typo else "`mlink modules` lists types."
            self._problems.add(self._where("modules", name), "the module has no 'type'", remedy)
            return None
        type_name = table["type"]
        found = self._types.get(type_name) if isinstance(type_name, str) else None
        if found is None:
            what = f"unknown module type {shown(type_name)}"
            remedy = proposal(str(type_name), self._types, "module types")
            if isinstance(type_name, str) and type_name in self._broken:
                what = f"module type '{type_name}' cannot be loaded: {self._broken[type_name]}"
                remedy = import_remedy(self._broken[type_name])
            self._problems.add(self._where("modules", name, "type"), what, remedy)
        return found

    def _settings(
        self, name: str, type_: ModuleType, given: dict[str, Any]
    ) -> ModuleSettings | None:
        settings = convert(
            given,
            type_.settings,
            self._problems,
            self._where.below("modules", name),
            _RESERVED,
            remedy=f"`mlink modules {type_.id}` shows what fits.",
        )
        try:
            sentences = settings.check(self._dir) if settings is not None else []
        except OSError as error:  # a path in the settings that no file system accepts
            sentences = [f"{error.strerror}: {shown(str(error.filename))}"]
        for sentence in sentences:
            match = _KEY_OF_SENTENCE.fullmatch(sentence)
            keys = match["key"].split(".") if match else []
            self._problems.add(
                self._where("modules", name, *keys),
                match["what"] if match else sentence,
                "Correct it in the bench file; paths are relative to the folder of that file.",
            )
        return None if sentences else settings

    def _ports(self, name: str, type_: ModuleType, settings: ModuleSettings) -> Ports:
        inputs, outputs = type_.ports_for(settings)
        for kind, ports in (("input", inputs), ("output", outputs)):
            for port, count in Counter(port.id for port in ports).items():
                if count > 1 or not port:
                    self._problems.add(
                        self._where("modules", name),
                        f"{count} {kind} ports have the id {shown(port)}",
                        "Give each port an id of its own.",
                    )
        return inputs, outputs

    # devices ------------------------------------------------------------------------------

    def check_device_table(self) -> None:
        """Add the problems of the `[devices]` table: values that are no device string."""
        for key, spec in self._devices.items():
            self._check_spec(self._where("devices", key), spec)

    def check_sharing(self, modules: Iterable[ModuleConfig]) -> None:
        """Add a problem for each module on a device that another has for itself alone."""
        users: dict[tuple[str, str, str], str] = {}
        for module in modules:
            if module.device is None or not module.type.one_per_device:
                continue
            spec = str(self._devices.get(module.device, module.device))
            # two keys of [devices] with the same `virtual:uno` are two boards
            one = spec if spec.startswith("/") else module.device
            first = users.setdefault((module.type.id, one, module.host), module.name)
            if first != module.name:
                self._problems.add(
                    self._where("modules", module.name, "device"),
                    f"module '{first}' uses {shown(spec)}, which serves one module at a time",
                    f"Remove one of them: several scripts can take the outputs of '{first}'.",
                )

    def _check_spec(self, where: str, spec: object) -> None:
        if not _is_spec(spec):
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

    def _check_device(
        self, name: str, device: str | None, type_: ModuleType, settings: ModuleSettings
    ) -> None:
        """Add what the module type finds wrong with a valid device string."""
        if type_.wrong_device is None or not (device or settings.names_device()):
            return
        spec = self._devices.get(device, device) if device else ""
        if not device or _is_spec(spec):
            what, remedy = type_.wrong_device(settings, spec)
            if what:
                self._problems.add(self._where("modules", name), what, remedy)

    def _device(
        self, name: str, device: object, type_: ModuleType, settings: ModuleSettings | None
    ) -> str | None:
        where = self._where("modules", name, "device")
        table = self._devices
        if device is None:
            if type_.uses_device and settings is not None and not settings.names_device():
                known = f" (one of: {', '.join(sorted(table))})" if table else ""
                self._problems.add(
                    self._where("modules", name),
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


def _is_spec(spec: object) -> TypeGuard[str]:
    return isinstance(spec, str) and bool(spec.strip()) and spec.isprintable()
