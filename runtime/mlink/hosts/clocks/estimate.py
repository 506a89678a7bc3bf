"""Offset and rate between a host's clock and the controller's, with a bound, from exchanges.

An exchange has four CLOCK_MONOTONIC readings: t1 the host asks, t2 the controller receives, t3 it
answers, t4 the host receives. Both ways take time, so the controller was ahead of the host by at
least t3 − t4 and at most t2 − t1. The middle of both is the measured offset; it is wrong by half
the difference of both ways, which no exchange shows, and never by more than half the round trip
(Mills, RFC 5905, section 8). The uncertainty has that half in full.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, NamedTuple

from mlink.sync.kalman import OffsetRateFilter

WINDOW: Final = 8
"""Exchanges of which the quickest is used."""
FIRST_WINDOW: Final = 20
"""The same for the first estimate."""
STOPPED_NS: Final = 2_000_000_000
"""After this time without an exchange the clock counts as held."""
_RATE_PRIOR_PPM: Final = 200.0
_LARGEST_RATE_PPM: Final = 2000.0
_LEAST_NOISE: Final = 1.0
"""Lowest variance of a measured offset, in µs²."""
_MOST_NS: Final = 1 << 61
"""Readings beyond it, 73 years, are none."""
_SIGMAS: Final = 3.3
"""Standard errors in the uncertainty: 99.9 % of a normal distribution."""
_BEST_OF: Final = 32
"""Windows whose shortest round trip is the path's own; longer ones have waited on their way."""
_FAR: Final = 4.0
"""Standard deviations; two in a row to one side are a rate that has changed."""
_WIDER: Final = 4.0
"""A measurement whose half round trip is so many times the estimate's bound adds nothing to it."""
_STEP_EXCHANGES: Final = 3
"""So many contradictions in a row that agree with each other are a step of a clock."""


class Exchange(NamedTuple):
    """Four readings in ns: `t1`, `t4` of the host's clock, `t2`, `t3` of the controller's."""

    t1: int
    t2: int
    t3: int
    t4: int

    @property
    def round_trip_ns(self) -> int:
        """Time that both ways took together."""
        return (self.t4 - self.t1) - (self.t3 - self.t2)

    @property
    def middle_ns(self) -> int:
        """The host's reading for which `offset_ns` holds."""
        return (self.t1 + self.t4) // 2

    @property
    def offset_ns(self) -> int:
        """Measured controller − host."""
        return ((self.t2 - self.t1) + (self.t3 - self.t4)) // 2


class Step(NamedTuple):
    """A jump of one clock against the other."""

    at_ns: int
    """The host's reading when it was found."""
    size_ns: int
    """By how much the controller's clock has gone ahead of the host's; negative: behind."""


