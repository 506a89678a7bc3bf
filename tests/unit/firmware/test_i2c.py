"""I2C of our firmware on the simulated chip, with devices on its bus."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import I2CResult, I2CSpeed, I2CStatus
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import I2CMode, I2CReply, StringData
from mlink_hil.dut import I2cDevice
from mlink_hil.sim.boards.i2c import I2cEnd
from tests.support.boards.firmware_chip import CYCLES_PER_USEC, Chip

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

ADDRESS = 0x48
SDA, SCL = 18, 19


class Memory(I2cDevice):
    """Writes down what happens on the bus."""

    def __init__(self, register_bytes: int = 1) -> None:
        self.register_bytes = register_bytes
        self.seen: list[tuple[object, ...]] = []
        self.registers[:] = bytes(at % 251 for at in range(len(self.registers)))

    def on_write(self, register: int, data: bytes, now_usec: float) -> None:
        self.seen.append(("write", register, data))
        super().on_write(register, data, now_usec)

    def on_read(self, register: int, now_usec: float) -> bytes:
        self.seen.append(("read", register))
        return super().on_read(register, now_usec)


def call(function: Callable[[], Any]) -> Any:
    return function()


def attach(chip: Chip, device: Memory, address: int = ADDRESS) -> I2cEnd:
    end = I2cEnd(device, address, call, lambda: chip.cycle / CYCLES_PER_USEC)
    chip.board.attach_i2c(end)
    return end


@pytest.fixture
def chip() -> Iterator[Chip]:
    chip = Chip()
    chip.use_check_values()
    chip.send(encode.i2c_config(), run_usec=5000)
    yield chip
    chip.board.close()


def transfer(chip: Chip, *args: Any, **options: Any) -> I2CResult:
    messages = chip.ask(chip_encode.i2c_transfer(5, *args, **options), run_usec=40_000)
    (result,) = [message for message in messages if isinstance(message, I2CResult)]
    assert result.tag == 5
    return result


def starts_and_stops(chip: Chip) -> list[str]:
    """Return the conditions on the bus: SDA changes while SCL is high."""
    scl, found = True, []
    for pin, level, _ in chip.edges:
        if pin == SCL:
            scl = level
        elif pin == SDA and scl:
            found.append("stop" if level else "start")
    chip.edges.clear()
    return found


def test_a_register_is_written_and_read(chip: Chip) -> None:
    device = Memory()
    attach(chip, device)
    assert transfer(chip, ADDRESS, b"\x10\xaa\xbb").status is I2CStatus.DONE
    assert device.registers[0x10:0x12] == b"\xaa\xbb"
    assert transfer(chip, ADDRESS, b"\x10", 3).data == b"\xaa\xbb\x12"
    assert transfer(chip, ADDRESS, b"", 2).data == b"\xaa\xbb"  # the register of before
    assert transfer(chip, ADDRESS, b"\xff", 2).data == bytes((255 % 251, 256 % 251))


def test_a_register_of_16_bits_with_a_repeated_start_or_a_stop(chip: Chip) -> None:
    device = Memory(2)
    attach(chip, device)
    chip.edges.clear()
    assert transfer(chip, ADDRESS, b"\x12\x34", 4).data == bytes(
        at % 251 for at in range(0x1234, 0x1238)
    )
    assert starts_and_stops(chip) == ["start", "start", "stop"]
    transfer(chip, ADDRESS, b"\x12\x34", 4, stop_between=True)
    assert starts_and_stops(chip) == ["start", "stop", "start", "stop"]
    assert device.seen == [("write", 0x1234, b""), ("read", 0x1234)] * 2


@pytest.mark.parametrize(("wanted", "khz"), [(400, 400), (100, 100), (250, 250), (31, 31)])
def test_the_speed_of_the_bus(chip: Chip, wanted: int, khz: int) -> None:
    attach(chip, Memory())
    assert I2CSpeed(khz) in chip.ask(chip_encode.i2c_speed(wanted))
    chip.edges.clear()
    transfer(chip, ADDRESS, b"\0", 16)
    rises = [cycle for pin, level, cycle in chip.edges if pin == SCL and level]
    shortest = min(later - earlier for earlier, later in itertools.pairwise(rises))
    assert shortest == pytest.approx(16_000 / khz, rel=0.15)


@pytest.mark.parametrize("khz", [30, 401, 0, 16_383])
def test_a_speed_that_the_chip_has_not_is_refused_in_words(chip: Chip, khz: int) -> None:
    messages = chip.ask(chip_encode.i2c_speed(khz))
    assert [m.text for m in messages if isinstance(m, StringData)] == ["mlink: I2C: no such speed"]


def test_an_absent_device_is_reported_and_the_next_transfer_works(chip: Chip) -> None:
    attach(chip, Memory())
    assert transfer(chip, 0x50, b"\0", 2).status is I2CStatus.NO_DEVICE
    assert transfer(chip, 0x50, b"", 2).status is I2CStatus.NO_DEVICE
    assert transfer(chip, 0x50).status is I2CStatus.NO_DEVICE
    assert transfer(chip, ADDRESS).status is I2CStatus.DONE  # a query of a scan
    assert transfer(chip, ADDRESS, b"\1", 1).data == b"\1"


def test_a_device_that_refuses_a_byte(chip: Chip) -> None:
    end = attach(chip, Memory())
    end.write = lambda byte: byte != 3  # type: ignore[method-assign]
    assert transfer(chip, ADDRESS, b"\1\2\3\4").status is I2CStatus.REFUSED
    assert transfer(chip, ADDRESS, b"\1\2").status is I2CStatus.DONE


def test_a_bus_that_is_held_is_reported_and_works_again(chip: Chip) -> None:
    device = Memory()
    end = attach(chip, device)
    end.hold(True)
    assert transfer(chip, ADDRESS, b"\0", 1).status is I2CStatus.SDA_LOW
    end.hold(False)
    assert transfer(chip, ADDRESS, b"\1", 1).data == b"\1"
    chip.board.drive(SCL, False)
    assert transfer(chip, ADDRESS, b"\1", 1).status is I2CStatus.SCL_LOW
    chip.board.drive(SCL, None)
    assert transfer(chip, ADDRESS, b"\2", 1).data == b"\2"


def test_a_device_that_was_cut_off_in_a_byte_is_clocked_free(chip: Chip) -> None:
    end = attach(chip, Memory())
    end.hold(True)
    clocks = []

    def on_edge(pin: int, level: bool, _cycle: int) -> None:
        if pin == SCL and level and end.holds_sda:
            clocks.append(pin)
            if len(clocks) == 4:
                end.hold(False)

    chip.board.on_edge = on_edge
    assert transfer(chip, ADDRESS, b"\3", 1).data == b"\3"
    assert len(clocks) == 4


def test_transfers_repeat_at_the_sampling_interval_until_they_are_ended(chip: Chip) -> None:
    attach(chip, Memory(2))
    chip.send(encode.sampling_interval(20))
    order = chip_encode.i2c_transfer(9, ADDRESS, b"\0\x07", 2, repeat=True)
    results = [m for m in chip.ask(order, run_usec=201_000) if isinstance(m, I2CResult)]
    assert 9 <= len(results) <= 11
    assert {(r.tag, r.status, r.data) for r in results} == {(9, I2CStatus.DONE, b"\7\x08")}
    gaps = [(b.ticks - a.ticks) / 2000 for a, b in itertools.pairwise(results)]
    assert gaps == pytest.approx([20.0] * len(gaps), abs=1.5)
    assert not [
        m
        for m in chip.ask(chip_encode.i2c_end(9), run_usec=100_000)[1:]
        if isinstance(m, I2CResult)
    ]


def test_more_repeated_transfers_than_the_chip_has_are_refused_in_words(chip: Chip) -> None:
    chip.send(encode.sampling_interval(1000))  # a text does not wait for a busy line
    orders = [chip_encode.i2c_transfer(tag, ADDRESS, b"", 1, repeat=True) for tag in range(9)]
    messages = chip.ask(b"".join(orders))
    assert [m.text for m in messages if isinstance(m, StringData)] == [
        "mlink: I2C: too many queries"
    ]
    messages = chip.ask(chip_encode.i2c_end(), run_usec=60_000)
    assert not [m for m in chip.ask(b"", run_usec=60_000) if isinstance(m, I2CResult)]


@pytest.mark.parametrize(
    "body",
    ["01", "01 05", "01 05 48 00", "01 05 48 00 21", "01 05 48 02 01 00 00 01 00 02 00", "03 05"],
)
def test_malformed_orders_are_refused_in_words(chip: Chip, body: str) -> None:
    messages = chip.ask(encode.sysex(0x0C, bytes.fromhex(body)))
    assert [m.text for m in messages if isinstance(m, StringData)] == ["mlink: I2C: wrong length"]


def test_firmatas_own_messages_reach_the_same_devices(chip: Chip) -> None:
    device = Memory()
    attach(chip, device)
    chip.send(encode.i2c_request(ADDRESS, I2CMode.WRITE, b"\x20\x55"))
    replies = chip.ask(encode.i2c_request(ADDRESS, I2CMode.READ_ONCE, bytes((0x20, 2))))
    (reply,) = [message for message in replies if isinstance(message, I2CReply)]
    assert (reply.address, reply.register, reply.data) == (ADDRESS, 0x20, b"\x55\x21")


def test_a_reset_ends_repeated_transfers_and_the_speed(chip: Chip) -> None:
    attach(chip, Memory())
    chip.send(chip_encode.i2c_speed(400))
    chip.send(chip_encode.i2c_transfer(1, ADDRESS, b"\0", 1, repeat=True), run_usec=50_000)
    chip.send(encode.system_reset(), run_usec=20_000)
    assert not [m for m in chip.ask(b"", run_usec=60_000) if isinstance(m, I2CResult)]
    texts = [
        m.text for m in chip.ask(chip_encode.i2c_transfer(1, ADDRESS)) if isinstance(m, StringData)
    ]
    assert texts == ["mlink: I2C: not configured"]


@pytest.mark.parametrize("usec", range(400, 1000, 75))
def test_a_chip_that_is_reset_in_a_transfer_uses_its_bus_again(chip: Chip, usec: int) -> None:
    attach(chip, Memory())
    chip.send(chip_encode.i2c_transfer(5, ADDRESS, b"\0", 8), run_usec=usec)
    chip.board.reset()
    chip.board.boot()
    chip.checked = False
    chip.send(encode.i2c_config(), run_usec=5000)
    assert transfer(chip, ADDRESS, b"\1", 1).data == b"\1"
