"""Synchroniser for a device that only counts its samples and delivers them in blocks.

The sample index is the device's only clock: sample x ends at (x + 1)·10⁶/f µs, for the nominal
frequency f. Where the real frequency differs, an index offset J moves the indices so that they
match the master timer again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlink.errors import ModuleError
from mlink.sync.base import Synchronizer, shift_allowed
from mlink.sync.ring import OffsetRing
from mlink.sync.sink import PairSink

DEFAULT_CALIBRATION_BLOCKS = 24

_REFERENCE_FLUKE_VARIANCES = 2.25
_FLUKE_VARIANCES = 4.0
"""Squared distance from the mean, in variances of the ring, beyond which a block is ignored.

In a steady drift without jitter each block is √3 standard deviations off the ring's mean. The
reference's limit of 1.5 deviations ignores all of them, and never corrects such a device.
"""


class FreqCounterSynchronizer(Synchronizer):
    """Keeps the sample indices of a device in step with the master timer.

    Offsets are device − master time, one for each block. The reference (Syntalos) subtracts J from
    the index first, and then compares the rest with the whole correction, so that half of any
    deviation remains. Ours compares the index as the device counted it (docs/synchronisers.md).

    Args:
        frequency_hz: Nominal samples per second of the device, above 0.
        name: Identifies the synchroniser in messages.
        sink: Receives pairs of times when WRITE_TSYNCFILE is set; closed by `stop`.
        as_reference: Compute exactly as Syntalos does.

    Raises:
        ModuleError: The frequency is not above 0, or is infinite.
    """

    def __init__(
        self,
        frequency_hz: float,
        name: str = "",
        *,
        sink: PairSink | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__(name, sink=sink)
        if not frequency_hz > 0 or math.isinf(frequency_hz):
            raise ModuleError(
                f"{self._title} cannot count {frequency_hz} samples per second",
                remedy="Set the device's nominal sample rate in Hz, above 0.",
            )
        self.frequency_hz = frequency_hz
        self._period_usec = 1e6 / frequency_hz
        self._as_reference = as_reference
        self._ring = OffsetRing(DEFAULT_CALIBRATION_BLOCKS)
        self._seen = 0
        self._deviation_usec = 0.0
        self._index_offset = 0
        self._applied = 0
        self._wait = 0
        self._last_index = -(1 << 62)
        self._last_device = 0
        self._last_master = 0
        self._last_valid_master: int | None = None

    def set_calibration_blocks_count(self, count: int) -> None:
        """Set how many blocks the ring holds (at least 1); calibration takes twice as many.

        Raises:
            ModuleError: The synchroniser is calibrated already.
        """
        self._refuse_when_calibrated("its number of calibration blocks")
        self._ring = OffsetRing(max(1, int(count)))
        self._seen = 0

    def set_last_valid_master_timestamp(self, master_usec: int) -> None:
        """Set the end of valid data, in µs; the pair that `stop` writes is not later than that."""
        self._last_valid_master = int(master_usec)

    @property
    def index_offset(self) -> int:
        """J, which is subtracted from the indices, in samples.

        Positive if the device counted too many, negative if too few.
        """
        return self._index_offset

    def process_block(
        self, receive_usec: int, indices: Sequence[int], block: int = 0, blocks: int = 1
    ) -> list[int]:
        """Return the corrected indices of one block; they never go back.

        Args:
            receive_usec: Master time of the delivery, in µs.
            indices: Sample numbers as the device counted them, in increasing order.
            block: Number of this block within the delivery, from 0.
            blocks: How many blocks of this size the delivery contains.

        Raises:
            ModuleError: `start` was not called.
        """
        self._check_started()
        if not self._running or not len(indices):
            return list(indices)
        count = len(indices)
        receive, last = int(receive_usec), int(indices[-1])
        # Each earlier block of a delivery was acquired one block duration before the next one.
        acquired = (
            receive
            - round(self._period_usec * (blocks - 1) * count)
            + round(self._period_usec * block * count)
        )
        device = round((last + 1) * self._period_usec)
        self._last_device, self._last_master = device, acquired
        offset = device - acquired
        if self._as_reference:
            offset -= round(self._index_offset * self._period_usec)
        if self._calibrated:
            self._follow(device, acquired, offset)
        else:
            self._calibrate(offset)
        return self._apply(indices, count)

    def _calibrate(self, offset: int) -> None:
        self._ring.push(offset)
        self._seen += 1
        if self._seen >= 2 * self._ring.capacity:
            self._expected_offset_usec = self._ring.rounded_median()
            self._deviation_usec = self._ring.std
            self._calibrated = True
            self._write_pair(0, -self._expected_offset_usec)

    def _follow(self, device: int, acquired: int, offset: int) -> None:
        ring = self._ring
        variances = _REFERENCE_FLUKE_VARIANCES if self._as_reference else _FLUKE_VARIANCES
        fluke = ring.is_fluke(offset, self._deviation_usec, variances)
        drifted = ring.mean_less(self._expected_offset_usec)
        ring.push(offset)
        waits = self._wait > 0
        if waits:
            self._wait -= 1
        if abs(drifted) < self._tolerance_usec:
            if self._index_offset and abs(drifted) < self._tolerance_usec / 3:
                self._index_offset = int(self._index_offset / 2)
                self._correction_usec = int(self._correction_usec / 2)
            return
        if fluke or waits:
            return
        self._correction_usec += self._step(drifted - self._correction_usec)
        samples = self._correction_usec * self.frequency_hz / 1e6
        wanted = int(samples) if self._as_reference else round(samples)
        if wanted == self._index_offset:
            return
        self._index_offset = round((2 * wanted + self._index_offset) / 3)
        self._wait = math.ceil(1.2 * ring.capacity)
        self._write_pair(device, acquired)

    def _step(self, remaining: float) -> int:
        step = math.ceil(remaining / 3)
        if abs(step) >= self._period_usec:
            return step
        if not self._as_reference and abs(remaining) < self._period_usec / 2:
            return 0  # one sample is too much, and the next step would take it back
        return int(math.copysign(math.ceil(self._period_usec), remaining))

    def _apply(self, indices: Sequence[int], count: int) -> list[int]:
        old, new = self._applied, self._index_offset
        if not shift_allowed(new, forward=self._forward, backward=self._backward):
            new = 0
        self._applied = new
        if old == new:
            adjusted = [index - new for index in indices] if new else list(indices)
        else:
            # A jump would break the signal: the offset changes evenly over the block.

            adjusted = [
                index - old - round((new - old) * (position + 1) / count)
                for position, index in enumerate(indices)
            ]
        if adjusted[0] <= self._last_index or old != new:
            adjusted = self._never_back(adjusted)
        self._last_index = adjusted[-1]
        return adjusted

    def _never_back(self, adjusted: list[int]) -> list[int]:
        highest = self._last_index
        for position, index in enumerate(adjusted):
            highest = max(highest, index)
            adjusted[position] = highest
        return adjusted

    def _final_pair(self) -> tuple[int, int] | None:
        if not self._seen:
            return None
        beyond = 0
        if self._last_valid_master is not None:
            beyond = max(0, self._last_master - self._last_valid_master)
        return self._last_device - beyond, self._last_master - beyond
