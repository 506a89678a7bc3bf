"""Measured frame rate and lost frames, computed from the times of frames alone.

The rate that a driver reports is often wrong, and few sources number their frames.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np

_AROUND: Final = 7
"""An interval is compared with this many intervals, and frames, before and after it."""
_HISTORY: Final = 30
"""Intervals before the one that is judged from which an exact period is computed."""
_LONG: Final = 1.25
_SHORT: Final = 0.8
"""An interval of more or of fewer periods is looked at: frames may be missing, or late."""
_LATE: Final = 0.5
"""An interval of fewer periods than this follows a frame that came late: others may be."""
_BUNCHED: Final = 0.8
"""A median below this part of the nominal period is caused by bunches, if the mean is above it."""
_MANY: Final = 60
"""Number of intervals in that mean."""
_PERIODS: Final = np.linspace(_SHORT, _LONG, 91)
"""Tried as periods, in medians of the intervals: 0.5 % apart."""
_TURNS: Final = -2j * np.pi / _PERIODS
_IN_STEP: Final = 0.45
"""Share of frames that are in step with a period, below which none is exact: with a jitter that
is as long as a period there is none."""
_WINDOW_NSEC = 2_000_000_000
"""Shortest window over which a rate is measured."""


class FrameRate:
    """Counts the frames that are missing between frames, from the intervals between them.

    A frame that comes late makes a long interval, and the ones after it are shorter: together they
    have as many periods as frames. A lost one leaves all later frames a period behind. So a long
    interval has lost frames as far as the earliest of the next frames, by its number of periods, is
    behind the earliest of those before. The count is exact for frames that are up to half a period
    late. A wrong count, of frames that are later, shows in the frames after it, and later gaps
    count less; so it does not grow.

    The period is the median of the intervals around the one that is judged, and where that is long
    or short the one that most frames are in step with. A camera that slows down (a dark room
    halves the rate of many) is therefore not counted as losing frames, and the driver's nominal
    rate need not be right. The result comes seven frames late, or at `finish`.

    A machine that stalls stamps frames late and in bunches. What a long interval has lost is
    therefore settled when no short one follows it. Short intervals do not reduce the period as long
    as the camera is, on average, no faster than its nominal rate.

    Args:
        nominal_nsec: Frame period by the driver in ns; 0 if unknown.
    """

    def __init__(self, nominal_nsec: int = 0) -> None:
        self.period_nsec = nominal_nsec
        """Median of the newest intervals in ns; the nominal one before the second frame."""
        self._nominal_nsec = nominal_nsec
        self._intervals: deque[int] = deque(maxlen=_HISTORY + _AROUND + 1)
        self._found: deque[int] = deque(maxlen=_HISTORY)
        """Frames that were found missing in each of the judged intervals; negative for too many."""
        self._unjudged = 0
        """How many of the newest intervals have not been judged."""
        self._many: deque[int] = deque(maxlen=_MANY)
        self._lost = self._settled = 0
        self._missing = 0
        """Frames missing in the newest long intervals, unless they still come late."""
        self._excess = 0
        """How many of the settled frames were none; the next ones that are missing count less."""

    def add(self, interval_nsec: int) -> None:
        """Add the interval between two successive frames, in ns.

        An interval is judged when later ones are known: frames that come late are not lost.
        """
        self._intervals.append(interval_nsec)
        self._many.append(interval_nsec)
        self._unjudged += 1
        self.period_nsec = self._period()
        if len(self._intervals) > 2 * _AROUND:  # a period of fewer is not exact
            self._judge(_AROUND)

    def take_lost(self) -> int:
        """Return how many more frames were found missing since the last call.

        The intervals show them; sources with frame numbers of their own count exactly.
        """
        lost, self._lost = self._lost, 0
        return lost

    def finish(self) -> None:
        """Judge the remaining intervals, at the end of the run or before a pause of the stream."""
        self._judge(0)
        self._settle()
        self._intervals.clear()
        self._found.clear()
        self._many.clear()

    def _period(self) -> int:
        around = [self._intervals[n] for n in range(-min(len(self._intervals), 2 * _AROUND + 1), 0)]
        median = sorted(around)[(len(around) - 1) // 2]
        fastest = _BUNCHED * self._nominal_nsec
        if median < fastest <= sum(self._many) / len(self._many):
            return self._nominal_nsec
        return median

    def _judge(self, remain: int) -> None:
        """Judge the oldest intervals, until so many of the newest remain."""
        while self._unjudged > remain:
            interval = self._intervals[-self._unjudged]
            is_usual = _SHORT * self.period_nsec < interval < _LONG * self.period_nsec
            found = 0 if is_usual and not self._missing else self._look(interval)
            self._unjudged -= 1
            self._found.append(found)

    def _look(self, interval_nsec: int) -> int:
        """Return how many frames are missing in an interval, and count them."""
        period = self._exact_period()
        periods = interval_nsec / period
        step = round(self._earliest_after(period) - self._earliest_before(period))
        if periods > _LONG:
            found = max(0, min(step, math.ceil(periods - 1)))
        elif periods < _SHORT:
            found = min(0, max(step, self._excess - self._settled - self._missing))
        else:
            found = 0
        if found > 0:
            counted = max(0, found - self._excess)
            self._excess -= found - counted
            self._missing += counted
        else:
            late = min(self._missing, -found)
            self._missing -= late
            self._excess -= found + late
        if found >= 0 and periods > _LATE:
            self._settle()
        return found

    def _exact_period(self) -> float:
        """Return the period around the median that most frames are in step with, in ns."""
        times = np.cumsum(self._intervals) / self.period_nsec
        shares = abs(np.exp(np.outer(_TURNS, times)).mean(axis=1))
        best = int(shares.argmax())
        if shares[best] >= _IN_STEP:
            return float(_PERIODS[best]) * self.period_nsec
        return sum(self._many) / len(self._many)

    def _earliest_after(self, period_nsec: float) -> float:
        """Return how late the earliest frame behind the present interval is, in periods.

        As against the frame before it, if none is missing.
        """
        late = earliest = self._intervals[-self._unjudged] / period_nsec - 1
        for n in range(self._unjudged - 1, max(0, self._unjudged - 1 - _AROUND), -1):
            late += self._intervals[-n] / period_nsec - 1
            earliest = min(earliest, late)
        return earliest

    def _earliest_before(self, period_nsec: float) -> float:
        """Return the same of the earliest frame before the present interval: 0 or less."""
        late = earliest = 0.0
        for n in range(1, min(len(self._found), _AROUND) + 1):
            interval = self._intervals[-self._unjudged - n]
            late -= interval / period_nsec - 1 - self._found[-n]
            earliest = min(earliest, late)
        return earliest

    def _settle(self) -> None:
        """Count the missing frames that did not come late as lost."""
        self._lost += self._missing
        self._settled += self._missing
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
