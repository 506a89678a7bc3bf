"""Delayed calls in virtual time, made in the order of their due times."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Agenda:
    """Pending calls; calls that are due at the same µs are made in the order of their requests."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    @property
    def next_usec(self) -> int | None:
        """Due time of the next call in µs; None when there is none."""
        return self._calls[0][0] if self._calls else None

    def call_at(self, time_usec: int, call: Callable[[], object]) -> None:
        """Call once, when the clock reaches `time_usec`.

        A time that has passed is due at once.
        """
        heapq.heappush(self._calls, (time_usec, next(self._numbers), call))

    def run_due(self, now_usec: int) -> bool:
        """Make the calls that are due; return whether there was any.

        Calls that are requested meanwhile wait for the next `run_due`. When a call raises, those
        after it stay pending.
        """
        due = []
        while self._calls and self._calls[0][0] <= now_usec:
            due.append(heapq.heappop(self._calls))
        for number, (_, _, call) in enumerate(due):
            try:
                call()
            except BaseException:
                for event in due[number + 1 :]:
                    heapq.heappush(self._calls, event)
                raise
        return bool(due)
