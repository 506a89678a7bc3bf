"""Edges that a chip makes (a train) or sees (a strobe): when each was, or is expected. Values only.

Times are master µs.
"""

from __future__ import annotations

import bisect
from collections import deque
from typing import Final, Protocol

from mlink_drivers.trigger import EdgeRow

_KEPT: Final = 4096
_LATEST: Final = 200
"""An edge that is so many frames late does not come."""
_AROUND: Final = 15
"""Intervals whose median is the period of a strobe."""


class Edges(Protocol):
    """The edges that are known, and where others are expected."""

    period_usec: float

    def position(self, time_usec: float) -> float:
        """Return the number of the edge at a time, as a fraction."""

    def time_usec(self, edge: int) -> float:
        """Return when an edge was, or is expected."""

    def use(self, edge: int) -> bool:
        """Note that a frame has an edge; return whether that is known to be lost."""

    def unseen(self, *, is_over: bool = False) -> int:
        """Return how many more edges of frames were not known then, and are lost for sure.

        Args:
            is_over: Whether no further edge comes.
        """


class TrainEdges:
    """The edges of a train: one is known, the others follow at the same period."""

    def __init__(self) -> None:
        self.period_usec = 0.0
        self._edge, self._time_usec = 0, 0

    def take(self, row: EdgeRow) -> None:
        """Learn where the train is by the newest estimate of the chip's clock."""
        self._edge, self._time_usec, self.period_usec = row.edge, row.time_usec, row.period_usec

    def position(self, time_usec: float) -> float:
        """Return the number of the edge at a time, as a fraction."""
        return self._edge + (time_usec - self._time_usec) / self.period_usec

    def time_usec(self, edge: int) -> float:
        """Return when an edge is."""
        return self._time_usec + (edge - self._edge) * self.period_usec

    def use(self, edge: int) -> bool:  # noqa: ARG002
        """Return False: the chip makes all of them."""
        return False

    def unseen(self, *, is_over: bool = False) -> int:  # noqa: ARG002
        """Return 0."""
        return 0


class StrobeEdges:
    """The edges of a strobe, as they were seen; a late one gets the time that the period predicts.

    Where edges may have been lost, or frames came without one, as many numbers are left out as fit
    into the interval.
    """

    def __init__(self) -> None:
        self.period_usec = 0.0
        self._numbers: deque[int] = deque(maxlen=_KEPT)
        self._times: deque[int] = deque(maxlen=_KEPT)
        self._intervals: deque[float] = deque(maxlen=_AROUND)
        self._doubt = False
        self._skipped: set[int] = set()
        self._expected: set[int] = set()
        """Edges of frames that were not known yet."""
        self._unseen = 0

    @property
    def first_usec(self) -> int | None:
        """When the oldest edge was that is known; None without one."""
        return self._times[0] if self._times else None

    @property
    def first(self) -> int:
        """Its number."""
        return self._numbers[0]

    def lose(self) -> None:
        """Edges may be missing before the next one."""
        self._doubt = True

    def take(self, time_usec: int) -> None:
        """Add an edge; they come in order."""
        if not self._times:
            self._numbers.append(0)
            self._times.append(time_usec)
            return
        interval = time_usec - self._times[-1]
        if interval <= 0:
            return
        steps = 1
        if (self._doubt or self._expected) and self.period_usec:
            steps = max(1, round(interval / self.period_usec))
        self._doubt = False
        last = self._numbers[-1]
        number = last + steps
        skipped = set(range(max(last + 1, number - _KEPT), number))
        self._unseen += len(self._expected & skipped)
        self._skipped |= skipped - self._expected
        self._expected = {edge for edge in self._expected if edge > number}
        self._numbers.append(number)
        self._times.append(time_usec)
        self._intervals.append(interval / steps)
        self.period_usec = sorted(self._intervals)[len(self._intervals) // 2]

    def use(self, edge: int) -> bool:
        """Note that a frame has an edge; return whether that is known to be lost."""
        if edge > self._numbers[-1]:
            self._expected.add(edge)
        elif edge in self._skipped:
            self._skipped = {other for other in self._skipped if other > edge}
            return True
        return False

    def unseen(self, *, is_over: bool = False) -> int:
        """Return how many more edges of frames were not known then, and are lost for sure."""
        late = set()
        if is_over or len(self._expected) > _LATEST:
            newest = max(self._expected, default=0)
            late = {edge for edge in self._expected if is_over or edge < newest - _LATEST}
        self._expected -= late
        unseen, self._unseen = self._unseen + len(late), 0
        return unseen

    def position(self, time_usec: float) -> float:
        """Return the number of the edge at a time, as a fraction."""
        return self._between(self._times, self._numbers, time_usec, 1 / self.period_usec)

    def time_usec(self, edge: int) -> float:
        """Return when an edge was, or is expected."""
        return self._between(self._numbers, self._times, edge, self.period_usec)

    @staticmethod
    def _between(given: deque[int], wanted: deque[int], value: float, slope: float) -> float:
        """Return the wanted value at a given one: between two edges, or beyond them."""
        at = bisect.bisect_right(given, value) - 1
        if at < 0:
            return wanted[0] + (value - given[0]) * slope
        if at + 1 == len(given):
            return wanted[at] + (value - given[at]) * slope
        share = (value - given[at]) / (given[at + 1] - given[at])
        return wanted[at] + share * (wanted[at + 1] - wanted[at])
