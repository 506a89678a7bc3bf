"""The virtual Uno, both kinds: what a client sees at its serial port and its control socket."""

import contextlib
import importlib.util
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlink_hil.control.process
from mlink.errors import DeviceError
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.process import UnoProcess
from mlink_hil.devices import VirtualDevices
from mlink_hil.sim import fetch_firmware
from tests.support.boards.virtual_uno import LOG, open_uno, spec_of

HAS_SIMULATOR = importlib.util.find_spec("yasimavr") is not None
needs_simulator = pytest.mark.skipif(not HAS_SIMULATOR, reason="needs the extra `sim`")
needs_standard = pytest.mark.skipif(
    not (HAS_SIMULATOR and fetch_firmware.is_cached()),
    reason="needs the extra `sim` and StandardFirmata (make setup)",
)
SIMULATORS = [
    pytest.param("protocol", id="protocol"),
    pytest.param("standard", id="standard", marks=[pytest.mark.sim, needs_standard]),
    pytest.param("mlink", id="mlink", marks=[pytest.mark.sim, needs_simulator]),
]


def name_of(simulator: str) -> bytes:
    name = b"mlink_firmata uno" if simulator == "mlink" else b"StandardFirmata"
    return b"".join(bytes([char, 0]) for char in name)


@pytest.fixture(params=SIMULATORS)
def simulator(request):
    return request.param


@pytest.fixture
def uno(simulator, tmp_path):
    with open_uno(tmp_path, simulator) as opened:
        yield opened


@pytest.fixture
def board(uno):
    return uno[1]


@pytest.fixture
def serial(uno):
    uno[2].skip()  # the boot report
    return uno[2]


