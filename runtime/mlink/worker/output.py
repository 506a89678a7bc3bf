"""Sends a worker's log records and printed lines to the engine."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable

from mlink import control
from mlink.control import Channel, EngineMessages
from mlink.errors import ControlError


class ChannelLogHandler(logging.Handler):
    """A logging handler that sends records to the engine; to stderr when the engine has gone."""

    def __init__(self, channel: Channel[EngineMessages]) -> None:
        super().__init__(logging.INFO)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        text = control.cut(self.format(record))
        try:
            self._channel.send(control.Log(record.levelno, text))
        except ControlError:
            sys.__stderr__ and sys.__stderr__.write(text + "\n")


class LineSender(io.TextIOBase):
    """A text stream that calls `send_line` with each complete line, for `print` in scripts."""

    def __init__(self, send_line: Callable[[str], None]) -> None:
        self._send_line = send_line
        self._rest = ""

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Add text and send its complete lines."""
        self._rest += text
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            self._send_line(line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: an incomplete line is sent when it is complete."""

    def finish(self) -> None:
        """Send an incomplete last line."""
        if self._rest:
            self._send_line(self._rest)
            self._rest = ""


def redirect_output(channel: Channel[EngineMessages]) -> LineSender:
    """Send the logging and printing of this process to the engine; return its new stdout.

    Warnings of the `warnings` module are logged. Records below INFO are dropped.
    """
    root = logging.getLogger()
    root.handlers[:] = [ChannelLogHandler(channel)]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)

    def send_line(line: str) -> None:
        try:
            channel.send(control.Output(control.cut(line)))
        except ControlError:
            pass  # the engine has gone

    stream = LineSender(send_line)
    sys.stdout = stream
    return stream
