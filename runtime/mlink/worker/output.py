"""Sends a worker's log records and printed lines to the engine, at a limited rate.

A script that prints in a loop would keep engine, terminal and disk busy. Lines beyond the limit are
left out; their number is sent. What children and compiled code write to descriptors 1 and 2 goes to
the engine by a pipe (`engine/direct_output.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import ClassVar

from mlink import control
from mlink.channel import Channel
from mlink.control import EngineMessages
from mlink.errors import ControlError

LINES_PER_S = 500
BURST_LINES = 2000
"""Lines that may come at once, before the limit per second."""
_CHARACTERS_PER_LINE = 500
"""A longer line counts as several."""
_PAUSE_S = 1.0
"""Time in which nothing is sent once the limit is reached: one note about it per second."""


class LineLimit:
    """Limits the rate of lines; `passes` may be called from any thread.

    Args:
        note: Called with a text for the user, when lines are left out and when they come again.
        off: Whether all lines pass: in virtual time the rate depends on the machine.
    """

    def __init__(self, note: Callable[[str], None], *, off: bool) -> None:
        self._off = off
        self.left_out = 0
        """Lines left out so far."""
        self._note = note
        self._lock = threading.Lock()
        self._credit = float(BURST_LINES)
        self._credit_s = monotonic()
        self._paused_until_s = 0.0
        self._noted = 0

    def passes(self, line: str) -> bool:
        """Return whether this line may be sent; count it if not.

        A long line counts for several. Beyond the limit everything is left out for a pause, so that
        what is sent is readable. May be called from any thread.
        """
        if self._off:
            return True
        with self._lock:
            now_s = monotonic()
            if now_s < self._paused_until_s:
                self.left_out += 1
                return False
            grown = self._credit + (now_s - self._credit_s) * LINES_PER_S
            self._credit, self._credit_s = min(grown, BURST_LINES), now_s
            cost = 1 + len(line) / _CHARACTERS_PER_LINE
            if self._credit < cost:
                self._paused_until_s = now_s + _PAUSE_S
                self.left_out += 1
                if self.left_out == 1:
                    self._note(f"… more than {LINES_PER_S} lines per second: lines are left out")
                return False
            self._credit -= cost
            self._note_rest()
            return True

    def finish(self) -> int:
        """Note lines that were left out last; return their number in the whole run.

        Call it once no more lines come.
        """
        with self._lock:
            self._note_rest()
            return self.left_out

    def _note_rest(self) -> None:
        if self.left_out > self._noted:
            self._note(f"… {self.left_out - self._noted:,} lines left out")
            self._noted = self.left_out


class ChannelLogHandler(logging.Handler):
    """A logging handler that sends records to the engine; to stderr when the engine has gone.

    Args:
        channel: To the engine.
        unlimited: Whether to send every record, whatever their rate.
    """

    last_resort_fd: ClassVar[int] = 2
    """The engine's stderr."""

    def __init__(self, channel: Channel[EngineMessages], *, unlimited: bool = False) -> None:
        super().__init__(logging.INFO)
        self._channel = channel
        self._limit = LineLimit(lambda text: self._send(logging.WARNING, text), off=unlimited)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, within the limit."""
        text = control.cut(self.format(record))
        if self._limit.passes(text):
            self._send(record.levelno, text)

    def flush(self) -> None:
        """Note records that were left out last; `logging.shutdown` calls it.

        Their number in the whole run becomes a figure of the module's report.
        """
        _report(self._channel, "log lines left out", self._limit.finish())

    def _send(self, level: int, text: str) -> None:
        try:
            self._channel.send(control.Log(level, text))
        except ControlError:
            with contextlib.suppress(OSError):  # the terminal may have gone too
                os.write(self.last_resort_fd, f"{text}\n".encode())


class LineSender(io.TextIOBase):
    """A text stream that sends each complete line to the engine, for `print` in scripts."""

    def __init__(self, channel: Channel[EngineMessages], *, unlimited: bool = False) -> None:
        self._channel = channel
        self._limit = LineLimit(self._send, off=unlimited)
        self._rest = ""

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Add text and send its complete lines, within the limit."""
        self._rest += text
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            self._send_line(line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: an incomplete line is sent when it is complete."""

    def finish(self) -> None:
        """Send an incomplete last line, and the number of lines that were left out."""
        if self._rest:
            self._send_line(self._rest)
            self._rest = ""
        _report(self._channel, "printed lines left out", self._limit.finish())

    def _send_line(self, line: str) -> None:
        line = control.cut(line)
        if self._limit.passes(line):
            self._send(line)

    def _send(self, line: str) -> None:
        with suppress(ControlError):  # the engine has gone
            self._channel.send(control.Output(line))


def _report(channel: Channel[EngineMessages], key: str, left_out: int) -> None:
    if left_out:
        with suppress(ControlError):
            channel.send(control.Report(key, left_out))


def redirect_output(channel: Channel[EngineMessages], *, unlimited: bool = False) -> LineSender:
    """Send the logging and printing of this process to the engine; return its new stdout.

    Warnings of the `warnings` module are logged. Records below INFO are dropped.

    Args:
        channel: The control channel.
        unlimited: Whether all lines are sent, however many they are.
    """
    root = logging.getLogger()
    root.handlers[:] = [ChannelLogHandler(channel, unlimited=unlimited)]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    stream = LineSender(channel, unlimited=unlimited)
    sys.stdout = stream
    return stream


def redirect_descriptors(pipe: int) -> None:
    """Let descriptors 1 and 2 of this process lead to the engine; its children inherit them.

    Args:
        pipe: Write end of the pipe that the engine reads.
    """
    ChannelLogHandler.last_resort_fd = os.dup(2)
    for fd in (1, 2):
        os.dup2(pipe, fd)
    libc = ctypes.CDLL(None)
    stdout = ctypes.c_void_p.in_dll(libc, "stdout")
    libc.setvbuf(stdout, None, 1, 0)  # by lines (_IOLBF), as at a terminal: its end is os._exit
