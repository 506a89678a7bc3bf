"""Counters of our firmware on the simulated chip: encoders, edges, and times of an input."""

from collections.abc import Iterator

import pytest

from mlink.reflexes import Edges
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import ChipStatus, CounterReport, CounterState
from mlink_drivers.firmata.wire.protocol import StringData
from tests.support.boards.firmware_chip import TICKS_PER_USEC, Chip

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

STEPS = ((True, False), (True, True), (False, True), (False, False))


@pytest.fixture
def chip() -> Iterator[Chip]:
    chip = Chip()
    yield chip
    chip.board.close()


def reports(chip: Chip) -> list[CounterReport]:
    return [message for message in chip.messages if isinstance(message, CounterReport)]


class Encoder:
    """Drives two lines; A leads B forwards."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.at = 0

    def turn(self, steps: int, usec: float) -> None:
        before = STEPS[(self.at - 1) % 4]
        for _ in range(abs(steps)):
            self.at += 1 if steps > 0 else -1
            now = STEPS[(self.at - 1) % 4]
            for pin, was, level in zip((2, 3), before, now, strict=True):
                if was != level:
                    self.chip.board.drive(pin, level)
            before = now
            self.chip.run_usec(usec)


@pytest.mark.parametrize("baud_rate", [57_600, 1_000_000])
def test_an_encoder_of_20_000_edges_per_second_loses_none(chip: Chip, baud_rate: int) -> None:
    if baud_rate != 57_600:
        chip.ask(chip_encode.change_baud(baud_rate))
        chip.ask(chip_encode.confirm_baud())
    answer = chip.ask(chip_encode.set_counter(0, 2, Edges.BOTH, 10, second_pin=3))
    assert CounterState(0, True) in answer
    encoder = Encoder(chip)
    for _ in range(4):  # a busy line: the host queries the clock and its counts meanwhile
        chip.board.feed(chip_encode.clock_query(1) + chip_encode.status_query())
        encoder.turn(4000, 50)
    encoder.turn(-3000, 50)
    chip.run_usec(50_000)
    last = reports(chip)[-1]
    assert (last.position, last.count, last.errors) == (13_000, 19_000, 0)
    sequences = [report.sequence for report in reports(chip)]
    assert sequences == [(sequences[0] + at) % 128 for at in range(len(sequences))]
    assert 80 <= len(sequences) <= 110
    answer = chip.ask(chip_encode.status_query())
    (status,) = [message for message in answer if isinstance(message, ChipStatus)]
    assert status.events_lost == 0


def test_positions_are_of_their_time(chip: Chip) -> None:
    chip.calibrate()
    chip.ask(chip_encode.set_counter(1, 2, Edges.BOTH, 5, second_pin=3))
    encoder, began = Encoder(chip), chip.cycle
    encoder.turn(400, 250)
    for report in reports(chip):
        since_usec = (chip.cycle_of(report.ticks) - began) / 16
        if 0 < since_usec < 100_000:
            assert report.position == int(since_usec / 250) + 1 or since_usec % 250 < 30


def test_below_zero_and_a_missed_step(chip: Chip) -> None:
    chip.ask(chip_encode.set_counter(0, 2, Edges.BOTH, 5, second_pin=3))
    encoder = Encoder(chip)
    encoder.turn(-3, 500)
    chip.run_usec(20_000)
    assert reports(chip)[-1].position == 2**32 - 3
    # Two lines change within the time of an interrupt: which came first is not known.
    encoder.turn(-2, 1)
    chip.run_usec(40_000)
    last = reports(chip)[-1]
    assert last.errors == 1
    assert last.position == 2**32 - 3


@pytest.mark.parametrize(("kind", "count"), [(Edges.RISING, 50), (Edges.FALLING, 50), (3, 100)])
def test_edges_high_time_and_time_of_the_last(chip: Chip, kind: Edges, count: int) -> None:
    chip.calibrate()
    chip.ask(chip_encode.set_counter(0, 7, Edges(kind), 20))
    for _ in range(50):
        chip.board.drive(7, True)
        rose = chip.cycle
        chip.run_usec(300)
        chip.board.drive(7, False)
        fell = chip.cycle
        chip.run_usec(700)
    chip.run_usec(30_000)
    last = reports(chip)[-1]
    assert last.count == last.position == count
    edge = rose if kind is Edges.RISING else fell
    assert abs(chip.cycle_of(last.last_ticks) - edge) <= 16 * 4
    pulses = 49 if kind is Edges.RISING else 50
    assert abs(last.high_ticks - pulses * 300 * TICKS_PER_USEC) <= 2 * pulses


def test_removed_replaced_and_reset(chip: Chip) -> None:
    chip.ask(chip_encode.set_counter(0, 7, Edges.BOTH, 5))
    chip.board.drive(7, True)
    chip.run_usec(20_000)
    assert reports(chip)[-1].count == 1
    answer = chip.ask(chip_encode.set_counter(0, 8, Edges.BOTH, 5))
    assert CounterState(0, True) in answer
    chip.board.drive(7, False)
    chip.run_usec(20_000)
    assert reports(chip)[-1].count == 0  # counts anew, and another pin
    assert CounterState(0, False) in chip.ask(chip_encode.set_counter(0, 8, Edges.NONE, 0))
    chip.take()
    chip.run_usec(30_000)
    assert reports(chip) == []
    chip.ask(chip_encode.set_counter(0, 8, Edges.BOTH, 5))
    chip.send(b"\xff", run_usec=30_000)
    chip.take()
    chip.run_usec(30_000)
    assert reports(chip) == []


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (chip_encode.set_counter(2, 7, Edges.BOTH, 5), "no such counter"),
        (chip_encode.set_counter(0, 0, Edges.BOTH, 5), "pin or period"),
        (chip_encode.set_counter(0, 7, Edges.BOTH, 0), "pin or period"),
        (chip_encode.set_counter(0, 7, Edges.BOTH, 5, second_pin=7), "pin or period"),
        (chip_encode.set_counter(0, 7, Edges.BOTH, 5, second_pin=8), "pins not on one port"),
    ],
)
def test_what_is_wrong_is_refused(chip: Chip, order: bytes, reason: str) -> None:
    texts = [message.text for message in chip.ask(order) if isinstance(message, StringData)]
    assert any(reason in text for text in texts), texts
