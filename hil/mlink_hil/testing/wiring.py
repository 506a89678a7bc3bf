"""Real benches: lines of the board under test are wired to lines of a tester board.

    # lab.toml, given by --mlink-devices
    [devices]
    uno = "/dev/ttyACM0"
    tester = "/dev/ttyACM1"     # any Firmata board

    [wiring]                    # the bench's line = the tester's line
    "uno.7" = "tester.4"
    "uno.8" = "tester.5"

    [host]                      # where the bench's computer is slow: an emulator
    slow = 20                   # deadlines, and limits of durations, are so many times as long

What a test drives on the bench's line is then driven by the tester's, and an edge on it is what the
tester reports.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import tomlkit

from mlink.bench import Bench, load_bench
from mlink.bench.file import read_toml
from mlink.bench.module import Connection, ModuleConfig
from mlink.catalog import module_type
from mlink.errors import BenchError
from mlink_hil.testing.catalog import TAP_NAME, drive_port

_TESTER_TYPE = "firmata-io"
_SLOWEST = 1000

Wires = dict[str, str]
"""A line of the bench → the tester's line wired to it, both "device.line"."""


def slowness(devices: Path | None) -> float:
    """Return how many times as long deadlines are, as a devices file's [host] table says."""
    host = read_toml(devices).get("host", {}) if devices is not None else {}
    slow = host.get("slow", 1) if isinstance(host, dict) and set(host) <= {"slow"} else None
    if not isinstance(slow, int | float) or not 1 <= slow <= _SLOWEST:
        raise BenchError(
            f"{devices}: [host] is not understood", remedy=f"Write slow = 1 to {_SLOWEST}, no more."
        )
    return float(slow)


def load_wired(path: Path, devices: Path | None, overrides: Sequence[str]) -> tuple[Bench, Wires]:
    """Load a bench with a devices file that may hold a [wiring] table."""
    if devices is None:
        return load_bench(path, overrides=overrides), {}
    table = read_toml(devices)
    if not table.keys() & {"wiring", "host"}:
        return load_bench(path, devices=devices, overrides=overrides), {}
    table.pop("host", None)
    wires = _checked(devices, table.pop("wiring", {}))
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(tomlkit.dumps(table))
        file.flush()
        bench = load_bench(path, devices=Path(file.name), overrides=overrides)
    return bench, wires


def testers(wires: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tester boards, in order."""
    return tuple(sorted({wire.partition(".")[0] for wire in wires.values()}))


def add_testers(bench: Bench, wires: Mapping[str, str]) -> Bench:
    """Return the bench with a module for each tester board, driven by the tap."""
    modules = dict(bench.modules)
    kind = module_type(_TESTER_TYPE)
    for name in testers(wires):
        if name in modules or name not in bench.devices:
            raise BenchError(
                f"[wiring] names the tester '{name}', which is no device, or a module's name",
                remedy=f"Devices: {', '.join(bench.devices)}. Give the tester a name of its own.",
            )
        settings = kind.settings()
        inputs, outputs = kind.ports_for(settings)
        connection = Connection("fmctl", TAP_NAME, drive_port(name))
        modules[name] = ModuleConfig(name, kind, settings, name, (connection,), inputs, outputs)
    return replace(bench, modules=modules)


def _checked(path: Path, wiring: object) -> Wires:
    wires = dict(wiring) if isinstance(wiring, dict) else {"": ""}
    for ours, theirs in wires.items():
        for line in (ours, theirs):
            device, dot, number = str(line).partition(".")
            if not (device and dot and number.isdecimal()):
                raise BenchError(
                    f"{path}: [wiring] {line!r} is not a line of a device",
                    remedy='Write "uno.7" = "tester.4".',
                )
    return wires
