"""Models on the I2C bus of a simulated board: by StandardFirmata's messages, by our firmware's."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlink.errors import DeviceError
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.protocol import I2CMode, I2CReply, PinMode, StringData
from mlink_hil.sim.boards.board import BoardCrashed
from mlink_hil.sim.circuit.build import Circuit
from mlink_hil.sim.plan import BoardPlan, CircuitPlan, ModelPlan
from mlink_hil.uno import CLOCK_HZ
from tests.support.boards.firmware_chip import HEX

CLOCK = """
from mlink_hil.dut import I2cDevice

class Clock(I2cDevice):
    address = 0x48
    pins = ("alert",)

    def __init__(self, slow=1):
        self.slow = slow

    def start(self):
        self.set("alert", False)

    def on_write(self, register, data, now_usec):
        super().on_write(register, data, now_usec)
        self.present = data != b"\\x01"
        self.set("alert", register == 0x55)

    def on_read(self, register, now_usec):
        if register < 0x80:
            return bytes(self.registers[register:])
        return int(now_usec / self.slow).to_bytes(4, "big")
"""


class Bench:
    """A board with one or two models, switched on; `ask` returns what the board has sent."""

    def __init__(self, folder: Path, simulator: str, text: str = CLOCK, **options: Any) -> None:
        if simulator == "yasimavr":
            pytest.importorskip("yasimavr")
        (folder / "clock.py").write_text(text)
        self.board = BoardPlan(name="uno", control="", simulator=simulator, firmware=str(HEX))
        options = {"name": "clock", "pins": ["alert"], "i2c": "uno"} | options
        self.models = [ModelPlan(file=str(folder / "clock.py"), class_name="Clock", **options)]
        self.nets = [[("clock", "alert"), ("uno", "7")]]

    def switch_on(self) -> Bench:
        self.circuit = Circuit(CircuitPlan(boards=[self.board], models=self.models, nets=self.nets))
        node = self.circuit.nodes["uno"]
        self.decoder, self.messages = Decoder(), []
        node.board.on_byte = lambda byte: self.messages.extend(self.decoder.feed(bytes((byte,))))
        node.board.boot()
        node.switch_on(0)
        self.circuit.start()
        self.ask(encode.i2c_config())
        return self

    def ask(self, data: bytes, msec: float = 40) -> list[Any]:
        self.messages.clear()
        if data:
            self.circuit.nodes["uno"].board.feed(data)
        clock = self.circuit.clock
        clock.run_until(clock.cycle + round(msec * CLOCK_HZ / 1000))
        return [m for m in self.messages if isinstance(m, I2CReply | StringData)]

    def read(self, register: int, count: int, address: int = 0x48) -> bytes | str:
        request = encode.i2c_request(address, I2CMode.READ_ONCE, bytes((register, count)))
        answers = self.ask(request)
        texts = [answer.text for answer in answers if isinstance(answer, StringData)]
        if texts:
            return texts[0]
        assert answers[0].register == register
        data: bytes = answers[0].data
        return data

    def write(self, data: bytes) -> None:
        self.ask(encode.i2c_request(0x48, I2CMode.WRITE, data))


@pytest.fixture(params=["protocol", "yasimavr"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return lambda *args, **options: Bench(tmp_path, request.param, *args, **options)


def test_a_script_writes_and_reads_registers(make: Any) -> None:
    bench = make().switch_on()
    bench.write(b"\x10\xaa\xbb")
    assert bench.read(0x10, 3) == b"\xaa\xbb\0"
    assert bench.read(0x10, 1, address=0x49) == "I2C: Too few bytes received"


def test_a_device_reads_simulated_time_and_drives_its_own_pin(make: Any) -> None:
    bench = make(settings={"slow": 1000}).switch_on()
    bench.ask(encode.pin_mode(7, PinMode.INPUT))
    first = int.from_bytes(bench.read(0x80, 4), "big")
    bench.ask(b"", 500)
    later = int.from_bytes(bench.read(0x80, 4), "big")
    assert later - first == pytest.approx(540, abs=2)  # ms
    assert not bench.circuit.nodes["uno"].board.read(7).level
    bench.write(b"\x55")
    assert bench.circuit.nodes["uno"].board.read(7).level


def test_a_device_that_goes_away_acknowledges_no_more(make: Any) -> None:
    bench = make().switch_on()
    bench.write(b"\x00\x01")
    assert bench.read(0, 1) == "I2C: Too few bytes received"


def test_repeated_reads_come_at_the_sampling_interval(make: Any) -> None:
    bench = make(address=0x30).switch_on()
    request = encode.i2c_request(0x30, I2CMode.READ_CONTINUOUSLY, bytes((0x80, 4)))
    answers = bench.ask(encode.sampling_interval(20) + request, 400)
    times = [int.from_bytes(answer.data, "big") for answer in answers]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) >= 15
    assert gaps[1:] == pytest.approx([20_000] * len(gaps[1:]), abs=1500)
    bench.ask(encode.i2c_request(0x30, I2CMode.STOP_READING))
    assert bench.ask(b"", 100) == []


def test_what_a_device_raises_ends_the_simulation_with_its_line(make: Any) -> None:
    bench = make(CLOCK.replace("(4, ", "(1, ")).switch_on()
    with pytest.raises(BoardCrashed, match=r"'clock' failed at .*clock.py:\d+: OverflowError"):
        bench.read(0x80, 4)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (CLOCK.replace("I2cDevice", "Dut"), {}, "Clock is no I2cDevice"),
        (CLOCK.replace("0x48", "0x78"), {}, "0x78 is not in 0x08 to 0x77"),
        (CLOCK.replace("0x48", "0"), {}, "0x00 is not in"),
    ],
)
def test_a_device_that_fits_on_no_bus_is_refused(
    make: Any, text: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        make(text, **options).switch_on()


def test_two_devices_of_one_address_are_refused(make: Any) -> None:
    bench = make()
    bench.models.append(msgspec.structs.replace(bench.models[0], name="other", pins=[]))
    with pytest.raises(DeviceError, match="'other' and 'clock' have the same I2C address 0x48"):
        bench.switch_on()
