"""The output of a run: a terminal that is closed, paused or slow never delays or ends the run.

A run's log lines and live table pass through a thread, so the engine never waits for a reader. When
the reader has gone, the output goes nowhere and the run continues. At the end the program waits for
a slow reader, but not for one that takes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

_KEPT_BYTES = 1 << 20
"""Output that is kept for a reader that does not take it; lines beyond it are left out."""
_CHUNK = 4096
_UNREAD_S = 30.0
"""Longest wait at the end for a reader that takes nothing, such as a terminal after Ctrl-S."""
_NOTE_S = 1.0
"""Longest wait for the note about it."""


class Screen(io.RawIOBase):
    """A raw stream that writes to a descriptor from a thread of its own; writing never waits.

    Args:
        fd: The descriptor; it stays open.
        name: Its name in messages.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._parts: deque[tuple[bytes, int]] = deque()
        """What is to be written, and how many lines that is, with those left out before it."""
        self._size = 0
        self._left_out = 0
        self._taken = 0
        """Bytes that the reader has taken."""
        self._writing = False
        self._changed = threading.Condition()
        # A daemon: a terminal that is paused must not keep the program from ending.
        threading.Thread(target=self._serve, name=f"write {name}", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: object, /) -> int:
        """Take output; lines that do not fit any more are counted and left out."""
        part = bytes(data)  # type: ignore[call-overload]
        taken = len(part)
        with self._changed:
            lines = part.count(b"\n")
            if self._size + len(part) > _KEPT_BYTES:
                self._left_out += lines
            else:
                self._note_left_out()
                self._add(part, lines)
        return taken

    def _note_left_out(self) -> None:
        if self._left_out:
            self._add(b"\n\xe2\x80\xa6 %d lines left out\n" % self._left_out, self._left_out)
            self._left_out = 0

    def _add(self, part: bytes, lines: int) -> None:
        self._parts.append((part, lines))
        self._size += len(part)
        self._changed.notify_all()

    def wait_written(self, limit_s: float) -> int:
        """Wait until the reader has taken all output, or has gone, or takes nothing any more.

        Args:
            limit_s: Longest wait in which it takes nothing.

        Returns:
            Number of lines that it has not taken; what is being written counts as one.
        """
        with self._changed:
            self._note_left_out()
            while self._busy:
                if not self._changed.wait_for(partial(self._moved, self._taken), limit_s):
                    return 1 + sum(lines for _, lines in self._parts) + self._left_out
        return 0

    def _moved(self, taken: int) -> bool:
        return self._taken != taken or not self._busy

    @property
    def _busy(self) -> bool:
        return bool(self._parts) or self._writing

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._parts)
                part, _ = self._parts.popleft()
                self._size -= len(part)
                self._writing = True
            try:
                while part:
                    part = part[self._write_some(part) :]
            except OSError as error:
                self._give_up(error)

    def _write_some(self, part: bytes) -> int:
        written = os.write(self._fd, part[:_CHUNK])  # a pipe takes a part as a whole or waits
        with self._changed:
            self._taken += written
            self._changed.notify_all()
        return written

    def _give_up(self, error: OSError) -> None:
        """Let further output go nowhere: its reader has gone, or its disk is full."""
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, self._fd)
        os.close(nowhere)
        if error.errno not in (errno.EPIPE, errno.EIO):
            with contextlib.suppress(OSError):
                os.write(2, f"warning: {self.name} is lost: {error.strerror}\n".encode())


@contextmanager
def unhurried_output() -> Iterator[None]:
    """Let stdout and stderr be written by threads within the block, which then waits for them.

    A stream that is not a file of the system, as in tests, is left as it is.
    """
    saved = sys.stdout, sys.stderr
    screens: list[Screen] = []
    try:
        sys.stdout = _unhurried(sys.stdout, screens)
        sys.stderr = _unhurried(sys.stderr, screens)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        limit_s = _UNREAD_S
        for screen in screens:
            if lines := screen.wait_written(limit_s):
                note = f"mlink: nobody read the last {lines} line(s) of {screen.name}\n"
                screens[-1].write(note.encode())  # stderr may be another file
                limit_s = _NOTE_S
        sys.stdout, sys.stderr = saved


def _unhurried(stream: object, screens: list[Screen]) -> io.TextIOWrapper:
    assert isinstance(stream, io.TextIOBase)
    try:
        fd = stream.fileno()
        stream.flush()
    except (OSError, ValueError):  # no descriptor, or the reader has gone already
        return stream  # type: ignore[return-value]
    screen = Screen(fd, f"<{'stderr' if fd == 2 else 'stdout'}>")
    screens.append(screen)
    return io.TextIOWrapper(
        io.BufferedWriter(screen),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )
