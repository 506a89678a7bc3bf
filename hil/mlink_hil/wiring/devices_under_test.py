"""Which simulated chips a bench has beside its boards."""

from __future__ import annotations

from mlink.bench import Bench
from mlink_hil.wiring.parts import Chip
from mlink_hil.wiring.table import TABLE, read_parts


def chips(bench: Bench) -> list[str]:
    """Return the names of the bench's chips; in a run on real devices they are not there."""
    parts = read_parts(bench.tables.get(TABLE, {}))
    return [name for name, part in parts.items() if isinstance(part, Chip)]
