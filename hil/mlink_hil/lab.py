"""Our tables in a devices file: which lines a tester board is wired to, and how slow the host is.

    # lab.toml, given by --devices or --mlink-devices
    [devices]
    uno = "/dev/ttyACM0"
    tester = "/dev/ttyACM1"     # any Firmata board

    [wiring]                    # the bench's line = the tester's line
    "uno.7" = "tester.4"
    "uno.8" = "tester.5"

    [host]                      # where the bench's computer is slow: an emulator
    slow = 20                   # deadlines, and limits of durations, are so many times as long:
                                # those of the tests, and those of a run's start and stop

Tests use them; a run without a test has no need of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from mlink.bench import Bench
from mlink.bench.file import Problem, shown
from mlink.catalog import proposal

_WIRING, _HOST = "wiring", "host"
_SLOWEST = 1000

Wires: TypeAlias = dict[str, str]
"""A line of the bench → the tester's line wired to it, both "device.line"."""


def wires_of(bench: Bench) -> Wires:
    """Return the wires between a bench's boards and its testers."""
    return dict(bench.lab.get(_WIRING, {}))


def slowness(bench: Bench) -> float:
    """Return how many times as long deadlines are on this host."""
    return float(bench.lab.get(_HOST, {}).get("slow", 1))


def check_wiring(given: Any, devices: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong in a `[wiring]` table."""
    if not isinstance(given, dict):
        return [Problem("[wiring]", f"{shown(given)} is not a table", _WIRING_REMEDY)]
    found = []
    for ours, theirs in given.items():
        for line in (ours, theirs):
            where = f"[wiring] {shown(ours)}"
            device, dot, number = str(line).partition(".")
            if not (device and dot and number.isdecimal()):
                what = f"{shown(line)} is not a line of a device"
                found.append(Problem(where, what, _WIRING_REMEDY))
            elif device not in devices:
                what = f"{shown(device)} is not in the [devices] table"
                found.append(Problem(where, what, proposal(device, devices, "devices")))
    return found


_WIRING_REMEDY = 'Write "uno.7" = "tester.4".'


def check_host(given: Any, devices: Mapping[str, str]) -> list[Problem]:  # noqa: ARG001
    """Return what is wrong in a `[host]` table."""
    slow: Any = given.get("slow", 1) if isinstance(given, dict) and set(given) <= {"slow"} else None
    if type(slow) in (int, float) and 1 <= slow <= _SLOWEST:
        return []
    return [Problem("[host]", "is not understood", f"Write slow = 1 to {_SLOWEST}, no more.")]