class ClockEstimate:
    """The estimate; a pure function of the exchanges that it is given, in their order."""

    def __init__(self) -> None:
        self.exchanges = 0
        """Exchanges that were used for the estimate or to choose the quickest."""
        self.refused = 0
        """Exchanges whose readings cannot be true."""
        self.steps: list[Step] = []
        """The newest steps, at most 100; `step_count` has all."""
        self.step_count = 0
        self.round_trip_ns = 0
        """Round trip of the quickest exchange of the last window."""
        self.last_ns = 0
        """The host's reading of the last good exchange."""
        self._window: list[Exchange] = []
        self._best: deque[int] = deque(maxlen=_BEST_OF)
        self._filter: OffsetRateFilter | None = None
        self._base_ns = 0
        """Offset of which the filter has the small rest, so that its floats are exact."""
        self._at_ns = 0
        """The host's reading for which the filter holds."""
        self._noise = _LEAST_NOISE
        self._unequal = _UnequalWays(0.0)
        self._used_ns = 0
        """The host's reading of the measurement before."""
        self._far = 0.0
        """Side to which that one was far from the estimate; 0 if it was not."""
        self._missed_usec = 0.0
        """How wrong the estimate may be by the last exchange, whose limits it missed; else 0."""
        self._doubts: list[Exchange] = []
        """Exchanges in a row that contradict the estimate."""

    @property
    def is_known(self) -> bool:
        """Whether there is an estimate."""
        return self._filter is not None

    @property
    def rate_ppm(self) -> float:
        """How much faster the controller's clock runs than the host's."""
        return 0.0 if self._filter is None else self._filter.rate

    def offset_ns(self, at_ns: int) -> int:
        """Return controller − host at a reading of the host's clock; 0 before the first window."""
        if self._filter is None:
            return 0
        ahead_s = (at_ns - self._at_ns) / 1e9
        return self._base_ns + round(1000 * (self._filter.offset + self._filter.rate * ahead_s))

    def uncertainty_ns(self, at_ns: int) -> int:
        """Return the bound of the error of `offset_ns`; it grows from the last exchange on.

        Before the first window it is the largest number of 62 bits.
        """
        if self._filter is None:
            return (1 << 62) - 1
        return math.ceil(1000 * self._bound_usec(at_ns))

    def growth_ns(self, at_ns: int) -> int:
        """Return by how much the uncertainty grows in the next second, at least 100 ns."""
        if self._filter is None:
            return 0
        return max(100, self.uncertainty_ns(at_ns + 10**9) - self.uncertainty_ns(at_ns))

    def exchange(self, t1: int, t2: int, t3: int, t4: int) -> None:
        """Use an exchange; all readings in ns of CLOCK_MONOTONIC of their machine."""
        found = Exchange(t1, t2, t3, t4)
        is_true = 0 < t1 <= t4 < _MOST_NS and 0 < t2 <= t3 < _MOST_NS and t4 > self.last_ns
        if not is_true or found.round_trip_ns < 0:
            self.refused += 1
            return
        self.exchanges += 1
        self.last_ns = t4
        self._missed_usec = 0.0
        if self._filter is not None and (beyond_usec := self._beyond_usec(found)) > 0:
            is_far = beyond_usec > self._bound_usec(found.middle_ns)
            # the true offset is within the limits, on their far side at worst
            self._missed_usec = beyond_usec + found.round_trip_ns / 1000
            if is_far:
                self._doubt(found)
            else:
                self._miss(found)
            return
        self._doubts.clear()
        self._window.append(found)
        if len(self._window) < (WINDOW if self._filter else FIRST_WINDOW):
            return
        ordered = sorted(self._window, key=lambda each: each.round_trip_ns)
        self._window.clear()
        if self._filter is None:
            # what the third quickest waited more shows how far the quickest may be off
            waited_usec = (ordered[2].round_trip_ns - ordered[0].round_trip_ns) / 2000
            self._noise = max(_LEAST_NOISE, waited_usec**2)
        self._use(ordered[0])

    def _use(self, found: Exchange) -> None:
        """Update the filter by the quickest exchange of a window."""
        self.round_trip_ns = found.round_trip_ns
        self._best.append(found.round_trip_ns)
        half_usec = found.round_trip_ns / 2000
        # what it waited beyond the quickest may have been on one way only
        waited_usec = (found.round_trip_ns - min(self._best)) / 2000
        if self._filter is None:
            self._begin(found)
            return
        state = self._filter
        if half_usec > _WIDER * self._bound_usec(found.middle_ns):
            return  # the path has become slow: it may be wrong by more than the estimate is
        self._advance(found.middle_ns)
        measured = (found.offset_ns - self._base_ns) / 1000
        innovation = measured - state.offset
        noise = self._noise + waited_usec**2
        self._watch_rate(innovation, state.offset_variance + noise, found.middle_ns)
        own = min(innovation**2, 9 * (state.offset_variance + noise)) - state.offset_variance
        learned = max(0.0, own - waited_usec**2)
        self._noise = max(_LEAST_NOISE, self._noise + (learned - self._noise) / 16)
        self._unequal.update(state, half_usec, noise)
        state.update(innovation, noise)
        state.rate = max(-_LARGEST_RATE_PPM, min(_LARGEST_RATE_PPM, state.rate))

    def _miss(self, found: Exchange) -> None:
        """Follow an exchange whose limits the estimate missed by little: the rate has changed."""
        assert self._filter is not None
        seconds = max(0.1, (found.middle_ns - self._used_ns) / 1e9)
        self._doubts.clear()
        self._window.clear()
        self._advance(found.middle_ns)
        self._filter.offset_variance += self._missed_usec**2
        self._filter.rate_variance += (self._missed_usec / seconds) ** 2
        self._use(found)

    def _watch_rate(self, innovation: float, variance: float, at_ns: int) -> None:
        """Widen the rate when measurements go away from the estimate, one after the other.

        The rate of CLOCK_MONOTONIC changes at once when NTP begins to slew it, by up to 500 ppm.
        """
        assert self._filter is not None
        seconds = max(0.1, (at_ns - self._used_ns) / 1e9)
        self._used_ns = at_ns
        far = math.copysign(1, innovation) if innovation**2 > _FAR**2 * variance else 0
        if far and far == self._far:
            self._filter.rate_variance += (innovation / seconds) ** 2
            self._filter.offset_variance += innovation**2
            far = 0
        self._far = far

    def _begin(self, found: Exchange) -> None:
        half_usec = found.round_trip_ns / 2000
        self._base_ns = found.offset_ns
        self._at_ns = self._used_ns = found.middle_ns
        self._filter = OffsetRateFilter(0.0, self._noise, _RATE_PRIOR_PPM, 0.0)
        self._unequal = _UnequalWays(half_usec)

    def _advance(self, at_ns: int) -> None:
        """Let the filter hold for a later reading."""
        assert self._filter is not None
        seconds = (at_ns - self._at_ns) / 1e9
        if seconds > 0:
            self._filter.predict(seconds)
            self._unequal.predict(seconds)
            self._at_ns = at_ns
        # whole µs go into the base: the filter's floats stay small for months
        whole = round(self._filter.offset)
        self._filter.offset -= whole
        self._base_ns += 1000 * whole

    def _bound_usec(self, at_ns: int) -> float:
        assert self._filter is not None
        state = self._filter
        ahead = OffsetRateFilter(state.offset, 0.0, 0.0, 0.0)
        ahead.offset_variance, ahead.rate_variance = state.offset_variance, state.rate_variance
        ahead.covariance = state.covariance
        ahead_s = max(0.0, (at_ns - self._at_ns) / 1e9)
        ahead.predict(ahead_s)
        bound = 1.0 + self._unequal.bound_usec(ahead_s)
        bound += _SIGMAS * math.sqrt(max(0.0, ahead.offset_variance))
        return max(bound, self._missed_usec)

    def _beyond_usec(self, found: Exchange) -> float:
        """Return by how much an exchange's limits of the offset miss the estimate, in µs."""
        offset_ns = self.offset_ns(found.middle_ns)
        lowest, highest = found.t3 - found.t4, found.t2 - found.t1
        return max(0, lowest - offset_ns, offset_ns - highest) / 1000

    def _doubt(self, found: Exchange) -> None:
        """Keep an exchange that contradicts; several that agree are a step."""
        if self._doubts and not _agree(self._doubts[-1], found):
            self._doubts.clear()
        self._doubts.append(found)
        if len(self._doubts) < _STEP_EXCHANGES:
            return
        quickest = min(self._doubts, key=lambda each: each.round_trip_ns)
        assert self._filter is not None
        size_ns = quickest.offset_ns - self.offset_ns(quickest.middle_ns)
        self.steps = [*self.steps[-99:], Step(found.t4, size_ns)]
        self.step_count += 1
        self._advance(quickest.middle_ns)
        half_usec = quickest.round_trip_ns / 2000
        self._base_ns = quickest.offset_ns
        waited_usec = max(0, quickest.round_trip_ns - min(self._best)) / 2000
        self._filter.move_to(0.0, self._noise + waited_usec**2)
        self._unequal = _UnequalWays(half_usec)
        self._missed_usec = 0.0
        self._doubts.clear()
        self._window.clear()


