"""Reads and checks the tables [[faults]] of a bench file."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from mlink.bench import Bench
from mlink.bench.file import Places, Problem, Problems, convert, shown
from mlink.module import Category
from mlink.proposals import proposal
from mlink.types import DataType
from mlink_hil.board_kinds import UNO, kind_of
from mlink_hil.faults.kinds import KINDS, Fault, Scheduled, SkewClock, StuckLine

_LATEST_SEC = 1e7
_SETTINGS = "docs/hil.md lists the faults with their settings."
_OUTPUT = {"board": DataType.LineReading, "camera": DataType.Frame}


class _When(msgspec.Struct):
    at_sec: float
    for_sec: float | None = None


def read_faults(given: Any, bench: Bench) -> tuple[list[Scheduled], list[Problem]]:
    """Read faults.

    Args:
        given: The value of the key `faults`.
        bench: The bench that the faults are for.

    Returns:
        The faults, in order of time, and all problems found.
    """
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        remedy = "Write each fault as a table [[faults]]."
        return [], [Problem("[[faults]]", f"{shown(given)} is not a list of tables", remedy)]
    faults: list[Scheduled] = []
    found: list[Problem] = []
    for number, table in enumerate(given, 1):
        fault, problems = _read_one(dict(table), f"[[faults]] {number}", bench)
        found += problems
        if fault is not None:
            faults.append(fault)
    return sorted(faults, key=lambda each: each.at_sec), found


def _read_one(
    table: dict[str, Any], where: str, bench: Bench
) -> tuple[Scheduled | None, list[Problem]]:
    found: list[Problem] = []
    name = table.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        what = "'kind' is missing" if name is None else f"kind: unknown fault {shown(name)}"
        return None, [Problem(where, what, proposal(str(name or ""), KINDS, "kinds"))]
    if not kind.lasts and "for_sec" in table:
        table.pop("for_sec")
        found.append(Problem(where, f"for_sec: '{name}' has no end", "Omit it."))
    when_keys: dict[str, Any] = {
        key: table.pop(key) for key in ("at_sec", "for_sec") if key in table
    }
    problems = Problems(bench.path)
    places = _NumberedPlaces(where)
    when = convert(when_keys, _When, problems, places, remedy=_SETTINGS)
    fault = convert(table, kind, problems, places, ("at_sec", "for_sec", "kind"), _SETTINGS)
    found += problems
    if when is not None:
        found += [Problem(where, what) for what in _wrong_times(when)]
    if fault is not None:
        found += [Problem(where, what) for what in fault.problems()]
        if problem := wrong_target(fault, bench, where):
            found.append(problem)
    if found or fault is None or when is None:
        return None, found
    return Scheduled(fault, when.at_sec, when.for_sec), []


class _NumberedPlaces(Places):
    """Names the places of problems in one of several tables of the same name."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def __call__(self, *keys: str) -> str:
        return f"{self._where} {'.'.join(keys)}".strip()


def _wrong_times(when: _When) -> list[str]:
    found = []
    if not (math.isfinite(when.at_sec) and 0 <= when.at_sec <= _LATEST_SEC):
        found.append("at_sec: must be a master time, 0 or more")
    if when.for_sec is not None and not (math.isfinite(when.for_sec) and when.for_sec > 0):
        found.append("for_sec: must be above 0; omit it for a fault to the end of the run")
    return found


def wrong_target(fault: Fault, bench: Bench, where: str = "") -> Problem | None:
    """Return why a fault cannot have its target; None when it can.

    Args:
        fault: The fault.
        bench: The bench.
        where: The fault's place in the bench file, for the problem.
    """
    if fault.needs == "module":
        if fault.target in bench.modules:
            return None
        what = f"target: there is no module {shown(fault.target)}"
        return Problem(where, what, proposal(fault.target, bench.modules, "modules"))
    kinds = ("board", "camera") if isinstance(fault, SkewClock) else (fault.needs,)
    devices = {name for kind in kinds for name in devices_of(bench, kind)}
    spec = bench.device_spec(fault.target)
    if fault.target not in devices:
        what = f"target: there is no {' or '.join(kinds)} {shown(fault.target)}"
        return Problem(where, what, proposal(fault.target, devices, "devices"))
    if not spec.startswith("virtual:"):
        what = f"target: '{fault.target}' is {spec}, but '{fault.kind}' needs a virtual device"
        return Problem(where, what, "Real hardware can have: stall, kill, slow-disk.")
    kind = kind_of(spec) or UNO
    if isinstance(fault, StuckLine) and fault.line not in kind.user_pins:
        what = f"line: {kind.title} has no line {fault.line} to hold (valid: {kind.valid_pins})"
        return Problem(where, what, "Analog inputs by their pin number.")
    return None


def devices_of(bench: Bench, kind: str) -> set[str]:
    """Return the devices of a bench's boards (kind "board") or cameras ("camera")."""
    return {
        module.device
        for module in bench.modules.values()
        if module.device is not None
        and module.type.category is Category.DEVICE
        and any(port.data_type is _OUTPUT[kind] for port in module.outputs)
    }
