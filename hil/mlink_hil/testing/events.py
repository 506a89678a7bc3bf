"""What a test sees of a run: events at master times that are only known within bounds.

A time is a nominal value and how much earlier or later it may truly have been. Every verdict is
drawn from these bounds, so that what they do not decide is told as undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Span:
    """A duration between two events: nominal µs, and its bounds."""

    usec: int
    lowest_usec: int
    highest_usec: int

    @classmethod
    def quantile(cls, spans: Sequence[Span], share: float) -> Span:
        """Return a quantile (0 to 1) of several durations, and of their bounds."""
        columns = zip(
            *((each.usec, each.lowest_usec, each.highest_usec) for each in spans), strict=True
        )
        return cls(*(round(float(np.quantile(column, share))) for column in columns))

    def __str__(self) -> str:
        if self.lowest_usec == self.highest_usec:
            return f"{self.usec} µs"
        return f"{self.usec} µs ({self.lowest_usec} to {self.highest_usec})"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on a channel ("uno.8", "cam.video", "loop.table-out")."""

    channel: str
    time_usec: int
    """Nominal master time."""
    value: float = 0
    """Level of an edge, value of a reading, number of a frame, brightness of a region."""
    early_usec: int = 0
    """How much earlier than `time_usec` it may have been, in µs."""
    late_usec: int = 0
    """How much later than `time_usec` it may have been, in µs."""
    cells: tuple[str, ...] = ()
    """Cells of a table row."""
    caused: bool = False
    """Whether it was made on purpose: by the test, or as a fault."""
    previous: float | None = field(default=None, compare=False)
    """Value of the channel before; None when it was not known."""
    waited_usec: int = field(default=0, compare=False)
    """How much of the time since what it answers to the host of a virtual bench was busy, in µs:
    a duration may be that much shorter where it is not."""
    noted_ns: int = field(default=0, compare=False)
    """When the test was told of it, or, of a stimulus, when it asked for it (CLOCK_MONOTONIC)."""

    @property
    def earliest_usec(self) -> int:
        """The earliest time that it may have been at."""
        return self.time_usec - self.early_usec

    @property
    def latest_usec(self) -> int:
        """The latest time that it may have been at."""
        return self.time_usec + self.late_usec

    def since(self, other: Event) -> Span:
        """Return how long after another event this one was."""
        return Span(
            self.time_usec - other.time_usec,
            self.earliest_usec - other.latest_usec - self.waited_usec,
            self.latest_usec - other.earliest_usec,
        )

    def __str__(self) -> str:
        what = " ".join(self.cells) if self.cells else f"{self.value:g}"
        return f"{self.channel} → {what} at {self.time_usec} µs"


@dataclass(frozen=True, slots=True)
class Window:
    """Time between `low_usec` and `high_usec` after an event (or around it, when low < 0)."""

    origin: Event
    low_usec: int
    high_usec: int

    def holds(self, event: Event) -> bool | None:
        """Tell whether an event is inside; None when the bounds of the times do not decide.

        An event that is nominally after the origin, or may be and was not known when the test
        acted, is taken to be after it: only the far end of the window, the deadline, can be
        undecided for it.
        """
        span = event.since(self.origin)
        if self.low_usec < 0:
            inside_low = _between(self.low_usec, span.lowest_usec, span.highest_usec)
        elif span.usec >= self.low_usec:
            inside_low = True
        elif span.highest_usec < self.low_usec:
            inside_low = False
        else:
            came_later = self.origin.noted_ns and event.noted_ns > self.origin.noted_ns
            inside_low = True if came_later and self.low_usec == 0 else None
        inside_high = _between(-self.high_usec, -span.highest_usec, -span.lowest_usec)
        if inside_low is False or inside_high is False:
            return False
        return True if inside_low and inside_high else None

    @property
    def end_usec(self) -> int:
        """Latest master time that the window may reach to."""
        return self.origin.latest_usec + self.high_usec

    @property
    def start_usec(self) -> int:
        """Earliest master time that the window may begin at."""
        return self.origin.earliest_usec + self.low_usec


def rate_of(events: Sequence[Event]) -> tuple[float, float, float]:
    """Return the rate of events over whole intervals, in Hz: at least, nominally, at most."""
    if len(events) < 2:
        return 0.0, 0.0, 0.0
    span = events[-1].since(events[0])
    longest, nominal, shortest = (
        max(1, usec) for usec in (span.highest_usec, span.usec, span.lowest_usec)
    )
    intervals = (len(events) - 1) * 1e6
    return intervals / longest, intervals / nominal, intervals / shortest


def _between(limit: int, lowest: int, highest: int) -> bool | None:
    """Tell whether a value known to be in [lowest, highest] is at least `limit`."""
    if lowest >= limit:
        return True
    return False if highest < limit else None
