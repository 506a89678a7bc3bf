"""The rate at which frames really come, and the frames that are missing, from their times alone."""

from __future__ import annotations

from collections import deque

_AROUND = 7
"""An interval is judged beside so many before and after it."""
_GAP_PERIODS = 1.5
"""An interval of more than so many periods means lost frames; jitter stays below."""
_LATE_PERIODS = 0.5
"""An interval of less than so many periods ends with a frame that came soon after a late one."""
_BUNCHED = 0.8
"""Intervals below this part of the nominal period are no rate, if the mean is above it."""
_MANY = 60
"""The mean is taken over so many intervals."""
_WINDOW_NSEC = 2_000_000_000
"""A rate is judged over at least so long."""


class FrameRate:
    """Takes the time of each frame; counts those that must lie between.

    The period is the median of the intervals around the one that is judged. Thus a camera that
    slows down (a dark room halves the rate of many) is not one that loses frames, and no figure of
    the driver's needs to be believed. The judgement comes seven frames late, or at `finish`.

    A machine that stands still for a while stamps frames late and in a bunch: a long interval is
    no loss as far as short ones follow it, and as long as the camera is on the whole no faster
    than its nominal rate, short intervals do not make a shorter period.
    """

    def __init__(self, nominal_nsec: int = 0) -> None:
        self.period_nsec = 0
        """Median of the newest intervals; 0 before the second frame."""
        self._nominal_nsec = nominal_nsec
        self._intervals: deque[int] = deque(maxlen=2 * _AROUND + 1)
        self._many: deque[int] = deque(maxlen=_MANY)
        self._lost = 0
        self._missing = 0
        """Frames that the newest long interval lacks, unless they come late."""
        self._judged = 0
        """How many intervals of the window have been judged, from its left."""

    def add(self, interval_nsec: int) -> None:
        """Take the interval between two frames in succession, in ns."""
        window = self._intervals
        if len(window) == window.maxlen:
            self._judged -= 1
        window.append(interval_nsec)
        self._many.append(interval_nsec)
        self.period_nsec = period = self._period()
        while len(window) - self._judged > _AROUND:
            self._judge(window[self._judged], period)

    def take_lost(self) -> int:
        """Return how many frames proved missing since this was asked last."""
        lost, self._lost = self._lost, 0
        return lost

    def finish(self) -> None:
        """Judge what is left at the end of the run, or before a pause of the stream."""
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
        """Count what has not come late."""
        self._lost += self._missing
        self._missing = 0


class RateWatch:
    """Compares the real rate with the expected one, over windows of at least two seconds."""

    def __init__(self, expected: float, tolerance: float) -> None:
        self.measured = 0.0
        """Frames per second in the newest whole window; 0 before."""
        self._expected = expected
        self._tolerance = tolerance
        self._since: tuple[int, int] | None = None
        self.is_off = False
        """Whether the newest window's rate was another than expected."""

    def check(self, frames: int, first_ns: int, last_ns: int) -> bool:
        """Take the frames so far (lost ones too), the times of the first and of the newest.

        True when `is_off` has changed; nothing is judged before a window is whole.
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
