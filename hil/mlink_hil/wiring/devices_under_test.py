"""Finds the simulated chips of a bench, which tests handle as they handle boards."""

from __future__ import annotations

from mlink.bench import Bench
from mlink_hil.wiring.circuit_parts import Chip
from mlink_hil.wiring.table import TABLE, read_parts


def chips(bench: Bench) -> list[str]:
    """Return the names of the bench's chips; a run on real devices does not have them."""
    parts = read_parts(bench.tables.get(TABLE, {}))
    return [name for name, part in parts.items() if isinstance(part, Chip)]
