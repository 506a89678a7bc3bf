"""A run's or a feed's end of the connection to the program: nothing in it waits."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

from mlink.errors import ControlError
from mlink.peers import is_trusted
from mlink.view.messages import FromRun, ToRun
from mlink.view.wire import ToRunBuffer, pack

_READ_BYTES = 65_536


class Line:
    """Sends messages as far as the program reads them; the rest waits, for the caller to bound.

    Without a connection, before it and after its loss, messages are dropped.

    Args:
        on_loss: Called once when the connection is lost, with the reason; "" where it has just
            ended.
    """

    def __init__(self, on_loss: Callable[[str], None]) -> None:
        self._on_loss = on_loss
        self._socket: socket.socket | None = None
        self._unsent = bytearray()
        self._received = ToRunBuffer()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the program has not read yet."""
        return len(self._unsent)

    def connect(self, path: Path | str) -> None:
        """Connect to the program.

        Raises:
            OSError: It is not there, or belongs to another user.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
            if not is_trusted(sock):
                raise PermissionError("it belongs to another user")
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        self._socket = sock

    def put(self, message: FromRun) -> None:
        """Let a message wait for the next `flush`."""
        if self._socket is not None:
            self._unsent += pack(message)

    def flush(self, limit_s: float = 0.0) -> None:
        """Send what waits, as far as the program reads it; wait for that at most `limit_s`."""
        deadline = time.monotonic() + limit_s
        while self._unsent and self._socket is not None:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return
                select.select([], [self._socket], [], left_s)
                continue
            except OSError:
                self._lose("")
                return
            del self._unsent[:sent]

    def receive(self, limit_s: float = 0.0) -> list[ToRun]:
        """Return the messages that have arrived; wait for one at most `limit_s`."""
        if self._socket is None:
            return []
        if limit_s > 0:
            select.select([self._socket], [], [], limit_s)
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        try:
            if data:
                return self._received.feed(data)
            self._lose("")
        except ControlError as error:
            self._lose(str(error))
        return []

    def close(self) -> None:
        """Close the connection; what waits is dropped."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._unsent.clear()

    def _lose(self, why: str) -> None:
        self.close()
        self._on_loss(why)
