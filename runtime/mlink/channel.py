"""The channel between engine and worker: a Unix SEQPACKET socket pair, one message per packet.

The engine never waits for a worker that reads nothing, such as one that is stopped: what does not
fit into the socket waits in the channel.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Generic, TypeVar

import msgspec

from mlink.control import (
    EngineMessage,
    EngineMessages,
    Log,
    Output,
    WorkerMessage,
    WorkerMessages,
)
from mlink.errors import ControlError

_PACKET_LIMIT = 1 << 20

Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end of a control channel; `send` may be called from any thread.

    Args:
        sock: A connected Unix SEQPACKET socket.
        receives: The union of message types that this end receives.
    """

    def __init__(self, sock: socket.socket, receives: object) -> None:
        self._sock = sock
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(receives)
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()
        self._in_a_fork = False

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._sock.fileno()

    def cut_off(self) -> None:
        """Send only what is printed and logged, and receive nothing: in a fork of the process."""
        self._lock = threading.Lock()  # another thread may have held it at the fork
        self._in_a_fork = True

    def send(self, message: EngineMessage | WorkerMessage) -> None:
        """Send one message.

        Raises:
            ControlError: The other end is closed, or this is a fork of the channel's process.
        """
        if self._in_a_fork and not isinstance(message, Log | Output):
            raise _forked()
        with self._lock:
            try:
                self._sock.send(self._encoder.encode(message))
            except OSError as error:
                raise ControlError(
                    f"cannot send {type(message).__name__} over the control channel: {error}"
                ) from error

    def receive(self) -> Received | None:
        """Return a waiting message; None when there is none.

        Raises:
            EOFError: The other end is closed and all messages were received.
            ControlError: The packet is no valid message, or this is a fork of the channel's
                process.
        """
        if self._in_a_fork:
            raise _forked()
        try:
            packet = self._receive_packet()
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError(str(error)) from error
        if not packet:
            raise EOFError("the other end has closed the control channel")
        try:
            return self._decoder.decode(packet)
        except msgspec.MsgspecError as error:
            raise ControlError(f"invalid control message: {error}") from error

    def _receive_packet(self) -> bytes:
        try:
            return self._sock.recv(_PACKET_LIMIT, socket.MSG_DONTWAIT)
        except ConnectionResetError:
            # the other end was closed with unread messages; its own last messages follow the error
            return self._sock.recv(_PACKET_LIMIT, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close this end."""
        self._sock.close()


class EngineChannel(Channel[WorkerMessages]):
    """The engine's end; `send` never waits."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, WorkerMessages)
        self._backlog: deque[bytes] = deque()

    @property
    def is_behind(self) -> bool:
        """Whether messages wait for room."""
        return bool(self._backlog)

    def send(self, message: EngineMessage | WorkerMessage) -> None:
        """Send one message; one that the worker has no room for goes out by `flush`.

        Raises:
            ControlError: The other end is closed.
        """
        self._backlog.append(self._encoder.encode(message))
        self.flush()

    def flush(self) -> None:
        """Send what had no room before, in its order.

        Raises:
            ControlError: The other end is closed.
        """
        while self._backlog:
            packet = self._backlog.popleft()
            try:
                self._sock.send(packet, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._backlog.appendleft(packet)
                return
            except OSError as error:
                raise ControlError(f"cannot send over the control channel: {error}") from error


def _forked() -> ControlError:
    return ControlError(
        "this process is a fork of the module's process, which alone takes part in the run",
        remedy="Let it end by os._exit(), or use multiprocessing or subprocess.",
    )


def worker_channel(sock: socket.socket) -> Channel[EngineMessages]:
    """Return the worker's end."""
    return Channel(sock, EngineMessages)
