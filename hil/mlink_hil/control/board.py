"""A client of a simulated board's control socket: press buttons, watch pins, pull the cable.

It needs no thread: edges are read when the caller waits for one. `watcher.py` has a client that
calls back at once.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mlink.errors import BenchError, DeviceError
from mlink_hil.control import messages
from mlink_hil.control.checked import checked, listed
from mlink_hil.control.client import REPLY_TIMEOUT_SEC, ControlClient, ReplyT
from mlink_hil.control.messages import Edge, PinReply, ReadReply, StatsReply, WatchReply

__all__ = ["Edge", "PinReply", "ReadReply", "StatsReply", "VirtualBoard"]


class _Wanted(msgspec.Struct):
    """Arguments of `VirtualBoard.wait_edge`."""

    pin: int | None
    level: bool | None
    timeout_sec: float


class VirtualBoard(ControlClient):
    """A connection to a simulated board, for one thread at a time.

    Edges of watched pins are buffered until `wait_edge` or `edges` returns them.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._received = bytearray()
        self._edges: deque[Edge] = deque()

    @classmethod
    def connect(cls, path: Path | str) -> VirtualBoard:
        """Connect to the control socket at `path`.

        Raises:
            DeviceError: No program listens there.
        """
        return cls(path)

    def watch(self, pins: Iterable[int], *, wake: bool = False) -> None:
        """Receive the edges of these pins from now on, and those of no others.

        Args:
            pins: Numbers of the pins, 0 to 19.
            wake: In virtual time: whether each edge gives the client's module a turn.

        Raises:
            DeviceError: An Uno has no such pin.
        """
        self._ask(messages.Watch(listed(pins), wake), WatchReply)

    def reset(self) -> None:
        """Push the reset button.

        Raises:
            DeviceError: The board is unplugged.
        """
        self._ask(messages.Reset(), messages.Reply)

    def unplug(self) -> None:
        """Pull the USB cable: serial port and power vanish.

        Raises:
            DeviceError: The board is unplugged already.
        """
        self._ask(messages.Unplug(), messages.Reply)

    def plug(self) -> None:
        """Plug the USB cable in; the next request is answered once the board has booted."""
        self._ask(messages.Plug(), messages.Reply)

    def quit(self) -> None:
        """End the board's program."""
        self._ask(messages.Quit(), messages.Reply)

    def wait_edge(
        self, pin: int | None = None, level: bool | None = None, *, timeout_sec: float = 1.0
    ) -> Edge | None:
        """Return the next edge that matches, and drop those before it.

        Args:
            pin: Pin to wait for; None accepts any.
            level: Level after the edge; None accepts both.
            timeout_sec: How long to wait; 0 looks only at what has arrived.

        Returns:
            The edge, or None when none came in time.

        Raises:
            BenchError: An argument is of a wrong type, or the time is below 0 or not finite.
            DeviceError: The board's program is gone.
        """
        checked(_Wanted(pin, level, timeout_sec), "wait_edge")
        if timeout_sec < 0:
            raise BenchError(
                f"wait_edge(timeout_sec={timeout_sec!r}): a time of 0 s or longer is needed",
                remedy="0 looks only at what has arrived.",
            )
        deadline = time.monotonic() + timeout_sec
        while True:
            while self._edges:
                edge = self._edges.popleft()
                if (pin is None or edge.pin == pin) and (level is None or edge.level == level):
                    return edge
            line = self._line(deadline)
            if line is None:
                return None
            self._take(line)

    def edges(self, *, timeout_sec: float = 0.0) -> Iterator[Edge]:
        """Yield edges of watched pins in the order of time.

        Args:
            timeout_sec: End when none has come for this long; 0 yields those that have arrived.
        """
        while (edge := self.wait_edge(timeout_sec=timeout_sec)) is not None:
            yield edge

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _ask(self, request: messages.Request, kind: type[ReplyT]) -> ReplyT:
        """Send a request and return its reply; edges that come before it are buffered."""
        self._send(request)
        deadline = time.monotonic() + REPLY_TIMEOUT_SEC
        while (line := self._line(deadline)) is not None:
            if self._take(line):
                continue
            return self._decode(line, kind)
        raise DeviceError(
            f"the simulated board at {self._path} did not answer within {REPLY_TIMEOUT_SEC:g} s",
            remedy="Check whether the machine is overloaded, or the board's program is stopped.",
        )

    def _take(self, line: bytes) -> bool:
        """Buffer a line that is an edge; return whether it was one."""
        if not line.startswith(b'{"event":'):
            return False
        self._edges.append(msgspec.json.decode(line, type=Edge))
        return True

    def _line(self, deadline: float) -> bytes | None:
        """Return the next line, or None at the deadline (s of time.monotonic)."""
        while True:
            end = self._received.find(b"\n")
            if end >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 1]
                return line
            wait = max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], wait)[0]:
                return None
            try:
                data = self._socket.recv(65_536)
            except OSError as error:
                raise self._lost(error) from error
            if not data:
                raise self._lost(None)
            self._received += data
