"""A test's line to a virtual board: wires pins, and notes each edge of each pin with its time.

One thread reads; replies and edges come in order, so that when a reply is here, every edge before
it has been noted. That makes `barrier` exact: nothing up to its moment can still be under way.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from mlink.errors import DeviceError
from mlink_hil.sim import messages
from mlink_hil.sim.messages import Edge, PinReply, ReadReply, StatsReply

_REPLY_TIMEOUT_SEC = 10.0
_ReplyT = TypeVar("_ReplyT", bound=messages.Reply)


class _Kind(msgspec.Struct):
    """Just enough of a reply to tell whether it is an error."""

    ok: bool = True


class BoardLink:
    """A connection to a board's control socket; requests from any thread, one at a time."""

    def __init__(
        self, path: Path | str, on_edge: Callable[[Edge], None], *, pins: Sequence[int]
    ) -> None:
        self._path = path
        self._on_edge = on_edge
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise DeviceError(
                f"there is no virtual board at {path}: {error.strerror or error}",
                remedy='Give the bench a virtual board: uno = "virtual:uno"',
            ) from error
        self._replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="hil-board", daemon=True)
        self._reader.start()
        self._ask(messages.Watch(list(pins)), messages.WatchReply)

    def drive(self, pin: int, level: bool | None) -> PinReply:
        """Wire a pin to 5 V, to ground, or to nothing (None)."""
        return self._ask(messages.Drive(pin, level), PinReply)

    def analog(self, channel: int, volts: float | None) -> PinReply:
        """Put a voltage on A0 to A5, or nothing."""
        return self._ask(messages.Analog(channel, volts), PinReply)

    def read(self, pin: int) -> ReadReply:
        """Return a pin's state."""
        return self._ask(messages.Read(pin), ReadReply)

    def barrier(self) -> int:
        """Return a time, in ns of CLOCK_MONOTONIC, up to which all edges have been noted."""
        return self.read(13).time_ns

    def stats(self) -> StatsReply:
        """Ask how the simulation does."""
        return self._ask(messages.Stats(), StatsReply)

    def do(self, request: messages.Request) -> None:
        """Carry out a request that has no result (reset, unplug, plug)."""
        self._ask(request, messages.Reply)

    def close(self) -> None:
        """Disconnect."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the board was first
        self._reader.join(_REPLY_TIMEOUT_SEC)
        self._socket.close()

    def _ask(self, request: messages.Request, kind: type[_ReplyT]) -> _ReplyT:
        with self._turn:
            try:
                self._socket.sendall(messages.encode(request))
                line = self._replies.get(timeout=_REPLY_TIMEOUT_SEC)
            except (OSError, queue.Empty) as error:
                raise self._lost(error) from error
        if line is None:
            raise self._lost(None)
        try:
            if not msgspec.json.decode(line, type=_Kind).ok:
                raise DeviceError(msgspec.json.decode(line, type=messages.ErrorReply).error)
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise self._lost(error) from error

    def _read(self) -> None:
        """Run the reader's thread."""
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    if line.startswith(b'{"event":'):
                        self._on_edge(msgspec.json.decode(line, type=Edge))
                    else:
                        self._replies.put(line)
        except (OSError, ValueError):
            pass  # closed, or the board's program ended
        self._replies.put(None)

    def _lost(self, error: Exception | None) -> DeviceError:
        detail = f": {error}" if error is not None and str(error) else ""
        return DeviceError(
            f"the virtual board at {self._path} does not answer{detail}",
            remedy="Its program ended or is unplugged; the run's log says why.",
        )
