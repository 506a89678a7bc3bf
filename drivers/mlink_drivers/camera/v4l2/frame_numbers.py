"""The numbers of a V4L2 camera's frames: the kernel's, from 0 at the first frame of the run.

The driver counts frames in the field `sequence` of a buffer, also those that it had no buffer for,
or that were damaged and dropped. Not all drivers fill it in, and it may begin again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_BITS = 0xFFFF_FFFF
_TOO_MANY = 0x8000_0000
"""A step as large as this is one back."""
_PER_PERIOD, _SPARE = 10, 4
"""Most frames that are possible: this many per nominal period, plus the spare ones."""


class FrameNumbers:
    """Turns the driver's numbers into those of the run.

    Args:
        first: The driver's numbers of the first frames; if none of them increases, it has none.
        period_nsec: Nominal frame period, by which an impossible step is known; 0: not known.
    """

    def __init__(self, first: Sequence[int], period_nsec: int) -> None:
        # Not all have to differ: vivid gives its first two frames the same number now and then.
        self.counted = any(0 < _step(a, b) < _TOO_MANY for a, b in pairwise(first))
        """Whether the driver numbers its frames."""
        self._period_nsec = period_nsec
        self._sequence = first[-1]
        self._time_ns = 0
        self._started_ns = 0
        self._number = -1

    def start(self, now_ns: int) -> None:
        """Begin: the first frame that is not older than `now_ns` has the number 0."""
        self._started_ns = now_ns
        self._number = -1

    def number(self, sequence: int, time_ns: int) -> int:
        """Return the number of the next frame; −1 for frames before the start, or without numbers.

        A number that goes back, stays, or skips more frames than there was time for, is none: the
        count goes on by one.

        Args:
            sequence: The driver's number.
            time_ns: The frame's time on CLOCK_MONOTONIC.
        """
        if not self.counted:
            return -1
        step = _step(self._sequence, sequence)
        elapsed_ns = time_ns - self._time_ns
        self._sequence, self._time_ns = sequence, time_ns
        if self._number < 0:
            self._number = 0 if time_ns >= self._started_ns else -1
            return self._number
        possible = _TOO_MANY
        if self._period_nsec:
            possible = _PER_PERIOD * elapsed_ns // self._period_nsec + _SPARE
        self._number += step if 0 < step < possible else 1
        return self._number


def _step(before: int, after: int) -> int:
    return (after - before) & _BITS
