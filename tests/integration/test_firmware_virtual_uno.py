"""Our firmware on `virtual:uno?firmware=mlink`: in real time, behind a serial port."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyfirmata2
import pytest

from mlink_drivers.firmata import encode
from mlink_drivers.firmata.arrival import ArrivalTimes
from mlink_drivers.firmata.chip_extension import ChipExtension
from mlink_drivers.firmata.extension_protocol import ChipEdge, EdgeKind, Feature
from mlink_drivers.firmata.protocol import Message
from mlink_drivers.firmata.session import Session
from mlink_drivers.firmata.transport import open_transport
from mlink_hil.devices import VirtualDevices
from mlink_hil.virtual_board import VirtualBoard

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim
LOG = logging.getLogger("mlink.test.firmware")


@pytest.fixture
def uno(tmp_path: Path) -> Iterator[tuple[str, VirtualBoard]]:
    devices = VirtualDevices()
    spec = "virtual:uno?firmware=mlink"
    with (
        devices.open(name="uno", spec=spec, work_dir=tmp_path, log=LOG) as endpoint,
        VirtualBoard.connect(endpoint.control) as board,
    ):
        yield endpoint.address, board


class Listener:
    """Hands messages to the extension, as the module will."""

    def __init__(self) -> None:
        self.chip: ChipExtension | None = None
        self.session: Session | None = None
        self.edges: list[tuple[ChipEdge, int]] = []
        self.came = threading.Event()

    def on_message(self, message: Message, arrival_ns: int) -> None:
        if self.chip is not None:
            self.chip.take(message, arrival_ns)

    def on_edge(self, edge: ChipEdge, monotonic_ns: int) -> None:
        self.edges.append((edge, monotonic_ns))

    def on_loss(self, error: Exception) -> None:
        LOG.info("lost: %s", error)

    def on_fault(self, error: Exception) -> None:
        raise error


@pytest.fixture
def chip(uno: tuple[str, VirtualBoard]) -> Iterator[tuple[ChipExtension, Listener, VirtualBoard]]:
    address, board = uno
    listener = Listener()
    with Session(open_transport(address), listener) as session:
        listener.session = session
        chip = listener.chip = ChipExtension(session.send, 57_600, on_edge=listener.on_edge)
        assert chip.probe() is not None
        try:
            yield chip, listener, board
        finally:
            chip.close()


def test_pyfirmata2_as_shipped_works_on_it(
    uno: tuple[str, VirtualBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, board = uno
    monkeypatch.setattr(pyfirmata2.pyfirmata2, "BOARD_SETUP_WAIT_TIME", 0.3)
    arduino = pyfirmata2.Arduino(address)
    try:
        heard: list[bool] = []
        voltages: list[float] = []
        button = arduino.get_pin("d:7:i")
        button.register_callback(heard.append)
        button.enable_reporting()
        probe = arduino.get_pin("a:0:i")
        probe.register_callback(voltages.append)
        probe.enable_reporting()
        led = arduino.get_pin("d:13:o")
        arduino.samplingOn(20)
        board.analog(0, 2.5)
        board.watch([13])
        led.write(1)
        assert board.wait_edge(13, True, timeout_sec=2.0)
        board.drive(7, True)
        deadline = time.monotonic() + 3
        while not (True in heard and voltages and abs(voltages[-1] - 0.5) < 0.01):
            assert time.monotonic() < deadline, (heard, voltages[-3:])
            time.sleep(0.01)
        arduino.digital[9].mode = pyfirmata2.PWM
        arduino.digital[9].write(0.5)
        board.watch([9])
        assert board.wait_edge(9, timeout_sec=1.0)
        arduino.digital[10].mode = pyfirmata2.SERVO
        arduino.digital[10].write(90)
        board.watch([10])
        assert board.wait_edge(10, timeout_sec=1.0)
    finally:
        arduino.exit()


def test_edges_get_the_chips_times_on_the_hosts_clock(
    chip: tuple[ChipExtension, Listener, VirtualBoard],
) -> None:
    extension, listener, board = chip
    extension.watch(7, EdgeKind.BOTH)
    time.sleep(0.1)
    listener.edges.clear()
    made = []
    for at in range(30):
        made.append(board.drive(7, at % 2 == 0))
        time.sleep(0.005)
    time.sleep(0.1)
    assert [edge.level for edge, _ in listener.edges] == [reply.level for reply in made]
    errors = [
        (told - reply.time_ns) / 1000 for (_, told), reply in zip(listener.edges, made, strict=True)
    ]
    assert extension.clock is not None
    assert 0 < extension.clock.uncertainty_usec < 5000
    errors.sort()
    # The simulator's own pace is host-timed; what is constant is the exchange's asymmetry.
    assert abs(errors[15]) < 3000
    assert extension.events_lost == extension.blocks_missing == 0


def test_a_pulse_is_made_by_the_chip(chip: tuple[ChipExtension, Listener, VirtualBoard]) -> None:
    extension, _, board = chip
    board.watch([8])
    assert extension.pulse(8, 5000)
    rise = board.wait_edge(8, True)
    fall = board.wait_edge(8, False)
    assert rise is not None
    assert fall is not None
    assert abs((fall.cycle - rise.cycle) / 16 - 5000) <= 8


def test_baud_is_raised_and_the_board_goes_on(
    chip: tuple[ChipExtension, Listener, VirtualBoard],
) -> None:
    extension, listener, board = chip
    rates: list[int] = []

    def set_baud_rate(baud_rate: int) -> None:
        rates.append(baud_rate)
        assert listener.session is not None
        listener.session._arrivals = ArrivalTimes(baud_rate)  # a pty has no rate to set

    assert extension.raise_baud(1_000_000, set_baud_rate)
    assert rates == [1_000_000]
    extension.watch(7, EdgeKind.RISING)
    time.sleep(0.05)
    listener.edges.clear()
    board.drive(7, True)
    deadline = time.monotonic() + 2
    while not listener.edges:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_standard_firmata_is_found_to_lack_the_extension(tmp_path: Path) -> None:
    from mlink_hil.sim.fetch_firmware import is_cached

    if not is_cached():
        pytest.skip("StandardFirmata is not in the cache")
    with VirtualDevices().open(
        name="uno", spec="virtual:uno?firmware=standard", work_dir=tmp_path, log=LOG
    ) as endpoint:
        listener = Listener()
        with Session(open_transport(endpoint.address), listener) as session:
            chip = listener.chip = ChipExtension(session.send, 57_600, on_edge=listener.on_edge)
            begin = time.monotonic()
            assert chip.probe() is None
            assert time.monotonic() - begin < 0.5
            assert not chip.has(Feature.EDGES)
            assert not chip.pulse(8, 1000)
            session.send(encode.protocol_version_query())
