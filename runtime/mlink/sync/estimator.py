"""Our own synchroniser: estimates offset and rate together and says how sure it is.

A time given out is the device's time moved onto the master timer, so it has the device's jitter and
not the transport's. docs/synchronisers.md explains the method and compares it with the reference's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mlink.errors import ModuleError
from mlink.sync.base import Synchronizer
from mlink.sync.kalman import OffsetRateFilter
from mlink.sync.sink import PairSink

LEAST_CALIBRATION_POINTS = 64
CALIBRATION_S = 2.0

PAIR_INTERVAL_USEC = 10_000_000
"""Between pairs for the tsync file; a straight line between them is good to some µs."""

_RATE_PRIOR_PPM = 100.0
_GATE = 3.5**2
"""A measured offset beyond 3.5 standard deviations is an outlier."""
_STEP_SAMPLES = 8
_STEP_SECONDS = 0.5
"""Outliers that agree with each other, so many and for so long, are a step of a clock."""
_SUSPECTED_STEP_SAMPLES = 3
"""So many of them are told as doubt already: late deliveries seldom agree."""
_BIAS_GATE = 5.0**2
_DOUBT_GATE = 3.0**2
_LEAST_NOISE = 1.0
"""Times are whole µs: no measured offset is better than about that (µs²)."""


class OffsetRateSynchronizer(Synchronizer):
    """Takes pairs of times as `SecondaryClockSynchronizer` does, and can stand in its place.

    Besides, it tells `uncertainty_usec` and `rate_ppm`. The tolerance goes unused: how fast the
    estimate follows comes from the noise that is measured.
    """

    def __init__(
        self,
        name: str = "",
        *,
        sink: PairSink | None = None,
        adjust_clock: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(name, sink=sink, adjust_clock=adjust_clock)
        self._points = LEAST_CALIBRATION_POINTS
        self._first: list[tuple[int, int]] = []
        self._filter = OffsetRateFilter(0.0, 0.0, _RATE_PRIOR_PPM, 0.0)
        self._noise = _LEAST_NOISE
        self._bias = 0.0
        self._bias_variance = math.inf
        self._step = _StepCandidate()
        self._master = 0
        self._last_adjusted = 0
        self._last_device = 0
        self._pair_due = 0

    def set_calibration_points_count(self, count: int) -> None:
        """Set how many samples pass unchanged at first; the second half of them is used (≥ 64)."""
        self._refuse_when_calibrated("its number of calibration points")
        self._points = max(int(count), LEAST_CALIBRATION_POINTS)

    def set_expected_clock_frequency_hz(self, frequency_hz: float) -> None:
        """Calibrate for two seconds, or 64 samples where these take longer."""
        self._refuse_when_calibrated("its expected frequency")
        if not frequency_hz > 0 or math.isinf(frequency_hz):
            raise ModuleError(
                f"{self._title} cannot expect {frequency_hz} samples per second",
                remedy="Give the device's sample or frame rate in Hz, above 0.",
            )
        self.set_calibration_points_count(math.ceil(CALIBRATION_S * frequency_hz))

    @property
    def calibration_points_count(self) -> int:
        """How many samples calibration takes."""
        return self._points

    @property
    def rate_ppm(self) -> float:
        """How much faster than the master the device's clock runs, in parts per million."""
        return self._filter.rate

    @property
    def uncertainty_usec(self) -> int:
        """Standard error of the time given out last, in µs, rounded up; −1 before calibration.

        It leaves out what no pair of times can tell: the mean latency between the two clocks.
        """
        if not self._calibrated:
            return -1
        variance = self._filter.offset_variance
        if self._bias * self._bias > _DOUBT_GATE * self._bias_variance:
            variance += self._bias * self._bias
        if self._step.count >= _SUSPECTED_STEP_SAMPLES:
            variance += (self._step.offset - self._filter.offset) ** 2
        return math.ceil(math.sqrt(variance))

    def process_timestamp(
        self, master_timestamp_usec: int, secondary_acq_timestamp_usec: int
    ) -> int:
        """Return the master time, in µs, of a sample the device took at `secondary_acq_…`."""
        master, device = int(master_timestamp_usec), int(secondary_acq_timestamp_usec)
        if not self._calibrated or not self._running:
            return self._calibrate(master, device)
        state = self._filter
        seconds = (master - self._master) / 1e6
        if seconds > 0:
            self._master = master
            state.predict(seconds)
        measured = device - master - self._expected_offset_usec
        innovation = measured - state.offset
        variance = state.offset_variance + self._noise
        share = innovation * innovation / variance
        # What is learnt from a sample is weighed by the device's time: where arrivals jitter past
        # each other, the late ones would count more.
        interval_s = (device - self._last_device) / 1e6
        self._learn_noise(min(share, _GATE) * variance, interval_s)
        if share <= _GATE:
            self._step.count = 0
            state.update(innovation, self._noise)
            self._watch_bias(innovation, variance, interval_s)
            return self._give(master, device, state.offset)
        width = math.sqrt(_GATE * variance)
        if self._step.confirmed(measured, master, width):
            state.move_to(self._step.offset, variance / self._step.count)
            self._bias = self._step.count = 0
            self._pair_due = master
        # No sample is taken after it has arrived: that is a step of the device's clock, and a time
        # given out too late would hold up all times behind it.
        return self._give(master, device, max(state.offset, measured - 3 * width))

    def _give(self, master: int, device: int, offset: float) -> int:
        adjusted = device - self._expected_offset_usec - round(offset)
        if not self._forward:
            adjusted = min(adjusted, master)
        if not self._backward:
            adjusted = max(adjusted, master)
        if adjusted <= self._last_adjusted:
            adjusted = self._last_adjusted + 1
        self._last_adjusted, self._last_device = adjusted, device
        correction = round(self._filter.offset)
        if correction != self._correction_usec:
            self._correction_usec = correction
            self._tell_device()
        if self._records and master >= self._pair_due:
            self._pair_due = master + PAIR_INTERVAL_USEC
            self._write_pair(device, adjusted)
        return adjusted

    def _calibrate(self, master: int, device: int) -> int:
        self._check_started()
        if not self._running:
            return master
        self._first.append((master, device))
        self._master = self._last_adjusted = master
        self._last_device = device
        if len(self._first) >= self._points:
            self._begin_from(self._first[self._points // 2 :])
            self._first = []
        return master

    def _begin_from(self, pairs: list[tuple[int, int]]) -> None:
        offsets = [device - master for master, device in pairs]
        # Median and median deviation: the busy start may still hold some late deliveries.
        self._expected_offset_usec = math.floor(_median(offsets) + 0.5)
        spread = _median([abs(offset - self._expected_offset_usec) for offset in offsets])
        self._noise = max(_LEAST_NOISE, (1.4826 * spread) ** 2)
        age_s = (pairs[-1][0] - pairs[0][0]) / 2e6
        self._filter = OffsetRateFilter(
            0.0, math.pi / 2 * self._noise / len(pairs), _RATE_PRIOR_PPM, age_s
        )
        self._calibrated = True
        self._pair_due = self._master
        self._write_pair(0, -self._expected_offset_usec)

    def _learn_noise(self, squared: float, seconds: float) -> None:
        """Follow the variance of the measured offsets over about 8 s, at least 256 samples."""
        share = min(1 / 256, seconds / 8)
        if share > 0:
            own = squared - self._filter.offset_variance
            self._noise = max(_LEAST_NOISE, self._noise + share * (own - self._noise))

    def _watch_bias(self, innovation: float, variance: float, seconds: float) -> None:
        """Give the estimate a push where the innovations of the last second lean to one side.

        They would be white noise around 0 if the model held; a small step hides in them for long.
        """
        share = min(1 / 32, seconds)
        if share <= 0:
            return
        self._bias += share * (innovation - self._bias)
        self._bias_variance = variance * share / (2 - share)
        if self._bias * self._bias > _BIAS_GATE * self._bias_variance:
            self._filter.offset_variance += self._bias * self._bias
            self._bias = 0.0

    def _final_pair(self) -> tuple[int, int] | None:
        if not self._calibrated and not self._first:
            return None
        return self._last_device, self._last_adjusted


def _median(values: list[int]) -> float:
    # The library's `statistics` costs a script 12 ms of start-up.
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


class _StepCandidate:
    """Outliers that may be a step of a clock: their mean offset, how many, and since when."""

    __slots__ = ("count", "misses", "offset", "since")

    def __init__(self) -> None:
        self.offset = 0.0
        self.count = 0
        self.misses = 0
        self.since = 0

    def confirmed(self, offset: float, now_usec: int, width_usec: float) -> bool:
        """Take an outlier; True when it and those before it agree for long enough."""
        if not self.count or self.misses > self.count:
            self.offset, self.count, self.misses, self.since = offset, 1, 0, now_usec
        elif abs(offset - self.offset) > width_usec:
            self.misses += 1
        else:
            self.count += 1
            self.offset += (offset - self.offset) / self.count
        lasted_s = (now_usec - self.since) / 1e6
        return self.count >= _STEP_SAMPLES and lasted_s >= _STEP_SECONDS
