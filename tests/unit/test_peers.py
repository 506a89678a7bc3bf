"""Connections of other users are refused; these tests need root, to be another user."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlink.errors import DeviceError
from mlink.peers import is_trusted, name_senders, receive_trusted
from mlink_drivers.firmata.link.local import LocalTransport
from mlink_hil.control.board import VirtualBoard
from mlink_hil.scene.faults import CameraFaults, CameraOrder, order_camera, orders_path
from mlink_hil.sim.server.control_server import ControlServer

_NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may enter."""
    folder = Path(tempfile.mkdtemp(prefix="mlink-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_user(user: int, action: Callable[[], object]) -> None:
    """Do something as another user, in a fork."""
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            action()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def connected_as(user: int, name: str) -> bytes:
    """Connect to an abstract socket as a user; return what the server sends until it closes."""
    read, write = os.pipe()

    def connect() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(name)
            os.write(write, sock.recv(10))

    as_user(user, connect)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        return file.read()


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


def test_who_has_sent_a_datagram_is_known() -> None:
    name = f"\0mlink-test-{os.getpid()}-datagrams"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(name)
        name_senders(receiver)
        as_user(_NOBODY, lambda: sender.sendto(b"theirs", name))
        sender.sendto(b"ours", name)
        with pytest.raises(PermissionError, match="user 65534"):
            receive_trusted(receiver, 10)
        assert receive_trusted(receiver, 10) == b"ours"


def test_a_camera_takes_no_orders_of_another_user(open_folder: Path) -> None:
    path = orders_path(open_folder, "eye")
    faults = CameraFaults(str(path))
    path.chmod(0o777)
    as_user(_NOBODY, lambda: order_camera(open_folder, "eye", CameraOrder(frozen=True)))
    faults.look(0)
    assert not faults.order.frozen
    order_camera(open_folder, "eye", CameraOrder(late_usec=7))
    faults.look(0)
    assert faults.order == CameraOrder(late_usec=7)
    faults.close()


def test_a_board_in_virtual_time_is_not_one_of_another_user(open_folder: Path) -> None:
    path = open_folder / "uno.tty"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        open_folder.chmod(0o777)

        def listen() -> None:
            listener.bind(str(path))
            listener.listen()

        as_user(_NOBODY, listen)
        transport = LocalTransport(f"unix://{path}")
        with pytest.raises(DeviceError, match=r"unix:uno.tty belongs to another user"):
            transport.open()
