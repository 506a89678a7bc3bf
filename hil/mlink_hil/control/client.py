"""What all clients of a virtual board's control socket ask of it, each in its own way."""

from __future__ import annotations

import os
import socket
from abc import abstractmethod
from pathlib import Path
from typing import TypeVar

import msgspec

from mlink.closing import ClosesOnExit
from mlink.errors import DeviceError
from mlink_hil.control import messages
from mlink_hil.control.messages import PinReply, ReadReply, StatsReply

REPLY_TIMEOUT_SEC = 10.0
ReplyT = TypeVar("ReplyT", bound=messages.Reply)


class _Kind(msgspec.Struct):
    """Just enough of a reply to tell whether it is an error."""

    ok: bool = True


class ControlClient(ClosesOnExit):
    """A connection to a board's control socket; DeviceError when nobody listens."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise DeviceError(
                f"there is no virtual board at {path}: {error.strerror or error}",
                remedy='Give the bench a virtual board: uno = "virtual:uno"',
            ) from error

    def drive(self, pin: int, level: bool | None) -> PinReply:
        """Wire a pin to 5 V, to ground, or to nothing (None); the reply says when that was."""
        return self._ask(messages.Drive(pin, level), PinReply)

    def analog(self, channel: int, volts: float | None) -> PinReply:
        """Put a voltage on A0 to A5, or nothing."""
        return self._ask(messages.Analog(channel, volts), PinReply)

    def read(self, pin: int) -> ReadReply:
        """Return a pin's state."""
        return self._ask(messages.Read(pin), ReadReply)

    def stats(self) -> StatsReply:
        """Ask how the simulation does."""
        return self._ask(messages.Stats(), StatsReply)

    def do(self, request: messages.Request) -> None:
        """Carry out a request whose result is of no interest, such as a fault."""
        self._ask(request, messages.Reply)

    @abstractmethod
    def _ask(self, request: messages.Request, kind: type[ReplyT]) -> ReplyT:
        """Send a request and wait for its reply; DeviceError when there is none, or an error."""

    def _decode(self, line: bytes, kind: type[ReplyT]) -> ReplyT:
        """Return a reply; DeviceError when it tells one, or is none."""
        try:
            if not msgspec.json.decode(line, type=_Kind).ok:
                raise DeviceError(msgspec.json.decode(line, type=messages.ErrorReply).error)
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception | None) -> DeviceError:
        detail = f": {error}" if error is not None and str(error) else ""
        return DeviceError(
            f"the virtual board at {self._path} went away, or does not answer{detail}",
            remedy="Its program ended or is unplugged; the run's log says why.",
        )
