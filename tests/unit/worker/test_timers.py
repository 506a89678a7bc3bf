"""Delayed calls, and how late they were."""

from __future__ import annotations

import pytest

from mlink import lateness
from mlink.worker import timers
from mlink.worker.timers import Timers

MS = 1_000_000


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.ns = 5_000 * MS

    def monotonic_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return self.ns / 1e9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timers, "time", clock)
    monkeypatch.setattr(lateness, "time", clock)
    return clock


def test_a_call_that_was_made_too_late_is_counted_and_a_warning(clock: Clock) -> None:
    warnings: list[str] = []
    calls = Timers(warnings.append)
    made: list[int] = []
    calls.add(50_000, lambda: made.append(1))
    calls.add(60_000, lambda: made.append(2))  # 3 ms late
    clock.ns += 49 * MS
    calls.run_due()
    assert made == []
    clock.ns += 14 * MS
    calls.run_due()
    assert made == [1, 2]
    figures = calls.figures()
    assert figures["delayed_call_late_max_usec"] == 13_000
    assert figures["delayed_calls_late"] == 2
    assert figures["delays_not_kept"] == 1
    assert warnings == [
        "a delayed call after 50.0 ms was made after 63.0 ms: it is made while the module waits"
        " (1 interval(s) not kept so far)"
    ]


def test_a_call_counts_the_time_that_the_call_before_it_took(clock: Clock) -> None:
    calls = Timers(lambda _: None)

    def slow() -> None:
        clock.ns += 30 * MS

    calls.add(10_000, slow)
    calls.add(10_000, lambda: None)
    clock.ns += 10 * MS
    calls.run_due()
    assert calls.figures()["delayed_call_late_max_usec"] == 30_000


def test_calls_of_before_the_start_are_not_timed(clock: Clock) -> None:
    warnings: list[str] = []
    calls = Timers(warnings.append)
    calls.add(10_000, lambda: None, timed=False)
    clock.ns += 900 * MS
    calls.run_due()
    assert calls.figures() == {}
    assert warnings == []
