"""The host counts the digital reports of a board without mlink's firmware."""

from __future__ import annotations

from typing import Any

import pytest

from mlink.reflexes import Edges
from mlink_drivers.firmata.chip.extra import Count
from mlink_drivers.firmata.lines.host_counters import HostCounters


class Time:
    """A `Waiting` whose time the test sets."""

    def __init__(self) -> None:
        self.ns = 0
        self.calls: list[tuple[int, Any]] = []

    def now_ns(self) -> int:
        return self.ns

    def at(self, time_ns: int, call: Any) -> Any:
        self.calls.append((time_ns, call))
        return self

    def cancel(self) -> None: ...

    def run_to(self, ms: int) -> None:
        while self.calls and self.calls[0][0] <= ms * 1_000_000:
            self.ns, call = self.calls.pop(0)
            call()
        self.ns = ms * 1_000_000


class Table:
    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def add(self, *cells: object) -> None:
        self.rows.append(cells)

    def time_usec(self, ns: int) -> int:
        return ns // 1000


@pytest.fixture
def parts() -> tuple[HostCounters, Time, Table, list[str]]:
    time, table, told = Time(), Table(), list[str]()
    counters = HostCounters(table, time, on_missed=told.append)  # type: ignore[arg-type]
    return counters, time, table, told


def test_an_encoder_both_ways_and_both_lines_in_one_report(parts: Any) -> None:
    counters, time, table, told = parts
    counters.count(2, Count(0, 3, Edges.BOTH, False, 10))
    assert counters.take([(2, 0), (3, 0), (7, 1)], 0) == [(7, 1)]  # the first levels
    for changes in ([(2, 1)], [(3, 1)], [(2, 0)], [(2, 1)], [(2, 0), (3, 0)], [(2, 1)]):
        assert counters.take(changes, time.ns) == []
    time.run_to(10)
    assert table.rows[-1] == (10_000, 0, 2, 3, 5, 0 or table.rows[-1][5], "", "", 1)
    assert told == ["counter 0: both lines of the encoder had changed"]
    assert counters.missed == 1
    time.run_to(20)
    assert table.rows[-1][-1] == 0  # since the row before


def test_edges_with_frequency_and_duty_and_what_is_not_known(parts: Any) -> None:
    counters, time, table, _ = parts
    counters.count(7, Count(1, None, Edges.RISING, False, 100))
    counters.take([(7, 0)], 0)
    for at in range(1, 100):
        if at % 10 in (0, 3):
            time.run_to(at)
            counters.take([(7, int(at % 10 == 0))], time.ns)
    time.run_to(100)
    assert table.rows == [(100_000, 1, 7, 9, 9, 90_000, "100", "0.30000", "")]
    counters.on_restarted()
    counters.take([(7, 1)], time.ns)  # its level after the gap is no edge
    time.run_to(200)
    assert table.rows[-1][3:5] == (9, 9)
    counters.release(7)
    assert counters.take([(7, 0)], time.ns) == [(7, 0)]
    time.run_to(400)
    assert len(table.rows) == 2
