"""The `[fuzz]` table of a bench: what a search over seeds may disturb, and how much.

[fuzz]
crystal_ppm = 200
drop = 0.0001

[fuzz.settings]                            # any setting, as --set names it
"virtual.lamp.firmware" = ["a.hex", "b.hex"]
"loop.threshold" = { min = 10, max = 90 }
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from mlink.bench import Bench
from mlink.bench.file import Places, Problem, Problems, convert, shown
from mlink.proposals import proposal
from mlink_hil.uno import MOST_CLOCK_PPM, MOST_PHASE_USEC
from mlink_hil.wiring.circuit_parts import MAX_BOUNCE_USEC, MAX_BOUNCES, MAX_DELAY_USEC

TABLE = "fuzz"

KINDS = {
    "bounce": "bounces of buttons",
    "wires": "delays of wires",
    "crystals": "errors of crystals",
    "phases": "for how long chips have run, and cameras wait, when the run begins",
    "bytes": "serial bytes that are lost or damaged",
    "order": "order of modules that have something to do at one time",
    "seeds": "random sequences of the bench: its settings named `seed`",
    "settings": "settings named in [fuzz.settings]",
}
"""The kinds of disturbances, each with its meaning."""


class Between(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number within limits, both included; a whole one between whole limits."""

    min: int | float
    max: int | float


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[fuzz]` table; 0, or false, leaves a kind out."""

    bounces: int = 5
    """Most openings of a button's contact at a press or release, where it states no bounces."""
    bounce_usec: float = 1_000.0
    """Longest time between two edges of a bounce, where the button states none."""
    wire_usec: float = 50.0
    """Longest delay that is added to a wire."""
    crystal_ppm: float = 100.0
    """Largest error that is added to a crystal, either way."""
    phase_usec: int = 20_000
    """Longest phase of a chip, board or camera."""
    drop: float = 0.0
    """Share of the bytes of each serial line that are lost, 0 to 1."""
    corrupt: float = 0.0
    """Share of the bytes of each serial line in which a bit is inverted, 0 to 1."""
    order: bool = True
    """Whether the order of equal times is drawn."""
    seeds: bool = True
    """Whether settings named `seed` are drawn."""
    settings: dict[str, Between | list[Any]] = {}
    """Limits of a setting, or the list of its values."""


_RANGES = {
    "bounces": (0, MAX_BOUNCES),
    "bounce_usec": (1, MAX_BOUNCE_USEC),
    "wire_usec": (0, MAX_DELAY_USEC),
    "crystal_ppm": (0, MOST_CLOCK_PPM),
    "phase_usec": (0, MOST_PHASE_USEC),
    "drop": (0, 1),
    "corrupt": (0, 1),
}


def limits_of(bench: Bench) -> Limits:
    """Return the limits of a bench, whose table `check_limits` has checked."""
    return msgspec.convert(bench.others.get(TABLE, {}), Limits)


class _Keys(Places):
    """Names the keys of the table in messages."""

    def __call__(self, *keys: str) -> str:
        return f"[{TABLE}] {'.'.join(keys)}"


def check_limits(given: Any, bench: Bench) -> list[Problem]:
    """Return the problems of a `[fuzz]` table (an entry point of `mlink.bench_tables`).

    Args:
        given: The table as read.
        bench: The bench that it is for.
    """
    if not isinstance(given, dict):
        return [Problem(f"[{TABLE}]", f"{shown(given)} is not a table", "Write a table [fuzz].")]
    problems, where = Problems(bench.path), _Keys()
    limits = convert(given, Limits, problems, where, remedy="docs/fuzz.md lists the limits.")
    if limits is None:
        return list(problems)
    for key, (least, most) in _RANGES.items():
        if not least <= getattr(limits, key) <= most:
            problems.add(where(key), f"must be {least} to {most}")
    tables = {*bench.modules, *bench.tables}
    for name, values in limits.settings.items():
        place, (first, dot, _) = where("settings", name), name.partition(".")
        if not dot or first not in tables:
            what = f"{shown(name)} is not the name of a setting, as --set has it"
            problems.add(place, what, proposal(first, tables, "modules and tables"))
        elif isinstance(values, Between):
            if not (math.isfinite(values.min) and math.isfinite(values.max)):
                problems.add(place, "limits must be finite numbers")
            elif values.min > values.max:
                problems.add(place, f"min is above max ({values.min} and {values.max})")
        elif not values:
            problems.add(place, "there is no value to choose", "List at least one value.")
    return list(problems)
