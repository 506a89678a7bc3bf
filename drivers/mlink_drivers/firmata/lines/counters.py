"""Rows of the table `counters`, from the totals that the chip reports."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from mlink.reflexes import Edges
from mlink_drivers.firmata.chip.extra import Count
from mlink_drivers.firmata.chip.messages import CounterReport
from mlink_drivers.firmata.chip.orders import ChipOrders
from mlink_drivers.firmata.chip.session import ChipSession
from mlink_drivers.firmata.lines.rows import Rows

_WRAP: Final = 1 << 32
_SMALL_WRAP: Final = 1 << 14
_LONGEST_GAP_NS: Final = 1_000_000_000_000
"""Between two edges: beyond it ticks of the chip's clock are ambiguous."""


class _Counter(msgspec.Struct):
    """What is known of a counter since its order (`tag`), and before a restart of the board."""

    tag: int
    ordered: Count
    """The order that its position belongs to."""
    position: int
    edges: int
    before: CounterReport | None = None
    edge: CounterReport | None = None
    """The last report with a new edge."""
    edge_ns: int = 0
    reported_ns: int = 0
    """Time of the last report."""


class Counters:
    """Converts reports to rows: positions and counts do not wrap, times are master times.

    A restarted board counts on from the position before; what happened meanwhile is missing. Called
    in the reader's thread.

    Args:
        chip: The session with the chip.
        orders: Has the counters that were set.
        rows: The table; None without one.
        on_missed: Called with a text when the board could not count.
        log: Where that is logged, once for each counter.
    """

    def __init__(
        self,
        chip: ChipSession,
        orders: ChipOrders,
        rows: Rows | None,
        *,
        on_missed: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self.missed = 0
        """How often the board could not count."""
        self._chip = chip
        self._orders = orders
        self._rows = rows
        self._on_missed = on_missed
        self._log = log
        self._known: dict[int, _Counter] = {}

    def take(self, report: CounterReport) -> None:
        """Add a row for a report; one of an earlier order is ignored."""
        ordered = self._orders.counters.get(report.index)
        if ordered is None or ordered[2] != report.tag or not self._chip.keeps_time:
            return
        line, order, tag = ordered
        report_ns = self._chip.time_ns(report.ticks)
        known = self._known.get(report.index)
        if known is None or known.tag != tag:
            goes_on = known is not None and known.ordered is order
            position, edges = (known.position, known.edges) if known and goes_on else (0, 0)
            known = self._known[report.index] = _Counter(tag, order, position, edges)
        before = known.before
        new = (report.count - (before.count if before else 0)) % _WRAP
        edge_ns = 0
        if new:
            edge_ns = self._chip.time_ns(report.last_ticks, known.reported_ns)
        known.reported_ns = report_ns
        if before is not None and self._rows is not None:
            for _ in range((report.sequence - before.sequence - 1) % 128):
                self._rows.lose()
        moved = (report.position - (before.position if before else 0)) % _WRAP
        is_encoder = order.second_line is not None
        # Only an encoder counts backwards.
        known.position += moved - _WRAP if is_encoder and moved >= _WRAP // 2 else moved
        known.edges += new
        missed = self._count_missed(report, before, line)
        known.before = report
        frequency, duty = "", ""
        if new:
            if not is_encoder and known.edge is not None:
                frequency, duty = self._frequency(
                    known.edge, report, edge_ns - known.edge_ns, order.kind
                )
            known.edge, known.edge_ns = report, edge_ns
        if self._rows is not None:
            self._rows.add(
                self._rows.time_usec(report_ns),
                report.index,
                line,
                known.position,
                known.edges,
                self._rows.time_usec(known.edge_ns) if known.edge is not None else "",
                frequency,
                duty,
                missed,
            )

    def _frequency(
        self, edge: CounterReport, report: CounterReport, gap_ns: int, kind: Edges
    ) -> tuple[str, str]:
        """Return frequency in Hz and duty between two edges; empty when they are not known."""
        features, clock = self._chip.features, self._chip.clock
        assert features is not None
        assert clock is not None
        ticks = (report.last_ticks - edge.last_ticks) % _WRAP
        if not ticks or not 0 < gap_ns < _LONGEST_GAP_NS:
            return "", ""
        edges = (report.count - edge.count) % _WRAP
        tick_hz = features.tick_hz * (1 + clock.rate_ppm / 1e6)
        periods = edges / 2 if kind is Edges.BOTH else edges
        frequency = f"{periods * tick_hz / ticks:.6g}"
        if periods != int(periods):
            return frequency, ""  # half a period is left over
        high = (report.high_ticks - edge.high_ticks) % _WRAP
        return frequency, f"{min(1.0, high / ticks):.5f}"

    def _count_missed(self, report: CounterReport, before: CounterReport | None, line: int) -> int:
        """Return how often the board could not count since the report before; log the first."""
        missed = (report.errors - (before.errors if before else 0)) % _SMALL_WRAP
        glitches = (report.glitches - before.glitches) % _SMALL_WRAP if before else 0
        what = "pulses, on any line, were too short to be counted"
        if missed:
            what = "both lines of the encoder had changed at once: steps are missing"
        missed += glitches
        if missed:
            if not self.missed:
                self._log.warning(
                    "counter %d (line %d): %s. Later ones are counted", report.index, line, what
                )
            self.missed += missed
            self._on_missed(f"counter {report.index}: {missed} times {what}")
        return missed
