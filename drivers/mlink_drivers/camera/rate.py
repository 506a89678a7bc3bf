"""Measured frame rate and lost frames, computed from the times of frames alone.

The rate that a driver reports is often wrong, and few sources number their frames.
"""

from __future__ import annotations

from collections import deque

_AROUND = 7
"""An interval is compared with this many intervals before and after it."""
_GAP_PERIODS = 1.5
"""An interval of more periods than this contains lost frames; jitter stays below."""
_LATE_PERIODS = 0.5
"""An interval of fewer periods than this follows a frame that came late."""
_BUNCHED = 0.8
"""A median below this part of the nominal period is caused by bunches, if the mean is above it."""
_MANY = 60
"""Number of intervals in that mean."""
_WINDOW_NSEC = 2_000_000_000
"""Shortest window over which a rate is measured."""


class FrameRate:
    """Counts the frames that are missing between frames, from the intervals between them.

    The period is the median of the intervals around the one that is judged. A camera that slows
    down (a dark room halves the rate of many) is therefore not counted as losing frames, and the
    driver's nominal rate need not be right. The result comes seven frames late, or at `finish`.

    A machine that stalls stamps frames late and in bunches. A long interval is therefore not
    counted as far as short ones follow it. Short intervals do not reduce the period as long as the
    camera is, on average, no faster than its nominal rate.

    Args:
        nominal_nsec: Frame period by the driver in ns; 0 if unknown.
    """

    def __init__(self, nominal_nsec: int = 0) -> None:
        self.period_nsec = nominal_nsec
        """Median of the newest intervals in ns; the nominal one before the second frame."""
        self._nominal_nsec = nominal_nsec
        self._intervals: deque[int] = deque(maxlen=2 * _AROUND + 1)
        self._many: deque[int] = deque(maxlen=_MANY)
        self._lost = 0
        self._missing = 0
        """Frames missing in the newest long interval, unless they still come late."""
        self._judged = 0
        """How many of the oldest intervals in the window have been judged."""

    def add(self, interval_nsec: int) -> None:
        """Add the interval between two successive frames, in ns.

        An interval is judged when later ones are known: frames that come late, in a bunch, are not
        lost.
        """
        window = self._intervals
        if len(window) == window.maxlen:
            self._judged -= 1
        window.append(interval_nsec)
        self._many.append(interval_nsec)
        self.period_nsec = period = self._period()
        while len(window) - self._judged > _AROUND:
            self._judge(window[self._judged], period)

    def take_lost(self) -> int:
        """Return how many more frames were found missing since the last call.

        The intervals show them; sources with frame numbers of their own count exactly.
        """
        lost, self._lost = self._lost, 0
        return lost

    def finish(self) -> None:
        """Judge the remaining intervals, at the end of the run or before a pause of the stream."""
        while self._judged < len(self._intervals):
            self._judge(self._intervals[self._judged], self.period_nsec)
        self._settle()
        self._intervals.clear()
        self._many.clear()
        self._judged = 0

    def _period(self) -> int:
        median = sorted(self._intervals)[(len(self._intervals) - 1) // 2]
        fastest = _BUNCHED * self._nominal_nsec
        if median < fastest <= sum(self._many) / len(self._many):
            return self._nominal_nsec
        return median

    def _judge(self, interval_nsec: int, period_nsec: int) -> None:
        if interval_nsec > _GAP_PERIODS * period_nsec:
            self._missing += round(interval_nsec / period_nsec) - 1
        elif interval_nsec < _LATE_PERIODS * period_nsec and self._missing:
            self._missing -= 1
        else:
            self._settle()
        self._judged += 1

    def _settle(self) -> None:
        """Count the missing frames that did not come late as lost."""
        self._lost += self._missing
        self._missing = 0


class RateWatch:
    """Compares the measured rate with the expected one, over windows of at least two seconds.

    Args:
        expected: Frames per second.
        tolerance: Relative deviation that is allowed.
    """

    def __init__(self, expected: float, tolerance: float) -> None:
        self.measured = 0.0
        """Frames per second in the newest complete window; 0 before the first."""
        self._expected = expected
        self._tolerance = tolerance
        self._since: tuple[int, int] | None = None
        self.is_off = False
        """Whether the rate of the newest window was out of tolerance."""

    def check(self, frames: int, first_ns: int, last_ns: int) -> bool:
        """Update the rate when a window is complete.

        Args:
            frames: Number of frames so far, including lost ones.
            first_ns: Time of the first frame, in ns.
            last_ns: Time of the newest frame, in ns.

        Returns:
            Whether `is_off` has changed.
        """
        if self._since is None:
            self._since = (1, first_ns)
        span_nsec = last_ns - self._since[1]
        if span_nsec < _WINDOW_NSEC:
            return False
        self.measured = (frames - self._since[0]) * 1e9 / span_nsec
        self._since = (frames, last_ns)
        was_off = self.is_off
        self.is_off = abs(self.measured - self._expected) > self._tolerance * self._expected
        return self.is_off != was_off
