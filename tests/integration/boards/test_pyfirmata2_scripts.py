"""Scripts in the style of public pyFirmata2 ones print the same on the library and on our Board."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyfirmata2
import pytest
from pyfirmata2 import util

from mlink_drivers.firmata import Board
from mlink_hil.control.board import VirtualBoard
from mlink_hil.devices import VirtualDevices

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim
LOG = logging.getLogger("mlink.test.scripts")
LIMIT_S = 20.0

Script = Callable[[pyfirmata2.Board, VirtualBoard], list[object]]


@pytest.fixture(params=["library", "mlink"])
def board(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[pyfirmata2.Board, VirtualBoard]]:
    monkeypatch.setattr(pyfirmata2.pyfirmata2, "BOARD_SETUP_WAIT_TIME", 0.3)
    with (
        VirtualDevices().open(
            name="uno", spec="virtual:uno", work_dir=tmp_path, log=LOG
        ) as endpoint,
        VirtualBoard.connect(endpoint.control) as bench,
    ):
        make = pyfirmata2.Arduino if request.param == "library" else Board
        board = make(endpoint.address)
        try:
            yield board, bench
        finally:
            board.exit()


def reads(pin: pyfirmata2.Pin, wanted: Callable[[object], bool]) -> bool:
    """Poll a pin as scripts do, until it has the value."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if wanted(pin.value):  # read() of the library refuses before the first value; ours does not
            return True
        time.sleep(0.01)
    return False


def end(iterator: util.Iterator) -> None:
    """Stop it before exit(): it may fail in the library's, whose port is then no number."""
    iterator.stop()
    iterator.join(LIMIT_S)


def a_polled_button(board: pyfirmata2.Board, bench: VirtualBoard) -> list[object]:
    bench.drive(7, False)
    iterator = util.Iterator(board)
    iterator.start()
    button = board.get_pin("d:7:i")
    seen: list[object] = []
    for level in (False, True, False):
        bench.drive(7, level)
        seen.append((level, reads(button, lambda value, level=level: value is level)))
    end(iterator)
    return seen


def a_potentiometer(board: pyfirmata2.Board, bench: VirtualBoard) -> list[object]:
    knob = board.get_pin("a:0:i")
    seen: list[object] = [knob.value]  # before the thread that reads: no value can be there
    iterator = util.Iterator(board)
    iterator.start()
    for volts in (2.5, 5.0, 0.0):
        bench.analog(0, volts)
        seen.append(
            reads(
                knob,
                lambda value, volts=volts: value is not None and abs(value - volts / 5) < 0.01,
            )
        )
    end(iterator)
    return seen


def a_callback_with_sampling(board: pyfirmata2.Board, bench: VirtualBoard) -> list[object]:
    bench.analog(1, 5.0)
    values: list[float] = []
    board.analog[1].register_callback(values.append)
    board.samplingOn(20)
    board.analog[1].enable_reporting()
    deadline = time.monotonic() + LIMIT_S
    while values[-1:] != [1.0] and time.monotonic() < deadline:
        time.sleep(0.01)
    board.samplingOff()
    return values[-1:]


def outputs_read_back(board: pyfirmata2.Board, bench: VirtualBoard) -> list[object]:
    led, dimmer, motor = (board.get_pin(name) for name in ("d:13:o", "d:9:p", "d:10:s"))
    seen: list[object] = []
    for level in (1, 0, True):
        led.write(level)
        seen.append(led.read())
    dimmer.write(0.5)
    motor.write(90)
    return [*seen, dimmer.read(), motor.read(), led.mode, dimmer.mode, motor.mode]


def wrong_pins(board: pyfirmata2.Board, bench: VirtualBoard) -> list[object]:
    errors: list[object] = []
    for name in ("d:0:o", "d:99:o", "a:99:i"):
        with pytest.raises(pyfirmata2.InvalidPinDefError):
            board.get_pin(name)
    board.get_pin("d:8:o")
    with pytest.raises(pyfirmata2.PinAlreadyTakenError):
        board.get_pin("d:8:o")
    for pin, mode in ((8, pyfirmata2.PWM), (0, pyfirmata2.OUTPUT)):
        with pytest.raises(OSError) as caught:
            board.digital[pin].mode = mode
        errors.append(caught.type.__name__)
    with pytest.raises(OSError):
        board.get_pin("d:4:i").write(1)
    return errors


@pytest.mark.parametrize(
    ("script", "output"),
    [
        (a_polled_button, [(False, True), (True, True), (False, True)]),
        (a_potentiometer, [None, True, True, True]),
        (a_callback_with_sampling, [1.0]),
        (outputs_read_back, [1, 0, True, 0.5, 90, 1, 3, 4]),
        (wrong_pins, ["OSError", "OSError"]),
    ],
)
def test_a_script_has_the_same_output_on_both(
    board: tuple[pyfirmata2.Board, VirtualBoard], script: Script, output: list[object]
) -> None:
    assert script(*board) == output
