"""The server side of a control socket: accepts clients, reads requests, buffers replies.

It has no thread and does not know what a request does; `requests.py` does.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Self

import msgspec

from mlink.errors import DeviceError
from mlink.peers import is_trusted
from mlink_hil.control import messages
from mlink_hil.control.lockstep import reader_of
from mlink_hil.control.socket_path import check_socket_path

_LONGEST_LINE = 65_536
_LARGEST_BACKLOG = 1 << 20
_REPLACED = "…"


class Client:
    """A connection: received bytes, unsent bytes, and the pins that it watches."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pid = reader_of(connection)
        self.received = bytearray()
        self.unsent = bytearray()
        self.watched: frozenset[int] = frozenset()
        self.halts: frozenset[int] = frozenset()
        """Pins at whose edges the simulation stands still."""
        self.wakes = False
        """Whether an edge gives the client's module a turn, in virtual time."""

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.connection.fileno()


class ControlServer:
    """Context manager of the control socket at `path`; never blocks.

    The program polls `readers` and `writers`, and calls `serve` when one is ready.

    Raises:
        DeviceError: On entry, when the socket cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clients: dict[int, Client] = {}
        self.watched: frozenset[int] = frozenset()
        """Pins that at least one client watches."""
        self.halts: frozenset[int] = frozenset()
        """Pins at whose edges the simulation stands still, for at least one client."""
        self.woken: set[int] = set()
        """Processes whose modules need a turn for what was sent; emptied by the program."""

    def __enter__(self) -> Self:
        check_socket_path(self._path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._path.is_socket():  # left behind by a program that was killed
                self._path.unlink()
            self._listener.bind(os.fspath(self._path))
            self._listener.listen()
        except OSError as error:
            self._listener.close()
            raise DeviceError(
                f"cannot create the control socket {self._path}: {error.strerror}",
                remedy="Name a path in an existing folder that you may write to.",
            ) from error
        self._listener.setblocking(False)
        self._update()
        return self

    def __exit__(self, *_: object) -> None:
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _update(self) -> None:
        """Update the descriptors to poll: once per change, not once per slice."""
        self.readers = [self._listener.fileno(), *self._clients]
        self.writers = [fd for fd, client in self._clients.items() if client.unsent]
        self.watched = frozenset[int]().union(*(c.watched for c in self._clients.values()))
        self.halts = frozenset[int]().union(*(c.halts for c in self._clients.values()))

    def serve(
        self,
        readable: Container[int],
        writable: Container[int],
        carry_out: Callable[[Client, messages.Request], messages.Reply],
    ) -> None:
        """Answer the requests that have arrived, and send what could not be sent before.

        Args:
            readable: Descriptors that are ready to read.
            writable: Descriptors that are ready to write.
            carry_out: Returns the reply to a client's request, or raises DeviceError.
        """
        for client in list(self._clients.values()):
            if client.fileno() in writable:
                self._send(client, b"")
            if client.fileno() in readable:
                self._receive(client, carry_out)
        if self._listener.fileno() in readable:
            self._accept()
        self._update()

    def publish(self, edge: messages.Edge) -> None:
        """Send an edge to the clients that watch its pin.

        What a client does not read yet is buffered, up to 1 MiB; then the client is disconnected.
        """
        line = messages.encode(edge)
        for client in list(self._clients.values()):
            if edge.pin in client.watched:
                self._send(client, line)
                if client.wakes:
                    self.woken.add(client.pid)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the client has gone again
        if not is_trusted(connection):
            connection.close()
            return
        connection.setblocking(False)
        self._clients[connection.fileno()] = Client(connection)

    def _receive(
        self, client: Client, carry_out: Callable[[Client, messages.Request], messages.Reply]
    ) -> None:
        try:
            data = client.connection.recv(_LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        client.received += data
        while (end := client.received.find(b"\n")) >= 0:
            line = bytes(client.received[:end])
            del client.received[: end + 1]
            if line.strip():
                self._send(client, messages.encode(_answer(client, line, carry_out)))
        if len(client.received) > _LONGEST_LINE:
            error = messages.ErrorReply(error=f"a request is longer than {_LONGEST_LINE} bytes")
            self._send(client, messages.encode(error))
            self._drop(client)

    def _send(self, client: Client, data: bytes) -> None:
        """Send what fits into the socket, buffer the rest; drop a client that never reads."""
        client.unsent += data
        try:
            sent = client.connection.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(client)
            return
        del client.unsent[:sent]
        if len(client.unsent) > _LARGEST_BACKLOG:
            self._drop(client)
        elif client.unsent:
            self._update()

    def _drop(self, client: Client) -> None:
        """Disconnect a client."""
        if self._clients.pop(client.fileno(), None) is not None:
            client.connection.close()
            self._update()


def _answer(
    client: Client,
    line: bytes,
    carry_out: Callable[[Client, messages.Request], messages.Reply],
) -> Any:
    """Return the reply to a line; an error reply when it cannot be decoded or carried out."""
    try:
        return carry_out(client, messages.decode_request(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = line[:80].decode("utf-8", "replace") + (_REPLACED if len(line) > 80 else "")
        return messages.ErrorReply(error=f"not a valid request: {shown!r}: {error}")
    except DeviceError as error:
        return messages.ErrorReply(error=str(error))
