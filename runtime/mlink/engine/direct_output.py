"""What a worker, its compiled code and its children write to descriptors 1 and 2: lines, limited.

They lead to the engine by a pipe, so a flood reaches neither a terminal nor a disk, and a terminal
that is closed disturbs no writer. The engine takes what the pipe holds, at most once per EVERY_S:
who writes more waits for that. Lines beyond the limit of printed lines are counted and left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from mlink import control
from mlink.worker.output import LineLimit

EVERY_S = 0.02
"""Shortest time from one reading to the next."""
_PIPE_BYTES = 1 << 16
_FIGURE = "directly written lines left out"


class DirectOutput:
    """The pipe of one worker, which the engine reads; reading never waits."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        self.ended = False
        """Whether no process has its write end open any more."""
        self._rest = b""
        self._texts: list[str] = []
        self._limit = LineLimit(self._texts.append, off=False)
        self._reported = 0

    def read(self, *, last: bool = False) -> Iterator[control.Output | control.Report]:
        """Yield the lines that wait, and the number of those left out so far if it has changed.

        Args:
            last: Whether an incomplete line counts as complete: its writer has ended.
        """
        *lines, self._rest = (self._rest + self._take()).split(b"\n")
        if self._rest and (last or self.ended or len(self._rest) > control.TEXT_LIMIT):
            lines.append(self._rest)
            self._rest = b""
        for number, line in enumerate(lines):
            text = control.cut(line.decode(errors="backslashreplace"))
            if not self._limit.passes(text):
                self._limit.left_out += len(lines) - number - 1
                break
            self._texts.append(text)
        if last or self.ended:
            self._limit.finish()
        for text in self._texts:
            yield control.Output(text)
        self._texts.clear()
        if self._limit.left_out > self._reported:
            self._reported = self._limit.left_out
            yield control.Report(_FIGURE, self._reported)

    def _take(self) -> bytes:
        try:
            data = os.read(self.read_fd, _PIPE_BYTES)
        except BlockingIOError:
            return b""
        self.ended = not data
        return data

    def hand_over(self) -> None:
        """Close the engine's copy of the write end: the worker has its own."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Close the pipe."""
        self.hand_over()
        with suppress(OSError):
            os.close(self.read_fd)
