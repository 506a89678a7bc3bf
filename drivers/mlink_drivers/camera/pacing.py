"""The pace of recorded sources: a frame is given out when it is due, or at once."""

from __future__ import annotations

import time

from mlink_drivers.camera.backend import NoFrame, Stamp

_LONGEST_WAIT_NSEC = 1_000_000_000


class Pacer:
    """Waits until a frame's own time, counted from the start of the run, has come."""

    def __init__(self) -> None:
        self.paced = True
        """Whether to wait at all; else frames come as fast as they can be read."""
        self._start_ns = 0

    def start(self) -> None:
        """Let time 0 of the source be now."""
        self._start_ns = time.monotonic_ns()

    def stamp(self, time_nsec: int, number: int) -> Stamp:
        """Return the stamp of a frame at this time of the source."""
        return Stamp(self._start_ns + time_nsec, number)

    def wait(self, due: Stamp) -> NoFrame | None:
        """Wait until it is due; `NOT_YET` after 1 s, to be asked again."""
        if not self.paced:
            return None
        wait_nsec = due.time_ns - time.monotonic_ns()
        if wait_nsec > _LONGEST_WAIT_NSEC:
            time.sleep(_LONGEST_WAIT_NSEC / 1e9)
            return NoFrame.NOT_YET
        if wait_nsec > 0:
            time.sleep(wait_nsec / 1e9)
        return None
