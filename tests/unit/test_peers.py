"""Connections of other users are refused; these tests need root, to be another user."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mlink.errors import DeviceError
from mlink.peers import is_trusted
from mlink_hil.control.board import VirtualBoard
from mlink_hil.sim.server.control_server import ControlServer

_NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def connected_as(user: int, name: str) -> bytes:
    """Connect to an abstract socket as a user; return what the server sends until it closes."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.connect(name)
                os.write(write, sock.recv(10))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    return data


@pytest.mark.parametrize(("user", "trusted"), [(0, True), (_NOBODY, False)])
def test_who_connects_is_known(user: int, trusted: bool) -> None:
    name = f"\0mlink-test-{os.getpid()}-{user}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(name)
        listener.listen()
        if not os.fork():
            connection, _ = listener.accept()
            connection.send(b"in" if is_trusted(connection) else b"out")
            os._exit(0)
        assert connected_as(user, name) == (b"in" if trusted else b"out")
        os.wait()


def test_a_client_refuses_the_server_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ControlServer(tmp_path / "board.sock"):
        VirtualBoard(tmp_path / "board.sock").close()
        monkeypatch.setattr("mlink_hil.control.client.is_trusted", lambda _socket: False)
        with pytest.raises(DeviceError, match="belongs to another user") as refused:
            VirtualBoard(tmp_path / "board.sock")
    assert refused.value.remedy
