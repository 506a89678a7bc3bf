"""What lies between board and host: FTDI's latency timer, and ports of other machines."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import SimpleNamespace

import pytest
import serial
from serial import rfc2217

from mlink.errors import DeviceError
from mlink_drivers.firmata.link import latency
from mlink_drivers.firmata.link.latency import lower_latency, read_latency
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.link.transport import DeviceLostError
from tests.support.boards.scripted_board import ScriptedBoard, open_descriptors

# pyserial's own, in its RFC 2217 client
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name).. is deprecated")

# -- latency -------------------------------------------------------------------------------------


@pytest.fixture
def ftdi(tmp_path):
    timer = tmp_path / "ttyUSB0" / "device" / "latency_timer"
    timer.parent.mkdir(parents=True)
    timer.write_text("16\n")
    return SimpleNamespace(sysfs=tmp_path, timer=timer)


def test_an_ftdi_timer_is_set_low_and_reported(ftdi):
    assert read_latency("/dev/ttyUSB0", ftdi.sysfs).usec == 16_000
    lowered = lower_latency("/dev/ttyUSB0", ftdi.sysfs)
    assert ftdi.timer.read_text() == "1"
    assert lowered.usec == 1000
    assert lowered.report == "latency timer of /dev/ttyUSB0: 1 ms, was 16 ms"


def test_a_timer_without_permission_is_reported_with_its_cost_and_the_udev_rule(ftdi, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(ftdi.timer), "write_text", refuse)
    kept = lower_latency("/dev/ttyUSB0", ftdi.sysfs)
    assert kept.usec == 16_000
    assert "up to 16 ms late" in kept.report
    assert "/etc/udev/rules.d/" in kept.report
    assert 'DRIVER=="ftdi_sio", ATTR{latency_timer}="1"' in kept.report


def test_other_adapters_have_a_usb_frame_and_what_is_no_adapter_has_nothing(ftdi):
    assert read_latency("/dev/ttyACM0", ftdi.sysfs).usec == latency.USB_FRAME_USEC
    assert "every USB frame" in lower_latency("/dev/ttyACM0", ftdi.sysfs).report
    with ScriptedBoard() as board:
        assert lower_latency(board.path, ftdi.sysfs).usec == 0
    assert read_latency("socket://host:1", ftdi.sysfs).usec == 0


# -- RFC 2217 --------------------------------------------------------------------------------------


class PtyPort(serial.Serial):
    """A pseudo-terminal, which has no modem lines to set."""

    cts = dsr = ri = cd = False

    def _update_dtr_state(self):
        pass

    def _update_rts_state(self):
        pass


class TelnetServer:
    """Serves one client with a serial port by RFC 2217; the port is a scripted board's pty."""

    def __init__(self, path):
        self._port = PtyPort(path, timeout=0.02)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self._client = None
        self._stopping = False
        self._threads = [threading.Thread(target=self._serve, name="telnet server")]
        self._threads[0].start()

    def write(self, data):
        self._client.sendall(data)

    def _serve(self):
        try:
            self._client, _ = self._listener.accept()
        except OSError:
            return
        manager = rfc2217.PortManager(self._port, self)
        self._threads.append(threading.Thread(target=self._to_client, args=(manager,)))
        self._threads[-1].start()
        try:
            while data := self._client.recv(1024):
                self._port.write(b"".join(manager.filter(data)))
        except OSError:
            pass

    def _to_client(self, manager):
        while not self._stopping:
            data = self._port.read(self._port.in_waiting or 1)
            try:
                self._client.sendall(b"".join(manager.escape(data)))
            except OSError:
                return

    def hang_up(self):
        if not self._stopping:
            self._stopping = True
            for end in (self._client, self._listener):
                if end is not None:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
                    end.close()
            for thread in self._threads:
                thread.join(60)
            self._port.close()


class Silence:
    """A listener that only waits for the loss."""

    def __init__(self):
        self.lost = threading.Event()
        self.messages = []

    def on_message(self, message, arrival_ns):
        self.messages.append(message)

    def on_loss(self, error):
        self.lost.set()

    def on_fault(self, error):
        raise error


@pytest.fixture
def far():
    with ScriptedBoard() as board:
        server = TelnetServer(board.path)
        yield SimpleNamespace(board=board, server=server)
        server.hang_up()


def test_a_board_on_another_machine_is_a_board(far):
    listener = Silence()
    with Session(open_transport(far.server.url), listener) as session:
        assert session.description.firmware_name == "StandardFirmata.ino"
        session.send(b"\xf5\x0d\x01")
        far.board.wait_for(b"\xf5\x0d\x01")
        far.board.send(b"\x90\x04\x00")
        deadline = time.monotonic() + 60
        while not listener.messages:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_a_far_machine_that_hangs_up_is_noticed(far):
    listener = Silence()
    session = Session(open_transport(far.server.url), listener)
    session.connect()
    far.server.hang_up()
    assert listener.lost.wait(60)
    with pytest.raises(DeviceLostError):
        session.send(b"\xf9")
    session.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("pump")]


def test_a_far_machine_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    before = open_descriptors()
    with pytest.raises(DeviceError, match=f"cannot open rfc2217://127.0.0.1:{port}") as caught:
        open_transport(f"rfc2217://127.0.0.1:{port}").open()
    assert "RFC 2217 server" in caught.value.remedy
    assert open_descriptors() == before


def test_closing_twice_is_allowed_and_gives_everything_back(far):
    before = len(os.listdir("/proc/self/fd"))
    transport = open_transport(far.server.url)
    transport.open()
    transport.close()
    transport.close()
    assert transport.fileno() == -1
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the server's own end
