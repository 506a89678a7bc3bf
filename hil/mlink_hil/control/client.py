"""Base of the clients of a simulated board's control socket: connection, requests, errors.

How a client waits for a reply and what it does with edges is its own (`board.py`, `watcher.py`).
"""

from __future__ import annotations

import os
import socket
from abc import abstractmethod
from pathlib import Path
from typing import TypeVar

import msgspec

from mlink.closing import ClosesOnExit
from mlink.errors import DeviceError
from mlink.peers import is_trusted
from mlink_hil.control import messages
from mlink_hil.control.checked import checked
from mlink_hil.control.messages import LineReply, PinReply, ReadReply, StatsReply

REPLY_TIMEOUT_SEC = 10.0
ReplyT = TypeVar("ReplyT", bound=messages.Reply)


class _Kind(msgspec.Struct):
    """The field of a reply that shows whether it is an error."""

    ok: bool = True


class ControlClient(ClosesOnExit):
    """A connection to a board's control socket.

    Raises:
        DeviceError: No program listens at the socket.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise DeviceError(
                f"no simulated board listens at {path}: {error.strerror or error}",
                remedy='Use a simulated board in the bench: uno = "virtual:uno"',
            ) from error
        if not is_trusted(self._socket):
            self._socket.close()
            raise DeviceError(
                f"the program that listens at {path} belongs to another user",
                remedy="Name the socket of a board that you have started.",
            )

    def fileno(self) -> int:
        """Return the descriptor that is readable when edges of watched pins have arrived."""
        return self._socket.fileno()

    def drive(self, pin: int, level: bool | None) -> PinReply:
        """Drive a pin from outside, or release it.

        Args:
            pin: 2 to 19; 14 is A0.
            level: True connects it to 5 V, False to ground, None to nothing.

        Returns:
            The pin's level, whether it has changed, and when: cycle, and ns of CLOCK_MONOTONIC.

        Raises:
            DeviceError: An Uno has no such pin, or it is one of the serial line.
        """
        return self._ask(messages.Drive(pin, level), PinReply)

    def analog(self, channel: int, volts: float | None) -> PinReply:
        """Put a voltage on an analog input, or disconnect it.

        Args:
            channel: 0 to 5, for A0 to A5.
            volts: 0 to 5 V; None disconnects the input.
        """
        return self._ask(messages.Analog(channel, volts), PinReply)

    def read(self, pin: int) -> ReadReply:
        """Return the level of a pin, what drives it, and the board's time.

        Raises:
            DeviceError: An Uno has no such pin.
        """
        return self._ask(messages.Read(pin), ReadReply)

    def stats(self) -> StatsReply:
        """Return the counters of the simulation."""
        return self._ask(messages.Stats(), StatsReply)

    def line_events(self) -> LineReply:
        """Return the bytes on the serial line since the last call; the first call begins it.

        Raises:
            DeviceError: The board runs in virtual time.
        """
        return self._ask(messages.Line(), LineReply)

    def do(self, request: messages.Request) -> None:
        """Send a request whose reply holds no result, such as a fault.

        Raises:
            DeviceError: The board refused it.
        """
        self._ask(request, messages.Reply)

    @abstractmethod
    def _ask(self, request: messages.Request, kind: type[ReplyT]) -> ReplyT:
        """Send a request and return its reply.

        Raises:
            BenchError: An argument of the request is of a wrong type.
            DeviceError: The board refused the request, or its program is gone or silent.
        """

    def _send(self, request: messages.Request) -> None:
        """Send a request; BenchError when an argument is of a wrong type."""
        line = messages.encode(checked(request))
        try:
            self._socket.sendall(line)
        except OSError as error:
            raise self._lost(error) from error

    def _decode(self, line: bytes, kind: type[ReplyT]) -> ReplyT:
        """Return a decoded reply; DeviceError when it is an error, or is malformed."""
        try:
            if not msgspec.json.decode(line, type=_Kind).ok:
                raise DeviceError(msgspec.json.decode(line, type=messages.ErrorReply).error)
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception | None) -> DeviceError:
        detail = f": {error}" if error is not None and str(error) else ""
        return DeviceError(
            f"the simulated board at {self._path} went away, or does not answer{detail}",
            remedy="Its program has ended, or it is unplugged; the run's log has the reason.",
        )
