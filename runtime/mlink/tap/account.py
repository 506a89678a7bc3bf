"""What of a stream has reached the tap's subscriber, and at which times something is missing."""

from __future__ import annotations

from dataclasses import dataclass

BEFORE_ALL = -(1 << 62)
"""A time before every item."""
_KEPT_GAPS = 1000
"""Beyond it the two oldest gaps become one, which lasts from the first to the second."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Items that are missing; their times are between the two master times."""

    from_usec: int
    to_usec: int
    count: int


class StreamAccount:
    """Counts one stream's items by their numbers, wherever on the way some were lost.

    Args:
        stream: Its name, "module.port".
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.lost = 0
        """Items that have not arrived."""
        self.repeated = 0
        """Items that came again, or after later ones; they are refused, and stay lost."""
        self.doubtful = False
        """Whether more may be lost after the last item."""
        self.gaps: tuple[Gap, ...] = ()
        self._next = 0
        self._last_usec = BEFORE_ALL
        self._disorder_usec = 0
        """How far the times of items go back at most, beyond their uncertainty."""

    def note(self, seq: int, earliest_usec: int, latest_usec: int) -> bool:
        """Note an item that has arrived; return whether it is the next one or a later one.

        Args:
            seq: Its number in the stream, from 0.
            earliest_usec: The earliest time at which it may have been.
            latest_usec: The latest one.
        """
        if seq < self._next:
            self.repeated += 1
            return False
        self._skip_to(seq, latest_usec)
        self._next = seq + 1
        self.doubtful = False
        if earliest_usec < self._last_usec:
            self._disorder_usec = max(self._disorder_usec, self._last_usec - earliest_usec)
        self._last_usec = max(self._last_usec, earliest_usec)
        return True

    def note_taken(self, taken: int, time_usec: int, *, doubtful: bool) -> None:
        """Note how many items the tap has taken by a master time; what has not arrived is lost.

        Args:
            taken: The number of items, lost ones included.
            time_usec: The master time.
            doubtful: Whether more may be lost, which nothing has shown yet.
        """
        self._skip_to(taken, time_usec)
        self._next = max(self._next, taken)
        self.doubtful = doubtful

    def unseen(self, from_usec: int, to_usec: int) -> tuple[int, str] | None:
        """Return what is missing between two master times, or None.

        Returns:
            The time from which on something is missing, and how to report it.
        """
        slack = self._disorder_usec
        gaps = [g for g in self.gaps if g.from_usec - slack <= to_usec]
        gaps = [g for g in gaps if g.to_usec + slack >= from_usec]
        if gaps:
            count = sum(gap.count for gap in gaps)
            text = f"{count} item(s) of {self.stream} were lost on their way to this test"
            return gaps[0].from_usec - slack, text
        if self.doubtful and self._last_usec - slack <= to_usec:
            text = f"items of {self.stream} may have been lost: the tap's queue was full"
            return self._last_usec - slack, text
        return None

    def in_order_from(self, usec: int) -> int:
        """Return the time from which on later items are, once there is one at this time."""
        return usec - self._disorder_usec

    def _skip_to(self, seq: int, latest_usec: int) -> None:
        if seq <= self._next:
            return
        self.lost += seq - self._next
        begin = self._last_usec
        gaps = [*self.gaps, Gap(begin, max(begin, latest_usec), seq - self._next)]
        if len(gaps) > _KEPT_GAPS:
            first, second, *rest = gaps
            gaps = [Gap(first.from_usec, second.to_usec, first.count + second.count), *rest]
        self.gaps = tuple(gaps)
