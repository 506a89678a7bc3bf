"""Delayed calls in virtual time, made in the order of their due times."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from mlink.clock import ManualClock


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

    def pass_alone(self, clock: ManualClock, end_usec: int, *, moves: bool) -> None:
        """Let time pass for one module while no other has turns, and make its calls meanwhile.

        Args:
            clock: The module's clock.
            end_usec: The end of that time, as the clock would show it.
            moves: Whether the clock moves; before a run it stands still, and later calls come
                nearer instead.
        """
        if moves:
            self._pass_until(clock, end_usec)
        else:
            self._pass_at(clock.time_usec, end_usec - clock.time_usec)

    def _pass_at(self, now_usec: int, duration_usec: int) -> None:
        left_usec = duration_usec
        while self._calls and (step_usec := max(0, self._calls[0][0] - now_usec)) <= left_usec:
            self._come_nearer(step_usec)
            left_usec -= step_usec
            self.run_due(now_usec)
        self._come_nearer(left_usec)

    def _come_nearer(self, by_usec: int) -> None:
        self._calls = [(due_usec - by_usec, number, call) for due_usec, number, call in self._calls]

    def _pass_until(self, clock: ManualClock, end_usec: int) -> None:
        while (due_usec := self.next_usec) is not None and due_usec <= end_usec:
            clock.time_usec = max(clock.time_usec, due_usec)
            self.run_due(clock.time_usec)
        clock.time_usec = max(clock.time_usec, end_usec)

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


def earliest(*times_usec: int | None) -> int | None:
    """Return the earliest of times, of which some are unknown; None without one."""
    return min((each for each in times_usec if each is not None), default=None)
