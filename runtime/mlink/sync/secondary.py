"""Synchroniser for a device that stamps each sample with a steady clock of its own.

Rules and constants are those of Syntalos, but for three places where they do not hold times within
the tolerance. docs/synchronisers.md lists them; `as_reference=True` computes as Syntalos does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mlink.errors import ModuleError
from mlink.sync.base import Synchronizer, shift_allowed
from mlink.sync.ring import OffsetRing
from mlink.sync.sink import PairSink

DEFAULT_CALIBRATION_POINTS = 400
LEAST_CALIBRATION_POINTS = 46

_FLUKE_VARIANCES = 4
"""Squared distance from the mean, in variances of the ring, beyond which a sample is an outlier."""


def calibration_points(frequency_hz: float) -> int:
    """Return the ring size for a sample rate in Hz.

    It is min(10·(f + 1/(0.01 + (f/250)²)), 90·f), rounded up, at least 46 (Syntalos).
    """
    wanted = 10 * (frequency_hz + 1 / (0.01 + (frequency_hz / 250) ** 2))
    at_most = math.ceil(90 * frequency_hz)
    return max(LEAST_CALIBRATION_POINTS, min(math.ceil(wanted), at_most))


def tolerance_for(frequency_hz: float) -> int:
    """Return half a sample period in µs, 10⁶/(2·f), at least 1."""
    return max(1, round(1e6 / (2 * frequency_hz)))


def correction_divisor(gap_usec: int, deviation_usec: float) -> float:
    """Return the divisor k of a deviation: each step corrects 1/k of it.

    k = 1000·(1 − (ln(g + 1)/ln(10⁶ + 1))^0.117) + 1 (Syntalos), so that rare samples are corrected
    faster. Where k is not below the deviation, it is a quarter of the deviation.

    Args:
        gap_usec: Time g between two samples on the device's clock, in µs.
        deviation_usec: Deviation still to correct, in µs.
    """
    share: float = (math.log(max(gap_usec, 0) + 1) / math.log(1e6 + 1)) ** 0.117
    divisor = 1000 * (1 - share) + 1
    if divisor >= abs(deviation_usec):
        divisor = abs(deviation_usec) / 4
    return max(divisor, 1.0)


class SecondaryClockSynchronizer(Synchronizer):
    """Removes arrival jitter from master times, with the times of the device's own clock.

    Offsets are device − master time. Calibration takes twice as many samples as the ring holds:
    the first half comes from the busy start of a run, and is no longer in the ring when the
    expected offset E is computed.

    Args:
        name: Identifies the synchroniser in messages.
        sink: Receives pairs of times when WRITE_TSYNCFILE is set; closed by `stop`.
        adjust_clock: Called with the correction in µs when ADJUST_CLOCK is set and the correction
            has changed.
        as_reference: Compute exactly as Syntalos does.
    """

    def __init__(
        self,
        name: str = "",
        *,
        sink: PairSink | None = None,
        adjust_clock: Callable[[int], None] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__(name, sink=sink, adjust_clock=adjust_clock)
        self._as_reference = as_reference
        self._ring = OffsetRing(DEFAULT_CALIBRATION_POINTS)
        self._seen = 0
        self._deviation_usec = 0.0
        self._latest_repair_usec = 0
        self._wait = 0
        self._last_master = 0
        self._last_device = 0

    def set_calibration_points_count(self, count: int) -> None:
        """Set how many samples the ring holds; fewer than 46 become 46.

        Raises:
            ModuleError: The synchroniser is calibrated already.
        """
        self._refuse_when_calibrated("its number of calibration points")
        self._ring = OffsetRing(max(int(count), LEAST_CALIBRATION_POINTS))
        self._seen = 0

    def set_expected_clock_frequency_hz(self, frequency: float) -> None:
        """Derive ring size and tolerance from the device's sample or frame rate in Hz.

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
        self.set_calibration_points_count(calibration_points(frequency))
        self.set_tolerance_usec(tolerance_for(frequency))

    @property
    def calibration_points_count(self) -> int:
        """How many samples the ring holds; calibration takes twice as many."""
        return self._ring.capacity

    def process_timestamp(
        self, master_timestamp_usec: int, secondary_acq_timestamp_usec: int
    ) -> int:
        """Return the corrected master time of a sample, in µs; times never go back.

        Args:
            master_timestamp_usec: Master time of the sample's arrival, in µs.
            secondary_acq_timestamp_usec: Time at which the device took it, on its clock, in µs.

        Raises:
            ModuleError: `start` was not called.
        """
        # NumPy integers would overflow in the squares of the ring.
        master, device = int(master_timestamp_usec), int(secondary_acq_timestamp_usec)
        if not self._calibrated or not self._running:
            return self._calibrate(master, device)
        ring = self._ring
        offset = device - master
        fluke = ring.is_fluke(offset, self._deviation_usec, _FLUKE_VARIANCES)
        drifted = ring.mean_less(self._expected_offset_usec)
        ring.push(offset)
        if self._wait:
            self._wait -= 1
        if fluke:
            adjusted = self._repaired(master, device)
            self._write_pair(device, adjusted)
        elif abs(drifted) < self._tolerance_usec:
            adjusted = self._within_tolerance(master, device, drifted)
        else:
            adjusted = self._out_of_tolerance(master, device, drifted)
        self._last_master, self._last_device = adjusted, device
        return adjusted

    def _calibrate(self, master: int, device: int) -> int:
        self._check_started()
        if not self._running:
            return master
        self._ring.push(device - master)
        self._seen += 1
        self._last_master, self._last_device = master, device
        if self._seen >= 2 * self._ring.capacity:
            self._expected_offset_usec = self._ring.rounded_median()
            self._deviation_usec = self._ring.std
            self._latest_repair_usec = self._tolerance_usec + math.ceil(4 * self._deviation_usec)
            self._calibrated = True
            self._write_pair(0, -self._expected_offset_usec)
        return master

    def _repaired(self, master: int, device: int) -> int:
        adjusted = self._last_master + device - self._last_device
        if not self._as_reference:
            # If the device's clock has jumped ahead, the device is wrong: a time that is too late
            # would delay all later times, since they must not go back.
            adjusted = min(adjusted, master + self._latest_repair_usec)
        return max(adjusted, self._last_master + 1)

    def _within_tolerance(self, master: int, device: int, drifted: float) -> int:
        correction = self._correction_usec
        if not correction:
            return max(master, self._last_master)
        if abs(drifted) < self._tolerance_usec / 3:
            self._correction_usec = 0
        else:
            self._correction_usec = math.ceil(correction / 1.25)
        if self._correction_usec != correction:
            self._adjust_device_clock()
        return max(self._shifted(master, device), self._last_master + 1)

    def _out_of_tolerance(self, master: int, device: int, drifted: float) -> int:
        remaining = drifted - self._correction_usec
        if not self._wait and abs(remaining) > self._tolerance_usec / 1.5:
            self._correction_usec += self._step(remaining, device - self._last_device)
            on_device = device - self._expected_offset_usec - self._correction_usec
            self._write_pair(device, on_device)
            if abs(self._correction_usec) > 1:
                self._wait = math.ceil(0.65 * self._ring.capacity)
            self._adjust_device_clock()
        return max(self._shifted(master, device), self._last_master)

    def _step(self, remaining: float, gap_usec: int) -> int:
        step = math.ceil(remaining / correction_divisor(gap_usec, remaining))
        if self._as_reference:
            return step
        # A steady drift grows faster than the reference's steps: at 30 Hz and 100 ppm it lags by
        # three times the tolerance. Our step leaves no more than what needs no further step.
        least = math.ceil(abs(remaining) - self._tolerance_usec / 1.5)
        return step if abs(step) >= least else int(math.copysign(least, remaining))

    def _shifted(self, master: int, device: int) -> int:
        """Return the device's time on the master timer where the strategies allow the shift."""
        correction = self._correction_usec
        if not shift_allowed(correction, forward=self._forward, backward=self._backward):
            return master
        shifted = device - self._expected_offset_usec - correction
        if self._as_reference or self._forward is self._backward:
            return shifted
        # The sign of the correction allows the shift, but jitter or lag may reverse its direction.

        return max(master, shifted) if self._forward else min(master, shifted)

    def _final_pair(self) -> tuple[int, int] | None:
        return (self._last_device, self._last_master) if self._seen else None
