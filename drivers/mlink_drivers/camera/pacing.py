"""Pacing of recorded sources: a frame is returned when it is due, or immediately.

Its stamp is the same in both cases, so that a recording gives the same times in each run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp

_LONGEST_WAIT_NSEC = 1_000_000_000


class Pacer:
    """Waits until a frame is due, by its time in the source counted from the start of the run."""

    def __init__(self) -> None:
        self.paced = True
        """Whether to wait; else frames are returned as fast as they can be read."""
        self.now_ns: Callable[[], int] = time.monotonic_ns
        self._start_ns = 0

    def follow(self, request: CameraRequest) -> None:
        """Use the clock and the pace of a request."""
        self.paced, self.now_ns = request.paced, request.now_ns

    def start(self) -> None:
        """Set time 0 of the source to now."""
        self._start_ns = self.now_ns()

    def stamp(self, time_nsec: int, number: int) -> Stamp:
        """Return the stamp of a frame.

        Args:
            time_nsec: Its time from the beginning of the source, in ns.
            number: Its number from 0.
        """
        return Stamp(self._start_ns + time_nsec, number)

    def wait(self, due: Stamp) -> NoFrame | None:
        """Wait until a frame is due, at most 1 s.

        Returns:
            None when it is due; `NOT_YET` if the caller must call again.
        """
        if not self.paced:
            return None
        wait_nsec = due.time_ns - self.now_ns()
        if wait_nsec > _LONGEST_WAIT_NSEC:
            time.sleep(_LONGEST_WAIT_NSEC / 1e9)
            return NoFrame.NOT_YET
        if wait_nsec > 0:
            time.sleep(wait_nsec / 1e9)
        return None