def processes_of(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def test_the_board_reports_its_firmware_after_the_boot(uno, simulator):
    report = uno[2].read(46)
    assert report[:2] == b"\xf9\x02"
    assert name_of(simulator) in report


def test_a_version_query_is_answered(serial):
    serial.send(0xF9)
    assert re.fullmatch(rb"\xf9\x02[\x04\x05\x06]", serial.read(3))


def test_a_firmware_query_is_answered_with_the_firmwares_name(serial, simulator):
    serial.send(0xF0, 0x79, 0xF7)
    reply = serial.read(60, 0.5)
    assert reply[:2] == b"\xf0\x79"
    assert reply.endswith(b"\xf7")
    assert name_of(simulator) in reply


def test_capabilities_and_analog_mapping_are_those_of_an_uno(serial):
    serial.send(0xF0, 0x6B, 0xF7)
    reply = serial.read(400, 0.5)
    assert reply[:4] == b"\xf0\x6c\x7f\x7f"
    pins = reply[2:-1].split(b"\x7f")[:-1]
    assert len(pins) == 20
    assert b"\x02\x0a" in pins[14]
    serial.send(0xF0, 0x69, 0xF7)
    assert serial.read(23) == b"\xf0\x6a" + b"\x7f" * 14 + bytes(range(6)) + b"\xf7"


def test_a_digital_write_is_an_edge_on_the_control_socket(board, serial):
    board.watch([8])
    serial.send(0xF4, 8, 1, 0x91, 1, 0)
    edge = board.wait_edge(8, True, timeout_sec=30)
    assert edge is not None
    assert abs(time.monotonic_ns() - edge.time_ns) < 500_000_000
    state = board.read(8)
    assert (state.level, state.output, state.driven) == (True, True, False)
    serial.send(0x91, 0, 0)
    assert board.wait_edge(8, False, timeout_sec=30) is not None


def test_a_driven_pin_is_reported_when_reporting_is_on(board, serial):
    board.drive(7, False)
    serial.send(0xF4, 7, 0, 0xD0, 1)
    assert serial.read(3) == b"\x90\x00\x00"
    pressed = board.drive(7, True)
    assert pressed.changed
    assert serial.read(3) == b"\x90\x00\x01"
    board.drive(7, False)
    assert serial.read(3) == b"\x90\x00\x00"


def test_a_released_pin_with_pull_up_reads_high(board, serial):
    serial.send(0xF4, 7, 0, 0x90, 0, 1)
    serial.skip()
    assert board.read(7).level
    assert not board.drive(7, False).level
    assert board.drive(7, None).level


def test_a_voltage_is_measured(board, serial):
    board.analog(1, 2.5)
    serial.send(0xF4, 15, 2, 0xC1, 1)
    while (reply := serial.read(3)) and reply[0] != 0xE1:
        pass
    assert abs((reply[1] | reply[2] << 7) - 512) < 3
    serial.send(0xC1, 0)


def test_a_pin_that_is_driven_and_an_output_does_not_stop_the_board(board, serial):
    for level in (True, False, None, True):
        board.drive(8, level)
        serial.send(0xF4, 8, 1, 0x91, 1, 0, 0xF4, 8, 0, 0xF4, 8, 1)
    serial.send(0xF9)
    assert serial.read(2) == b"\xf9\x02"
    assert board.read(8).level


def test_simulated_time_is_the_clock_but_for_what_the_simulation_reports_as_skipped(board):
    before = board.stats()
    time.sleep(2)
    after, now_ns = board.stats(), time.monotonic_ns()
    simulated_usec = (after.cycle - before.cycle) * 1e6 / after.frequency_hz
    skipped_usec = after.slip_usec - before.slip_usec  # above 0 where the computer is too slow
    assert simulated_usec > 0
    assert simulated_usec + skipped_usec == pytest.approx(
        (after.time_ns - before.time_ns) / 1000, abs=1
    )
    assert after.time_ns <= now_ns


def test_a_byte_takes_its_time_on_the_wire(board, serial):
    start = time.monotonic()  # before the first byte, also when this process has to wait
    serial.send(*[0xF9] * 40)
    assert len(serial.read(120)) == 120
    assert time.monotonic() - start > 120 * 160e-6
    assert board.stats().overruns == 0


def test_a_burst_larger_than_the_boards_buffers_is_not_lost(serial, board):
    serial.send(0xF4, 8, 1)
    board.watch([8])
    for turn in range(300):
        serial.send(0x91, turn & 1, 0)
    assert len(list(board.edges(timeout_sec=0.5))) == 299


def test_a_port_that_is_closed_and_opened_again_still_works(uno):
    endpoint, _, serial = uno
    serial.skip()
    again = os.open(endpoint.address, os.O_RDWR | os.O_NOCTTY)
    os.close(serial.fd)
    serial.fd = again
    serial.send(0xF9)
    assert serial.read(2) == b"\xf9\x02"


def test_a_reset_boots_the_firmware_anew(board, serial):
    board.reset()
    assert serial.read(2, 10) == b"\xf9\x02"


def test_an_unplugged_board_is_gone_and_a_plugged_one_boots(uno):
    endpoint, board, serial = uno
    serial.skip()
    board.unplug()
    assert not os.path.lexists(endpoint.address)
    with pytest.raises(OSError):
        os.write(serial.fd, b"\xf9")
    with pytest.raises(DeviceError, match="unplugged"):
        board.unplug()
    board.plug()
    board.stats()  # answered after the boot
    os.close(serial.fd)
    serial.fd = os.open(endpoint.address, os.O_RDWR | os.O_NOCTTY)
    assert serial.read(2) == b"\xf9\x02"


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"{}",
        b"[1]",
        b'{"cmd":"explode"}',
        b'{"cmd":"drive","pin":7}',
        b'{"cmd":"drive","pin":"7","level":true}',
        b'{"cmd":"drive","pin":7,"level":true,"x":1}',
        b'{"cmd":"drive","pin":99,"level":true}',
        b'{"cmd":"drive","pin":0,"level":true}',
        b'{"cmd":"drive","pin":-1,"level":true}',
        b'{"cmd":"analog","pin":0,"volts":12}',
        b'{"cmd":"analog","pin":6,"volts":1}',
        b'{"cmd":"watch","pins":[20]}',
        b'{"cmd":"plug","now":true}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_a_malformed_request_is_answered_and_survived(tmp_path_factory, line, shared_protocol_uno):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(shared_protocol_uno)
        client.sendall(line + b"\n")
        reply = json.loads(client.makefile("rb").readline())
        assert reply["ok"] is False
        assert reply["error"]
    with VirtualBoard.connect(shared_protocol_uno) as board:
        board.stats()


def test_an_endless_request_ends_the_client_and_not_the_board(shared_protocol_uno):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(shared_protocol_uno)
        with contextlib.suppress(OSError):  # the board may hang up before it has taken all
            client.sendall(b"x" * 70_000)
        assert json.loads(client.makefile("rb").readline())["ok"] is False
    with VirtualBoard.connect(shared_protocol_uno) as board:
        board.stats()


@pytest.fixture(scope="module")
def shared_protocol_uno(tmp_path_factory):
    spec = "virtual:uno?simulator=protocol"
    folder = tmp_path_factory.mktemp("uno")
    with VirtualDevices().open(name="uno", spec=spec, work_dir=folder, log=LOG) as endpoint:
        yield endpoint.control


def test_nothing_is_left_behind(simulator, tmp_path):
    with open_uno(tmp_path, simulator):
        assert len(processes_of(tmp_path)) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["uno.sock", "uno.tty"]
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_board_whose_program_was_killed_leaves_nothing_behind_either(tmp_path):
    with open_uno(tmp_path, "protocol"):
        os.kill(processes_of(tmp_path)[0], signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_parent_leaves_no_simulator(simulator, tmp_path):
    code = (
        "import sys, time, pathlib, logging\n"
        "from mlink_hil.devices import VirtualDevices\n"
        "with VirtualDevices().open(name='uno', spec=sys.argv[1], "
        "work_dir=pathlib.Path(sys.argv[2]), log=logging.getLogger()):\n"
        "    print('open', flush=True); time.sleep(60)\n"
    )
    spec = spec_of(simulator)
    parent = subprocess.Popen(
        [sys.executable, "-c", code, spec, str(tmp_path)], stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"open\n"
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_work_folder_too_long_for_a_socket_is_refused_with_a_remedy(tmp_path):
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    with pytest.raises(DeviceError, match="too long") as caught, open_uno(folder, "protocol"):
        pass
    assert "shorter" in caught.value.remedy
    assert list(folder.iterdir()) == []


def test_the_fallback_is_reported_in_one_line(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    devices = VirtualDevices()
    with devices.open(name="uno", spec="virtual:uno", work_dir=tmp_path, log=LOG) as endpoint:
        assert endpoint.properties["simulator"] == "protocol"
    assert "pip install 'mlink-hil[sim]'" in caplog.text
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("virtual:unno", "Did you mean 'virtual:uno'?"),
        ("virtual:esp32-s3-wroom", "virtual:nano, virtual:mega, virtual:leonardo, virtual:scene"),
        ("virtual:uno?simulater=protocol", "simulator=protocol"),
        ("virtual:uno?firmware=grbl", "there is no firmware 'grbl'"),
        ("virtual:uno?clock_ppm=fast", "clock_ppm=…"),
        ("virtual:uno?simulator=protocol&firmware=standard", "runs no firmware"),
        ("virtual:uno?simulator=qemu", "simulator=protocol"),
        ("virtual:mega?simulator=protocol", "for virtual:uno only, not for virtual:mega"),
        ("virtual:mega?firmware=standard", "for virtual:uno only, not for virtual:mega"),
        ("virtual:leonardo?firmware=standard", "for virtual:uno only, not for virtual:leonardo"),
        ("virtual:nano?firmware=no/such.hex", "there is no firmware 'no/such.hex'"),
    ],
)
def test_an_unknown_virtual_device_is_refused_with_the_known_ones(tmp_path, spec, message):
    with pytest.raises(DeviceError) as caught:  # noqa: SIM117
        with VirtualDevices().open(name="uno", spec=spec, work_dir=tmp_path, log=LOG):
            pass
    assert message in str(caught.value)


def test_a_scene_keeps_its_options_in_its_address(tmp_path):
    spec = "virtual:scene?seed=3"
    with VirtualDevices().open(name="eye", spec=spec, work_dir=tmp_path, log=LOG) as endpoint:
        assert endpoint.address.startswith(spec + "&orders=")


@needs_simulator
@pytest.mark.sim
def test_a_program_that_does_not_start_reports_why(tmp_path):
    process = UnoProcess(
        "mlink_hil.sim.avr_uno",
        ["--hex", str(tmp_path / "missing.hex")],
        tty=tmp_path / "tty",
        control=tmp_path / "sock",
        log=LOG,
    )
    with pytest.raises(DeviceError, match=r"missing\.hex"), process:
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("starved_sec", [0.0, 100.0])
def test_the_limit_of_a_start_does_not_count_the_time_without_a_processor(
    tmp_path, monkeypatch, starved_sec
):
    monkeypatch.setattr(mlink_hil.control.process, "processor_wait_s", lambda _pid: starved_sec)
    tty, control = tmp_path / "tty", tmp_path / "sock"
    process = UnoProcess(
        "mlink_hil.sim.protocol_uno", [], tty=tty, control=control, log=LOG, ready_sec=0.0
    )
    late = pytest.raises(DeviceError, match="was not ready within 0 s")
    with contextlib.nullcontext() if starved_sec else late, process:
        assert process.ready.tty == str(tty)


def test_an_idle_client_gets_only_what_it_watches(board):
    board.watch([])
    board.drive(7, True)
    board.drive(7, False)
    assert board.wait_edge(timeout_sec=0.05) is None
    assert not select.select([board._socket], [], [], 0)[0]
