"""The time of a V4L2 frame: which clock the driver's stamps are on, and what they become.

The kernel stamps a buffer when the camera begins or ends sending it, so the stamp does not contain
Python's delays. It is used as it is if it proves to be on CLOCK_MONOTONIC. A stamp of another
steady clock is converted by a synchroniser, from the times at which `grab` returned. Without a
usable stamp, a frame's time is that at which `grab` returned.
"""

from __future__ import annotations

from itertools import pairwise

from mlink.sync import SecondaryClockSynchronizer
from mlink_drivers.camera.backend import NoFrame, Stamp

KERNEL_UNCERTAINTY_USEC = 1000
"""The kernel stamps in an interrupt, and USB transfers a frame's first bytes within 1 ms."""


class FrameTimes:
    """Turns a driver's stamps into times on CLOCK_MONOTONIC.

    Args:
        name: Name of the camera, for the synchroniser's log.
        taken: (time of arrival, driver's time) of the first frames, in ns.
        began_ns: When the stream was switched on, on CLOCK_MONOTONIC.
        framerate: Frames per second that the driver reports.
    """

    def __init__(
        self, name: str, taken: list[tuple[int, int]], began_ns: int, framerate: float
    ) -> None:
        self.is_kernel_time = _are_monotonic(taken, began_ns)
        """Whether the driver's stamps are on CLOCK_MONOTONIC."""
        self._synchronizer: SecondaryClockSynchronizer | None = None
        if not self.is_kernel_time and _are_steady(taken, 1e9 / framerate):
            self._synchronizer = SecondaryClockSynchronizer(name)
            self._synchronizer.set_expected_clock_frequency_hz(framerate)
        # Without the kernel's time, a frame may be up to one period old when it arrives.
        self.uncertainty_usec = (
            KERNEL_UNCERTAINTY_USEC if self.is_kernel_time else round(1e6 / framerate)
        )
        self._driver_ns = 0
        self._stamp_ns = 0

    @property
    def source(self) -> str:
        """What a frame's time is, for the stream's metadata `timestamp_source`."""
        if self.is_kernel_time:
            return "v4l2-monotonic"
        return "host" if self._synchronizer is None else "v4l2-synchronised"

    def start(self) -> None:
        """Begin to synchronise, if the driver's clock is another one."""
        if self._synchronizer is not None:
            self._synchronizer.start()

    def stamp(self, now_ns: int, driver_ns: int) -> Stamp | NoFrame:
        """Return the time of a frame, or REPEATED for one that was returned before.

        Args:
            now_ns: When the grab returned, on CLOCK_MONOTONIC.
            driver_ns: The driver's stamp of the frame; 0 if it has none.
        """
        if not self.is_kernel_time and self._synchronizer is None:
            return Stamp(now_ns)
        if driver_ns and driver_ns == self._driver_ns:
            return NoFrame.REPEATED
        self._driver_ns = driver_ns
        if self.is_kernel_time:
            if self._stamp_ns < driver_ns <= now_ns:
                self._stamp_ns = driver_ns
                return Stamp(driver_ns)
            return Stamp(now_ns, estimated=True)
        assert self._synchronizer is not None
        steadied_usec = self._synchronizer.process_timestamp(now_ns // 1000, driver_ns // 1000)
        return Stamp(steadied_usec * 1000)

    def stop(self) -> None:
        """End the synchronisation."""
        if self._synchronizer is not None:
            self._synchronizer.stop()
            self._synchronizer = None


def _are_monotonic(taken: list[tuple[int, int]], began_ns: int) -> bool:
    """Return whether the driver's times are on CLOCK_MONOTONIC.

    Args:
        taken: (time of arrival, driver's time) of the first frames, in ns.
        began_ns: When the stream was switched on.
    """
    earliest_ns = began_ns - 1
    for now_ns, driver_ns in taken:
        if not earliest_ns < driver_ns <= now_ns:
            return False
        earliest_ns = driver_ns
    return True


def _are_steady(taken: list[tuple[int, int]], period_nsec: float) -> bool:
    """Return whether the driver's times advance like times of arrival, within half a period.

    Args:
        taken: (time of arrival, driver's time) of the first frames, in ns.
        period_nsec: Nominal frame period.
    """
    times = [driver_ns for _, driver_ns in taken]
    if any(after <= before for before, after in pairwise([0, *times])):
        return False
    elapsed_ns = taken[-1][0] - taken[0][0]
    return abs(times[-1] - times[0] - elapsed_ns) < period_nsec / 2
