"""Delayed calls of a module in real time, made from its loop in the order of their due times."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

from mlink.lateness import Intervals, Lateness

_UNTIMED = -1
_LATE_CALL = "a delayed call after {asked} was made after {made}: it is made while the module waits"


class Timers:
    """Pending calls; false when there are none.

    Calls that are due at the same ns are made in the order in which they were added.

    Args:
        warn: Called with a warning when a call was made too late, at most once a second.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._calls: list[tuple[int, int, int, Callable[[], object]]] = []
        self._made = 0
        self._lateness = Lateness()
        self._intervals = Intervals(warn)

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def next_number(self) -> int:
        """The number of the call that is added next, from 0.

        Journals identify a call by it.
        """
        return self._made

    def add(self, delay_usec: int, call: Callable[[], object], *, timed: bool = True) -> None:
        """Call once, `delay_usec` µs from now; `timed` counts by how much the call is late.

        Args:
            delay_usec: Delay in µs; 0 is due in the next turn of the loop.
            call: The function.
            timed: Whether its delay is in the figures.
        """
        delay_ns = delay_usec * 1000
        due_ns = time.monotonic_ns() + delay_ns
        heapq.heappush(self._calls, (due_ns, self._made, delay_ns if timed else _UNTIMED, call))
        self._made += 1

    def limit(self, wait_ms: float) -> float:
        """Return `wait_ms`, shortened so that the next call is made in time.

        Args:
            wait_ms: Longest wait, in ms.
        """
        if not self._calls:
            return wait_ms
        return max(0.0, min(wait_ms, (self._calls[0][0] - time.monotonic_ns()) / 1e6))

    def run_due(self) -> None:
        """Make the calls that are due."""
        now_ns = time.monotonic_ns()
        while self._calls and self._calls[0][0] <= now_ns:
            due_ns, _, delay_ns, call = heapq.heappop(self._calls)
            if delay_ns != _UNTIMED:
                late_ns = time.monotonic_ns() - due_ns
                self._lateness.note(late_ns)
                self._intervals.check(delay_ns, late_ns, _LATE_CALL)
            call()

    def figures(self) -> dict[str, float]:
        """Return how late the calls were, for the summary of the run; empty without any.

        The keys begin with `delayed_call`; `delays_not_kept` counts intervals that were not kept.
        """
        figures = self._lateness.figures("delayed_call")
        missed = self._intervals.missed
        return figures | ({"delays_not_kept": missed} if missed else {})
