"""Calls that are due at a time of a virtual clock, in the order of their times."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Agenda:
    """Delayed calls; of those due at the same µs the one that was asked for first comes first."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    @property
    def next_usec(self) -> int | None:
        """When the next call is due; None when there is none."""
        return self._calls[0][0] if self._calls else None

    def call_at(self, time_usec: int, call: Callable[[], object]) -> None:
        """Call once, when it is that time."""
        heapq.heappush(self._calls, (time_usec, next(self._numbers), call))

    def run_due(self, now_usec: int) -> bool:
        """Do all that is due by now; return whether there was any.

        What these calls ask for anew waits for the next time; when one raises, the others stay.
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
