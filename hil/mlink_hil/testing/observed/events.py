"""What a test sees of a run: events at master times that are known within bounds.

A time is a nominal value, and how much earlier or later it may truly have been. Verdicts are drawn
from these bounds: what they leave open is inconclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlink_hil.faults.kinds import Fault


@dataclass(frozen=True, slots=True)
class Span:
    """A duration in µs: its nominal value and its bounds."""

    usec: int
    lowest_usec: int
    highest_usec: int
    exact: bool = field(default=False, compare=False)
    """Whether no process of the host has a part in it (see `Event.exact`)."""

    @classmethod
    def quantile(cls, spans: Sequence[Span], share: float) -> Span:
        """Return a quantile of several durations.

        Args:
            spans: The durations; at least one.
            share: 0 to 1 (0.5: the median).

        Returns:
            The quantile of the nominal values, of the lower and of the upper bounds.
        """
        columns = zip(
            *((each.usec, each.lowest_usec, each.highest_usec) for each in spans), strict=True
        )
        nominal, lowest, highest = (round(float(np.quantile(each, share))) for each in columns)
        return cls(nominal, lowest, highest, all(each.exact for each in spans))

    def __str__(self) -> str:
        if self.lowest_usec == self.highest_usec:
            return f"{self.usec} µs"
        return f"{self.usec} µs ({self.lowest_usec} to {self.highest_usec})"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on a channel ("uno.8", "cam.video", "loop.table-out").

    A channel is a pin of a virtual board ("device.pin"), a line as a stream reports it
    ("module.port.line"), a stream of frames or rows ("module.port"), or a region of a picture.
    """

    channel: str
    time_usec: int
    """Nominal master time."""
    value: float = 0
    """Level of an edge, value of a reading, index of a frame, brightness of a region."""
    early_usec: int = 0
    """How much earlier than `time_usec` it may have been, in µs."""
    late_usec: int = 0
    """How much later than `time_usec` it may have been, in µs."""
    cells: tuple[str, ...] = ()
    """Cells of a table row."""
    caused: bool = False
    """Whether the test or a fault caused it."""
    previous: float | None = field(default=None, compare=False)
    """Value of the channel before it; None when that is not known."""
    after_loss: bool = field(default=False, compare=False)
    """Whether items may be missing between `previous` and this event."""
    waited_usec: int = field(default=0, compare=False)
    """How long the processes of a virtual bench waited for a processor between the stimulus and
    this answer, in µs. The lower bound of `since` leaves that time out."""
    exact: bool = field(default=False, compare=False)
    """Whether a busy host cannot have moved it: the test's own action, or simulated hardware that
    no module of the bench commands."""
    noted_ns: int = field(default=0, compare=False)
    """When the test process received it, or requested it in the case of a stimulus (ns on
    CLOCK_MONOTONIC)."""

    @property
    def earliest_usec(self) -> int:
        """The earliest time at which it may have been."""
        return self.time_usec - self.early_usec

    @property
    def latest_usec(self) -> int:
        """The latest time at which it may have been."""
        return self.time_usec + self.late_usec

    def since(self, other: Event) -> Span:
        """Return the time from another event to this one; negative if this one was before.

        The bounds are those of both events; the lower one leaves out `waited_usec` of this event.
        """
        return Span(
            self.time_usec - other.time_usec,
            self.earliest_usec - other.latest_usec - self.waited_usec,
            self.latest_usec - other.earliest_usec,
            self.exact and other.exact,
        )

    def __str__(self) -> str:
        what = " ".join(self.cells) if self.cells else f"{self.value:g}"
        return f"{self.channel} → {what} at {self.time_usec} µs"


@dataclass(frozen=True, slots=True)
class Unseen:
    """Events of a channel that a test may have missed, from a master time on."""

    from_usec: int
    text: str
    """What is missing, and why."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time from `low_usec` to `high_usec` after an event.

    With `low_usec` below 0 it is the time around the event.
    """

    origin: Event
    low_usec: int
    high_usec: int

    def holds(self, event: Event) -> bool | None:
        """Return whether an event is inside; None when the bounds of the times leave it open.

        An event counts as after the origin when its nominal time is. It does so, too, when it
        only may have been after it but reached the test process after the test had acted: what
        was on its way then can hardly have been there before. The far end of the window, the
        deadline, is judged by the bounds alone.
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
        """The latest master time at which the window may end."""
        return self.origin.latest_usec + self.high_usec

    @property
    def start_usec(self) -> int:
        """The earliest master time at which the window may begin."""
        return self.origin.earliest_usec + self.low_usec


def rate_of(events: Sequence[Event]) -> tuple[float, float, float]:
    """Return the lowest, the nominal and the highest rate of events, in Hz.

    It is counted over whole intervals, from the first event to the last. All are 0 for fewer than
    two events.
    """
    if len(events) < 2:
        return 0.0, 0.0, 0.0
    span = events[-1].since(events[0])
    longest, nominal, shortest = (
        max(1, usec) for usec in (span.highest_usec, span.usec, span.lowest_usec)
    )
    intervals = (len(events) - 1) * 1e6
    return intervals / longest, intervals / nominal, intervals / shortest


def _between(limit: int, lowest: int, highest: int) -> bool | None:
    """Return whether a value known to be in [lowest, highest] is at least `limit`."""
    if lowest >= limit:
        return True
    return False if highest < limit else None


FAULTS = "fault"
"""Channel of faults: its value is 1 where a fault begins, 0 where it ends or is of a moment."""

_FAULT_TEXTS = {"end": "end of {}", "failed": "{} was not made"}


def fault_event(time_usec: int, event: str, fault: Fault) -> Event:
    """Return the event of a fault.

    Args:
        time_usec: Its master time.
        event: "begin", "once" (of a moment), "end", or "failed" (could not be made).
        fault: The fault.
    """
    what = _FAULT_TEXTS.get(event, "{}").format(f"{fault.kind} {fault.target}")
    return Event(FAULTS, time_usec, int(event == "begin"), cells=(what,), caused=True)
