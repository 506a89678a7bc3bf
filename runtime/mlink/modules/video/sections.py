"""Names of a recorder's files: a section from START to STOP, a slice each so many minutes.

`video`, then `video_sec1`, `video_sec2`, … after each STOP and START; a recorder that waits for its
first START begins with `video_sec1`. With slices: `video_1`, `video_2`, …, `video_sec1_1`, …
"""

from __future__ import annotations


class VideoSections:
    """Says which file a frame goes to; times are µs of the master timer."""

    def __init__(self, base: str, *, start_stopped: bool, slice_usec: int | None) -> None:
        self._base = base
        self._section = 1 if start_stopped else 0
        self._slice_usec = slice_usec
        self._began_usec: int | None = None
        """Time of the section's first frame; None until it comes."""
        self._slice = 0

    def end_section(self) -> None:
        """Let the next frame begin a new section; one without frames does not count."""
        if self._began_usec is not None:
            self._section += 1
            self._began_usec = None
            self._slice = 0

    def is_over(self, time_usec: int) -> bool:
        """Tell whether a frame of this time belongs into another file than the last one."""
        if self._began_usec is None:
            return True
        if self._slice_usec is None:
            return False
        return time_usec >= self._began_usec + self._slice * self._slice_usec

    def next_stem(self, time_usec: int) -> str:
        """Return the name, without extension, of the file that begins with this frame."""
        if self._began_usec is None:
            self._began_usec = time_usec
        name = f"{self._base}_sec{self._section}" if self._section else self._base
        if self._slice_usec is None:
            return name
        # A pause may be longer than a slice: the next one ends where it would have without it.
        passed = (time_usec - self._began_usec) // self._slice_usec
        self._slice = max(self._slice, passed) + 1
        return f"{name}_{self._slice}"
