"""Our firmware on `virtual:uno` to clients that do not know it, and ours on others."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pyfirmata2
import pytest

from mlink_drivers.firmata.chip.messages import Feature
from mlink_drivers.firmata.chip.session import ChipSession
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire.protocol import Message
from mlink_hil.control.board import VirtualBoard
from mlink_hil.devices import VirtualDevices

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim
LOG = logging.getLogger("mlink.test.firmware")


@pytest.fixture
def uno(tmp_path: Path) -> Iterator[tuple[str, VirtualBoard]]:
    devices = VirtualDevices()
    spec = "virtual:uno"
    with (
        devices.open(name="uno", spec=spec, work_dir=tmp_path, log=LOG) as endpoint,
        VirtualBoard.connect(endpoint.control) as board,
    ):
        yield endpoint.address, board


class Listener:
    """Hands messages to the extension."""

    def __init__(self) -> None:
        self.chip: ChipSession | None = None

    def on_message(self, message: Message, arrival_ns: int) -> None:
        if self.chip is not None:
            self.chip.take(message, arrival_ns)

    def on_loss(self, error: Exception) -> None:
        LOG.info("lost: %s", error)

    def on_fault(self, error: Exception) -> None:
        raise error


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
        assert board.wait_edge(13, True, timeout_sec=30)
        board.drive(7, True)
        deadline = time.monotonic() + 60
        while not (True in heard and voltages and abs(voltages[-1] - 0.5) < 0.01):
            assert time.monotonic() < deadline, (heard, voltages[-3:])
            time.sleep(0.01)
        arduino.digital[9].mode = pyfirmata2.PWM
        arduino.digital[9].write(0.5)
        board.watch([9])
        assert board.wait_edge(9, timeout_sec=30)
        arduino.digital[10].mode = pyfirmata2.SERVO
        arduino.digital[10].write(90)
        board.watch([10])
        assert board.wait_edge(10, timeout_sec=30)
    finally:
        arduino.exit()


def test_standard_firmata_is_found_to_lack_the_extension(tmp_path: Path) -> None:
    from mlink_hil.sim.fetch_firmware import is_cached

    if not is_cached():
        pytest.skip("StandardFirmata is not in the cache")
    with VirtualDevices().open(
        name="uno", spec="virtual:uno?firmware=standard", work_dir=tmp_path, log=LOG
    ) as endpoint:
        listener = Listener()
        with Session(open_transport(endpoint.address), listener) as session:
            chip = listener.chip = ChipSession(session.send, session.waiting, 57_600, on_edge=print)
            begin = time.monotonic()
            assert chip.probe() is None
            assert time.monotonic() - begin < 20
            assert not chip.has(Feature.EDGES)
            assert not chip.stamps(7)
