"""Our own synchroniser: a Kalman filter of offset and rate, with a standard error.

It returns the device's time converted to the master timer, so a time has the jitter of the device
and not that of the transport. docs/synchronisers.md explains the method and compares it with
Syntalos' own.
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
"""Interval of the pairs in a tsync file; interpolating between them is accurate to some µs."""

_RATE_PRIOR_PPM = 100.0
_GATE = 3.5**2
"""A measured offset beyond 3.5 standard deviations is an outlier."""
_STEP_SAMPLES = 8
_STEP_SECONDS = 0.5
"""This many outliers over this time that agree with each other are a step of a clock."""
_SUSPECTED_STEP_SAMPLES = 3
"""From this many on, a suspected step adds to `uncertainty_usec`: late deliveries rarely agree."""
_BIAS_GATE = 5.0**2
_DOUBT_GATE = 3.0**2
_LEAST_NOISE = 1.0
"""Lowest variance of a measured offset in µs²: times are whole µs."""


class OffsetRateSynchronizer(Synchronizer):
    """Drop-in replacement of `SecondaryClockSynchronizer` that also estimates rate and uncertainty.

    The tolerance is unused: the measured noise determines how fast the estimate follows.

    Args:
        name: Identifies the synchroniser in messages.
        sink: Receives pairs of times when WRITE_TSYNCFILE is set; closed by `stop`.
        adjust_clock: Called with the correction in µs when ADJUST_CLOCK is set and the correction
            has changed.
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
        """Set how many samples calibration takes; fewer than 64 become 64.

        Their times are returned unchanged, and only the second half is used.

        Raises:
            ModuleError: The synchroniser is calibrated already.
        """
        self._refuse_when_calibrated("its number of calibration points")
        self._points = max(int(count), LEAST_CALIBRATION_POINTS)

    def set_expected_clock_frequency_hz(self, frequency: float) -> None:
        """Set the calibration to two seconds at this rate in Hz, at least 64 samples.

        Raises:
            ModuleError: The rate is not above 0 or is infinite, or the synchroniser is calibrated
                already.
        """
        self._refuse_when_calibrated("its expected frequency")
        if not frequency > 0 or math.isinf(frequency):
            raise ModuleError(
                f"{self._title} cannot expect {frequency} samples per second",
                remedy="Set the device's sample or frame rate in Hz, above 0.",
            )
        self.set_calibration_points_count(math.ceil(CALIBRATION_S * frequency))

    @property
    def calibration_points_count(self) -> int:
        """How many samples calibration takes."""
        return self._points

    @property
    def rate_ppm(self) -> float:
        """How much faster the device's clock runs than the master timer, in ppm."""
        return self._filter.rate

    @property
    def uncertainty_usec(self) -> int:
        """Standard error of the time returned last, in µs, rounded up; −1 before calibration.

        It does not include the mean latency between the two clocks, which no pair of times shows.
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
        """Return the corrected master time of a sample, in µs; times increase strictly.

        Args:
            master_timestamp_usec: Master time of the sample's arrival, in µs.
            secondary_acq_timestamp_usec: Time at which the device took it, on its clock, in µs.

        Raises:
            ModuleError: `start` was not called.
        """
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
        # The noise is averaged over the device's time: with intervals of jittering arrivals, late
        # ones would weigh more.
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
        # No sample is taken after its arrival. A device time that claims so comes from a step of
        # its clock; a returned time that is too late would delay all later ones.
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
            self._adjust_device_clock()
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
        # Median and median deviation are robust: the busy start may contain late deliveries.
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
        """Average the variance of measured offsets over about 8 s, at least 256 samples."""
        share = min(1 / 256, seconds / 8)
        if share > 0:
            own = squared - self._filter.offset_variance
            self._noise = max(_LEAST_NOISE, self._noise + share * (own - self._noise))

    def _watch_bias(self, innovation: float, variance: float, seconds: float) -> None:
        """Widen the offset's variance if the innovations of the last second are biased.

        If the model holds, innovations are white noise around 0. A step below the outlier gate
        shows as a bias; a wider variance lets the filter follow it.
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
        """Add an outlier; return whether it and earlier ones agree for long enough to be a step.

        Args:
            offset: Measured offset, in µs.
            now_usec: Master time, in µs.
            width_usec: Largest distance of outliers that agree, in µs.
        """
        if not self.count or self.misses > self.count:
            self.offset, self.count, self.misses, self.since = offset, 1, 0, now_usec
        elif abs(offset - self.offset) > width_usec:
            self.misses += 1
        else:
            self.count += 1
            self.offset += (offset - self.offset) / self.count
        lasted_s = (now_usec - self.since) / 1e6
        return self.count >= _STEP_SAMPLES and lasted_s >= _STEP_SECONDS