class _UnequalWays:
    """The error that unequal ways make, at worst, µs.

    Each measurement may be wrong by half its round trip, all of them to the same side. The filter
    is linear: its error is what it would make of these halves, offset and rate.
    """

    __slots__ = ("_offset", "_rate", "_share")

    def __init__(self, half_usec: float) -> None:
        self._offset = self._share = half_usec
        self._rate = 0.0

    def predict(self, seconds: float) -> None:
        self._offset += self._rate * seconds

    def update(self, state: OffsetRateFilter, half_usec: float, noise: float) -> None:
        """Follow an update of the filter, before it is made."""
        total = state.offset_variance + noise
        beyond = half_usec - self._offset
        self._offset += state.offset_variance / total * beyond
        self._rate += state.covariance / total * beyond
        # without the rate: where the error passes through 0 on its way, this one does not
        self._share += state.offset_variance / total * (half_usec - self._share)

    def bound_usec(self, seconds: float) -> float:
        """Return the bound, so long after the filter's time."""
        return max(abs(self._offset), self._share) + abs(self._rate) * seconds


def _agree(one: Exchange, other: Exchange) -> bool:
    """Return whether one offset fits the limits of both, with 1 ms for the rates."""
    lowest = max(one.t3 - one.t4, other.t3 - other.t4)
    highest = min(one.t2 - one.t1, other.t2 - other.t1)
    return lowest <= highest + 1_000_000
