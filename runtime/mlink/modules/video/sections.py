"""File names of a recorder: a section lasts from START to STOP, a slice for a number of minutes.

The first file is `video`, then `video_sec1`, `video_sec2`, … after each STOP and START. A recorder
that waits for its first START begins with `video_sec1`. With slices the names are `video_1`,
`video_2`, …, `video_sec1_1`, … A file that is full goes on in `video-2`, `video-3`, …
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.metadata import Metadata, bits_of


class UsedBits:
    """How many bits of a frame's values are used: those that its source states, while that holds.

    Args:
        metadata: Of the stream.
    """

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._all = False

    def of(self, pixels: NDArray[Any]) -> int:
        """Return the bits of a frame's values that are used."""
        whole = 8 * pixels.itemsize
        return whole if self._all else bits_of(self._metadata, pixels.itemsize)

    def exceeded_by(self, pixels: NDArray[Any]) -> str:
        """Return in words by what a frame is the first one to use more bits; "" if it is not.

        From then on all bits count as used.
        """
        bits = self.of(pixels)
        if pixels.dtype != np.uint16 or bits == 16 or not pixels.size:
            return ""
        if (highest := int(pixels.max())) >> bits == 0:
            return ""
        self._all = True
        return f"the value {highest}, but its source states bits = {bits}"


class VideoSections:
    """Selects the file for each frame; times are µs of the master timer."""

    def __init__(self, base: str, *, start_stopped: bool, slice_usec: int | None) -> None:
        self._base = base
        self._section = 1 if start_stopped else 0
        self._slice_usec = slice_usec
        self._began_usec: int | None = None
        """Time of the section's first frame; None until it arrives."""
        self._slice = 0
        self._stem = ""
        self._part = 1

    def end_section(self) -> None:
        """Start a new section with the next frame; sections without frames are not counted."""
        if self._began_usec is not None:
            self._section += 1
            self._began_usec = None
            self._slice = 0

    def is_over(self, time_usec: int) -> bool:
        """Return whether a frame of this time belongs in a new file.

        Args:
            time_usec: Master time of the frame in µs; not earlier than that of the frame before.
        """
        if self._began_usec is None:
            return True
        if self._slice_usec is None:
            return False
        return time_usec >= self._began_usec + self._slice * self._slice_usec

    def continued_stem(self) -> str:
        """Return the name, without extension, of the file in which the one before goes on."""
        self._part += 1
        return f"{self._stem}-{self._part}"

    def next_stem(self, time_usec: int) -> str:
        """Return the name, without extension, of the file that starts with this frame."""
        self._stem, self._part = self._next_stem(time_usec), 1
        return self._stem

    def _next_stem(self, time_usec: int) -> str:
        if self._began_usec is None:
            self._began_usec = time_usec
        name = f"{self._base}_sec{self._section}" if self._section else self._base
        if self._slice_usec is None:
            return name
        # A pause may be longer than a slice; the ends of later slices do not move.
        passed = (time_usec - self._began_usec) // self._slice_usec
        self._slice = max(self._slice, passed) + 1
        return f"{name}_{self._slice}"
