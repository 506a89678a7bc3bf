"""Numbers and times of a GenICam camera's frames.

A frame has the time of the camera's own clock, which a synchroniser converts to this computer's,
from the moments at which the first packets of frames arrived. The network's jitter is not in it.
"""

from __future__ import annotations

import time

from mlink.sync import OffsetRateSynchronizer
from mlink_drivers.camera.backend import Stamp

SOURCE = "genicam-synchronised"
_LAST_ID = 65535
"""GigE cameras count blocks in 16 bits, from 1: 0 is left out."""
_MOST_LOST = 1000
"""A damaged frame's number is believed up to this many frames after the last one."""
_LONGEST_WAIT_NSEC = 2_000_000_000
"""A frame waits less than this between its arrival and `grab`."""
_NO_RATE_USEC = 33_000


class FrameTimes:
    """Turns what Aravis reports of a frame into a `Stamp`.

    Args:
        name: Name of the camera, for the synchroniser's log.
        framerate: Frames per second; 0 if it is not known.
    """

    def __init__(self, name: str, framerate: float) -> None:
        self.uncertainty_usec = round(1e6 / framerate) if framerate else _NO_RATE_USEC
        """Exposure and transfer lie between the camera's time and the arrival: about a period."""
        self._synchronizer = OffsetRateSynchronizer(name)
        if framerate:
            self._synchronizer.set_expected_clock_frequency_hz(framerate)
        self._synchronizer.start()
        self._raw = -1
        self._number = -1
        self._last_ns = 0

    def stamp(self, now_ns: int, raw: int, arrival_real_ns: int, device_ns: int) -> Stamp:
        """Return the stamp of a whole frame.

        Args:
            now_ns: The present time on CLOCK_MONOTONIC.
            raw: The camera's number of the frame.
            arrival_real_ns: When its first packet came, on CLOCK_REALTIME; 0 if that is not known.
            device_ns: The camera's time; 0 if it has none.
        """
        number = self._count(raw)
        arrival_ns = now_ns
        if arrival_real_ns:
            waited_nsec = time.time_ns() - arrival_real_ns
            if 0 <= waited_nsec < _LONGEST_WAIT_NSEC:  # else the wall clock was set meanwhile
                arrival_ns -= waited_nsec
        if device_ns:
            usec = self._synchronizer.process_timestamp(arrival_ns // 1000, device_ns // 1000)
            self._last_ns = max(usec * 1000, self._last_ns + 1000)
            return Stamp(self._last_ns, number)
        self._last_ns = max(arrival_ns, self._last_ns + 1000)
        return Stamp(self._last_ns, number, estimated=True)

    def damaged(self, now_ns: int, raw: int) -> Stamp:
        """Return the stamp of a frame with missing parts, which is not sent: its time is vague.

        It comes late, so that its time must not keep the next frame from being later. Without its
        first packet it has the number of an older frame in the same buffer; it is then the next.
        """
        self._last_ns = self._last_ns + 1000 if self._last_ns else now_ns - _LONGEST_WAIT_NSEC // 8
        return Stamp(self._last_ns, self._count_damaged(raw), damaged=True)

    def stop(self) -> None:
        """End the synchronisation."""
        self._synchronizer.stop()

    def _count(self, raw: int) -> int:
        """Return a whole frame's number, which goes on where the camera's counter begins again."""
        if self._raw < 0:  # the first one, or the first after damaged ones
            self._raw, self._number = raw, raw if self._number < 0 else self._number + 1
            return self._number
        # A counter that was set back shows no losses.
        self._number += max(1, self._step_to(raw))
        self._raw = raw
        return self._number

    def _count_damaged(self, raw: int) -> int:
        """Return a damaged frame's number; `raw` may be that of an older frame, or 0 for none."""
        step = self._step_to(raw) if raw and self._raw >= 0 else 1
        step = step if 0 < step <= _MOST_LOST else 1
        self._number += step
        if self._raw >= 0:
            wraps = self._raw <= _LAST_ID < self._raw + step
            self._raw += step - (_LAST_ID if wraps else 0)
        return self._number

    def _step_to(self, raw: int) -> int:
        step = raw - self._raw
        if step < -_LAST_ID // 2 and self._raw <= _LAST_ID:
            step += _LAST_ID
        return step
