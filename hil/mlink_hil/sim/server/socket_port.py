"""The serial port of a simulated board in virtual time: a Unix stream socket.

Unlike a pseudo-terminal, it has the bytes at its other end as soon as they were written.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from mlink.errors import DeviceError
from mlink.peers import is_trusted
from mlink_hil.control.lockstep import NOT_KNOWN, reader_of
from mlink_hil.control.socket_path import check_socket_path
from mlink_hil.sim.server.adapter import Adapter
from mlink_hil.sim.server.pty_port import Port


class SocketPort(Port):
    """Listens at `link` while it is plugged in; one client at a time. A context manager.

    Args:
        link: Path of the socket.
        adapter: What is between board and port, which appears and vanishes with it.

    Raises:
        DeviceError: On entry, when the socket cannot be created.
    """

    def __init__(self, link: Path, adapter: Adapter) -> None:
        self.link = link
        self._adapter = adapter
        self._listener: socket.socket | None = None
        self._client: socket.socket | None = None

    @property
    def fd(self) -> int:
        """Descriptor to poll: the client's, or the listener's without one; −1 while unplugged."""
        if self._client is not None:
            return self._client.fileno()
        return self._listener.fileno() if self._listener is not None else -1

    @property
    def powered(self) -> bool:
        """Whether the cable is plugged in."""
        return self._listener is not None

    def plug(self) -> None:
        """Begin to listen; does nothing while it is plugged in.

        Raises:
            DeviceError: The socket cannot be created.
        """
        if self._listener is not None:
            return
        check_socket_path(self.link)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.link.unlink(missing_ok=True)  # left behind by a program that was killed
            self._adapter.plug(self.link)
            listener.bind(os.fspath(self.link))
            listener.listen()
        except OSError as error:
            listener.close()
            raise DeviceError(
                f"cannot create the port {self.link}: {error.strerror}",
                remedy="Name a path in an existing folder that you may write to.",
            ) from error
        listener.setblocking(False)
        self._listener = listener

    def unplug(self) -> None:
        """Close the socket; a client sees a hang-up, as from a pulled cable."""
        if self._listener is None:
            return
        self.link.unlink(missing_ok=True)
        for each in (self._client, self._listener):
            if each is not None:
                each.close()
        self._client = self._listener = None
        self.lost += self._adapter.unplug()
        self.reader = NOT_KNOWN

    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes that the client sent; empty when there are none."""
        if self._client is None:
            self._accept()
        if self._client is None:
            return b""
        try:
            data = self._client.recv(limit)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:  # it has disconnected
            self._client.close()
            self._client, self.reader = None, NOT_KNOWN
        return data

    def write(self, data: bytes) -> None:
        """Send to the client; drop what it does not take, and count it."""
        if self._listener is None:
            return
        if self._client is None:
            self._accept()
        sent = 0
        if self._client is not None:
            try:
                sent = self._client.send(data)
            except OSError:
                sent = 0
        self.lost += len(data) - sent

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        if not is_trusted(client):
            client.close()
            return
        self._client = client
        self._client.setblocking(False)
        self.reader = reader_of(self._client)
