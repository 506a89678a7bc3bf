"""The tables [wiring] and [host] of a devices file: wires to a tester board, and a slow host.

    # lab.toml, given by --devices or --mlink-devices
    [devices]
    uno = "/dev/ttyACM0"
    tester = "/dev/ttyACM1"     # any Firmata board

    [wiring]                    # the bench's line = the tester's line
    "uno.7" = "tester.4"
    "uno.8" = "tester.5"

    [host]                      # only where the bench's computer is slow: an emulator
    slow = 20                   # factor of the deadlines of tests and of a run's start and stop

Tests and `mlink verify-timing` use them; `mlink run` and `check` only check them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from mlink.bench import Bench
from mlink.bench.file import Problem, shown
from mlink.proposals import proposal

_WIRING, _HOST = "wiring", "host"
_SLOWEST = 1000

Wires: TypeAlias = dict[str, str]
"""A line of the bench → the tester's line wired to it, both "device.line"."""


def wires_of(bench: Bench) -> Wires:
    """Return the wires of `[wiring]`; empty without that table.

    `check_wiring` has checked the table when the bench was loaded.
    """
    return dict(bench.lab.get(_WIRING, {}))


def slowness(bench: Bench) -> float:
    """Return the factor of deadlines on this host, 1 to 1000: `slow` of `[host]`, or 1."""
    return float(bench.lab.get(_HOST, {}).get("slow", 1))


def check_wiring(given: Any, devices: Mapping[str, str]) -> list[Problem]:
    """Return the problems of a `[wiring]` table.

    Args:
        given: The table as read.
        devices: The [devices] table: both ends of a wire must be in it.
    """
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
    """Return the problems of a `[host]` table (an entry point, hence the unused devices)."""
    slow: Any = given.get("slow", 1) if isinstance(given, dict) and set(given) <= {"slow"} else None
    if type(slow) in (int, float) and 1 <= slow <= _SLOWEST:
        return []
    what = "is not a table with one key, slow, and a number"
    return [Problem("[host]", what, f"Write slow = 1 to {_SLOWEST}.")]
