"""Transfers on the I2C bus: each answer belongs to its order, when many wait or one is lost."""

from __future__ import annotations

import pytest

from mlink_drivers.firmata.chip.i2c import NO_ANSWER, ChipI2C, I2CAnswer
from mlink_drivers.firmata.chip.messages import I2CResult, I2CStatus
from mlink_drivers.firmata.chip.session import ChipSession
from mlink_drivers.firmata.extra import I2CTransfer
from mlink_drivers.firmata.wire.protocol import I2CMode
from tests.support.manual_waiting import ManualWaiting


class Bus:
    """Orders to a chip whose answers a test makes."""

    def __init__(self) -> None:
        self.answers: list[I2CAnswer] = []
        session = ChipSession(lambda _: None, ManualWaiting(), 57_600, on_edge=lambda *_: None)
        self.i2c = ChipI2C(
            session, lambda _: None, on_answer=self.answers.append, on_scan=lambda *_: None
        )

    def read(self, register: int, mode: I2CMode = I2CMode.READ_ONCE) -> int:
        """Order a read; return its tag."""
        return self.i2c.transfer(I2CTransfer(mode, 0x48, count=1, register=register))[3]

    def answer(self, tag: int, data: int) -> None:
        self.i2c.take(I2CResult(tag, I2CStatus.DONE, 0, bytes((data,))))

    @property
    def found(self) -> list[tuple[int, object]]:
        """Register, and its byte or the fault."""
        return [(a.register, a.fault or a.data[0]) for a in self.answers]


@pytest.fixture
def bus() -> Bus:
    return Bus()


def test_with_more_orders_than_tags_each_answer_has_the_register_of_its_order(bus: Bus) -> None:
    tags = [bus.read(register) for register in range(200)]
    for register, tag in enumerate(tags):
        bus.answer(tag, register)
    assert bus.found == [(register, register) for register in range(200)]


def test_an_order_without_an_answer_has_failed_when_a_later_one_is_answered(bus: Bus) -> None:
    tags = [bus.read(register) for register in range(4)]
    bus.answer(tags[0], 10)
    bus.answer(tags[3], 13)
    assert bus.found == [(0, 10), (1, NO_ANSWER), (2, NO_ANSWER), (3, 13)]


def test_a_repeated_read_keeps_its_tag_and_ends_no_wait(bus: Bus) -> None:
    repeated = bus.read(5, I2CMode.READ_CONTINUOUSLY)
    tags = [bus.read(register) for register in range(130)]
    assert repeated not in tags
    bus.answer(repeated, 55)
    bus.answer(tags[0], 10)
    bus.answer(repeated, 56)
    assert bus.found == [(5, 55), (0, 10), (5, 56)]


def test_what_a_restarted_board_has_not_answered_has_failed(bus: Bus) -> None:
    bus.read(5, I2CMode.READ_CONTINUOUSLY)
    bus.read(1)
    assert bus.i2c.replay()
    assert bus.found == [(1, NO_ANSWER)]
