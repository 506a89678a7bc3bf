"""Transports: bulk reads and writes, and every way a line ends."""

from __future__ import annotations

import os
import select
import socket
import tty

import pytest

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.transport import DeviceLostError


@pytest.fixture
def pty():
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def wait_readable(transport):
    assert select.select([transport.fileno()], [], [], 5)[0]


def test_all_that_is_there_is_read_at_once(pty):
    master, path = pty
    transport = open_transport(path)
    transport.open()
    os.write(master, b"x" * 1000)
    wait_readable(transport)
    assert transport.read() == b"x" * 1000
    assert transport.read() == b""
    transport.close()


def test_a_line_that_takes_nothing_is_an_error_and_not_a_wait_for_good(pty, monkeypatch):
    monkeypatch.setattr("mlink_drivers.firmata.link.transport._WRITE_TIMEOUT_MSEC", 50)
    _, path = pty
    transport = open_transport(path)
    transport.open()
    with pytest.raises(DeviceLostError, match="accepted no data"):
        transport.write(b"x" * 1_000_000)
    transport.close()


def test_a_line_with_room_again_is_written_to_though_nothing_reports_it(pty, monkeypatch):
    master, path = pty
    transport = open_transport(path)
    transport.open()
    sent, full = os.write, [4]

    def write(fd, data):
        if fd == transport.fileno() and full[0]:
            full[0] -= 1
            raise BlockingIOError
        return sent(fd, data)

    class Silent:
        def register(self, *_):
            pass

        def poll(self, timeout_msec):
            assert timeout_msec < 100
            return []

    monkeypatch.setattr("mlink_drivers.firmata.link.transport.os.write", write)
    monkeypatch.setattr("mlink_drivers.firmata.link.transport.select.poll", Silent)
    transport.write(b"abc")
    assert os.read(master, 10) == b"abc"
    transport.close()


def test_old_input_is_discarded(pty):
    master, path = pty
    transport = open_transport(path)
    transport.open()
    os.write(master, b"old")
    wait_readable(transport)
    transport.discard_input()
    assert transport.read() == b""
    transport.close()


def test_a_pty_adds_no_adapter_latency_and_a_usb_port_a_frame(pty):
    _, path = pty
    assert open_transport(path).adapter_latency_usec == 0
    assert open_transport("socket://localhost:1").adapter_latency_usec == 0
    assert open_transport("/dev/ttyNOPE0").adapter_latency_usec == 1000


def test_closing_twice_is_allowed(pty):
    transport = open_transport(pty[1])
    transport.open()
    transport.close()
    transport.close()
    assert transport.fileno() == -1


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("socket://127.0.0.1:1", "[Errno 111] Connection refused"),
        ("rfc2217://127.0.0.1:1", "[Errno 111] Connection refused"),
        ("socket://127.0.0.1", "write it as socket://host:port"),
        ("socket://:5000", "write it as socket://host:port"),
        ("socket://host:99999", "write it as socket://host:port"),
        ("rfc2217://host:x", "write it as rfc2217://host:port"),
    ],
)
def test_a_url_that_cannot_be_opened_says_why_and_names_no_port_of_this_machine(address, reason):
    with pytest.raises(DeviceError) as caught:
        open_transport(address).open()
    assert caught.value.message == f"cannot open {address}: {reason}"
    assert "host" in caught.value.remedy
    assert "present" not in caught.value.remedy


def test_a_socket_is_a_line_like_any_other():
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = open_transport(f"socket://127.0.0.1:{server.getsockname()[1]}")
        transport.open()
        peer, _ = server.accept()
        with peer:
            transport.write(b"to the board")
            assert peer.recv(100) == b"to the board"
            assert transport.read() == b""
            peer.sendall(b"from the board")
            wait_readable(transport)
            assert transport.read() == b"from the board"
        wait_readable(transport)
        with pytest.raises(DeviceLostError, match="went away"):
            transport.read()
        transport.close()
