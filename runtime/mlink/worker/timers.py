"""Delayed calls of a module in real time, made from its loop in the order of their due times."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable


class Timers:
    """Pending calls; false when there are none.

    Calls that are due at the same ns are made in the order in which they were added.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[int, int, Callable[[], object]]] = []
        self._made = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def next_number(self) -> int:
        """The number of the call that is added next, from 0."""
        return self._made

    def add(self, delay_usec: int, call: Callable[[], object]) -> None:
        """Call once, `delay_usec` µs from now."""
        due_ns = time.monotonic_ns() + delay_usec * 1000
        heapq.heappush(self._calls, (due_ns, self._made, call))
        self._made += 1

    def limit(self, wait_ms: float) -> float:
        """Return `wait_ms`, shortened so that the next call is made in time."""
        if not self._calls:
            return wait_ms
        return max(0.0, min(wait_ms, (self._calls[0][0] - time.monotonic_ns()) / 1e6))

    def run_due(self) -> None:
        """Make the calls that are due."""
        now_ns = time.monotonic_ns()
        while self._calls and self._calls[0][0] <= now_ns:
            heapq.heappop(self._calls)[2]()
