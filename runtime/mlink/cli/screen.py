"""The output of a run: a terminal that is closed, paused or slow never delays or ends the run.

A run's log lines and live table pass through a thread, so the engine never waits for a reader. When
the reader has gone, the output goes nowhere and the run continues.
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

_KEPT_BYTES = 1 << 20
"""Output that is kept for a reader that does not take it; lines beyond it are left out."""


class Screen(io.RawIOBase):
    """A raw stream that writes to a descriptor from a thread of its own; writing never waits.

    Args:
        fd: The descriptor; it stays open.
        name: Its name in messages.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
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
        with self._changed:
            if self._size + len(part) > _KEPT_BYTES:
                self._left_out += part.count(b"\n")
            else:
                if self._left_out:
                    part = b"\n\xe2\x80\xa6 %d lines left out\n" % self._left_out + part
                    self._left_out = 0
                self._parts.append(part)
                self._size += len(part)
                self._changed.notify_all()
        return len(part)

    def wait_written(self) -> None:
        """Wait until the reader has taken all output, or has gone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._parts and not self._writing)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._parts)
                part = self._parts.popleft()
                self._size -= len(part)
                self._writing = True
            try:
                while part:
                    part = part[os.write(self._fd, part) :]
            except OSError as error:
                self._give_up(error)

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
        for screen in screens:
            screen.wait_written()
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
