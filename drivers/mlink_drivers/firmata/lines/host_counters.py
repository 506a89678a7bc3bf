"""Counters of boards without mlink's firmware: the host counts the board's digital reports.

A report has the levels of eight lines after they have changed, so edges between two reports are not
seen. What was missed is not known, but for both lines of an encoder that changed in one report.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from mlink.reflexes import Edges
from mlink.waiting import Registration, Waiting
from mlink_drivers.firmata.chip.extra import Count
from mlink_drivers.firmata.lines.rows import Rows


class _Counter(msgspec.Struct):
    line: int
    order: Count
    levels: dict[int, int]
    """Level of each line; no entry until its first report."""
    position: int = 0
    edges: int = 0
    missed: int = 0
    last_ns: int = 0
    high_ns: int = 0
    """How long the line has been high, in all; at the last counted edge: `last_high_ns`."""
    last_high_ns: int = 0
    rose_ns: int = 0
    since: tuple[int, int, int] = (0, 0, 0)
    """Edges, time of the last one and `last_high_ns` at the row before; time 0: not known."""
    next_row: Registration | None = None

    @property
    def lines(self) -> tuple[int, ...]:
        second = self.order.second_line
        return (self.line,) if second is None else (self.line, second)


class HostCounters:
    """Counts changes of lines, and adds rows at the counters' periods.

    Args:
        rows: The table; None without one.
        waiting: Makes the calls that add rows.
        on_missed: Called with a text when steps of an encoder are missing.
    """

    def __init__(
        self, rows: Rows | None, waiting: Waiting, *, on_missed: Callable[[str], None]
    ) -> None:
        self.missed = 0
        self.rows_sent = 0
        self._rows = rows
        self._waiting = waiting
        self._on_missed = on_missed
        self._lock = threading.Lock()
        self._counters: dict[int, _Counter] = {}

    def count(self, line: int, order: Count) -> None:
        """Count from 0, also where this counter counts already."""
        self.stop(order.index)
        with self._lock:
            counter = self._counters[order.index] = _Counter(line, order, {})
            self._row_later(counter, self._waiting.now_ns())

    def stop(self, index: int) -> None:
        """End a counter."""
        with self._lock:
            counter = self._counters.pop(index, None)
            if counter is not None and counter.next_row is not None:
                counter.next_row.cancel()

    def release(self, line: int) -> None:
        """End the counters of a line that has another use."""
        for index, counter in list(self._counters.items()):
            if line in counter.lines:
                self.stop(index)

    def on_restarted(self) -> None:
        """Handle a board that is back: what its lines did meanwhile is not counted."""
        with self._lock:
            for counter in self._counters.values():
                counter.levels.clear()
                counter.since = (0, 0, 0)

    def take(self, changes: list[tuple[int, int]], arrival_ns: int) -> list[tuple[int, int]]:
        """Count the changes of one report; return those of lines that are not counted."""
        if not self._counters:
            return changes
        with self._lock:
            counted: set[int] = set()
            for counter in self._counters.values():
                mine = {line: value for line, value in changes if line in counter.lines}
                counted |= mine.keys()
                known = {line for line in mine if line in counter.levels}
                counter.levels.update(mine)
                if known:
                    self._count(counter, known, arrival_ns)
                elif counter.levels.get(counter.line):
                    counter.rose_ns = arrival_ns
        return [change for change in changes if change[0] not in counted]

    def _count(self, counter: _Counter, changed: set[int], time_ns: int) -> None:
        order, level = counter.order, counter.levels[counter.line]
        if order.second_line is not None:
            if len(changed) == 2:
                counter.missed += 1
                self.missed += 1
                self._on_missed(f"counter {order.index}: both lines of the encoder had changed")
                return
            second = counter.levels.get(order.second_line)
            if second is None:
                return
            is_first = counter.line in changed
            counter.position += 1 if (level == second) != is_first else -1
        else:
            if level:
                counter.rose_ns = time_ns
            elif counter.rose_ns:
                counter.high_ns += time_ns - counter.rose_ns
            if not order.kind & (Edges.RISING if level else Edges.FALLING):
                return
            counter.position += 1
        counter.edges += 1
        counter.last_ns, counter.last_high_ns = time_ns, counter.high_ns
        if not counter.since[1]:
            counter.since = counter.edges, time_ns, counter.high_ns

    def _row_later(self, counter: _Counter, due_ns: int) -> None:
        due_ns += counter.order.period_msec * 1_000_000
        counter.next_row = self._waiting.at(due_ns, lambda: self._row(counter, due_ns))

    def _row(self, counter: _Counter, due_ns: int) -> None:
        with self._lock:
            if self._counters.get(counter.order.index) is not counter:
                return
            now_ns = self._waiting.now_ns()
            self._row_later(counter, max(due_ns, now_ns - counter.order.period_msec * 1_000_000))
            order, rows = counter.order, self._rows
            is_encoder = order.second_line is not None
            frequency, duty = "", ""
            edges, since_ns, high_ns = counter.since
            span_ns = counter.last_ns - since_ns
            if not is_encoder and since_ns and counter.edges > edges and span_ns > 0:
                periods = (counter.edges - edges) / (2 if order.kind is Edges.BOTH else 1)
                frequency = f"{periods * 1e9 / span_ns:.6g}"
                if periods == int(periods):
                    duty = f"{min(1.0, (counter.last_high_ns - high_ns) / span_ns):.5f}"
                counter.since = counter.edges, counter.last_ns, counter.last_high_ns
            missed: int | str = counter.missed if is_encoder else ""
            counter.missed = 0
            if rows is not None:
                self.rows_sent += 1
                rows.add(
                    rows.time_usec(now_ns),
                    order.index,
                    counter.line,
                    counter.position,
                    counter.edges,
                    rows.time_usec(counter.last_ns) if counter.last_ns else "",
                    frequency,
                    duty,
                    missed,
                )
