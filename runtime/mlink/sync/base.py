"""Base class of all synchronisers: settings, one run from start to stop, and recorded pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mlink.errors import ModuleError
from mlink.sync.sink import PairSink
from mlink.sync.strategy import SHIFT_BOTH, TimeSyncStrategy

log = logging.getLogger(__name__)

DEFAULT_TOLERANCE_USEC = 1000


class Synchronizer:
    """Settings and life cycle of a synchroniser; subclasses decide how times are corrected.

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
        self.name = name
        self._sink = sink
        self._adjust_clock = adjust_clock
        self._used = False
        self._running = False
        self._calibrated = False
        self._tolerance_usec = DEFAULT_TOLERANCE_USEC
        self._expected_offset_usec = 0
        self._correction_usec = 0
        self.set_strategies(SHIFT_BOTH)

    def set_strategies(self, strategies: int) -> None:
        """Set which corrections are allowed, as flags of `TimeSyncStrategy`.

        Raises:
            ModuleError: The synchroniser is calibrated already.
        """
        self._refuse_when_calibrated("its strategies")
        self._strategies = TimeSyncStrategy(strategies)
        # Testing an IntFlag costs more than the arithmetic of a sample, so the results are kept.
        self._forward = bool(strategies & TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD)
        self._backward = bool(strategies & TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD)
        self._records = bool(strategies & TimeSyncStrategy.WRITE_TSYNCFILE)
        self._adjusts = bool(strategies & TimeSyncStrategy.ADJUST_CLOCK)

    def set_tolerance_usec(self, tolerance_usec: int) -> None:
        """Set how far the clocks may diverge before anything is corrected.

        Args:
            tolerance_usec: In µs, at least 1.

        Raises:
            ModuleError: The value is below 1, or the synchroniser is calibrated already.
        """
        self._refuse_when_calibrated("its tolerance")
        if tolerance_usec < 1:
            raise ModuleError(
                f"{self._title} cannot keep a tolerance of {tolerance_usec} µs",
                remedy="Set at least 1 µs; half a sample period is usual.",
            )
        self._tolerance_usec = int(tolerance_usec)

    @property
    def strategies(self) -> TimeSyncStrategy:
        """The corrections that are allowed."""
        return self._strategies

    @property
    def tolerance_usec(self) -> int:
        """How far the clocks may diverge before anything is corrected, in µs."""
        return self._tolerance_usec

    @property
    def is_calibrated(self) -> bool:
        """Whether the expected offset is known; until then times are returned unchanged."""
        return self._calibrated

    @property
    def expected_offset_to_master_usec(self) -> int:
        """Device time − master time as measured by the calibration, in µs; 0 before."""
        return self._expected_offset_usec

    @property
    def clock_correction_offset_usec(self) -> int:
        """Change of the offset since the calibration, in µs.

        Negative for a device whose clock runs slow, positive for one whose clock runs fast.
        """
        return self._correction_usec

    def start(self) -> bool:
        """Begin the run; a synchroniser serves one run only.

        Returns:
            False, with the reason logged, if it was started before or its sink is missing.
        """
        if self._used:
            log.error("%s serves one run only and was started before; make a new one", self._title)
            return False
        if self._records and self._sink is None:
            log.error("%s is to write a tsync file, but has no sink to write it to", self._title)
            return False
        self._used = self._running = True
        return True

    def stop(self) -> None:
        """End the run: write the last pair and close the sink. Calling it again does nothing.

        Raises:
            StorageError: The sink cannot write; it is closed all the same.
        """
        self._used, self._running = True, False
        sink, pair = self._sink, self._final_pair()
        self._sink = None
        if sink is None:
            return
        try:
            if self._records and pair is not None:
                sink.write(*pair)
        finally:
            sink.close()

    def _final_pair(self) -> tuple[int, int] | None:
        """Return the last device and master time, in µs; None when there was no sample."""
        raise NotImplementedError

    def _write_pair(self, device_usec: int, master_usec: int) -> None:
        if self._records and self._sink is not None:
            self._sink.write(device_usec, master_usec)

    def _adjust_device_clock(self) -> None:
        if self._adjusts and self._adjust_clock is not None:
            self._adjust_clock(self._correction_usec)

    def _check_started(self) -> None:
        if not self._used:
            raise ModuleError(
                f"{self._title} received a time before its run began",
                remedy="Call its start() when the run starts.",
            )

    def _refuse_when_calibrated(self, what: str) -> None:
        if self._calibrated:
            raise ModuleError(
                f"{self._title} is calibrated, so {what} cannot be changed any more",
                remedy="Change settings before the run starts.",
            )

    @property
    def _title(self) -> str:
        return f"The clock synchroniser {self.name!r}" if self.name else "A clock synchroniser"


def shift_allowed(correction: int, *, forward: bool, backward: bool) -> bool:
    """Return whether the strategies allow times to follow a correction.

    A positive correction (the device runs fast) moves times earlier, a negative one later.
    """
    return backward if correction > 0 else forward and correction < 0
