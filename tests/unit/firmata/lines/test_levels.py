"""Levels are queried while they may be wrong; a board that says nothing is silent, not noisy."""

from __future__ import annotations

from typing import Any

import pytest

from mlink.clock import MasterClock
from mlink_drivers.firmata.catalog import FirmataSettings, firmata_io
from mlink_drivers.firmata.lines.levels import LevelChecks
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.session import SessionStatistics
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.pin_layout import PinLayout
from mlink_drivers.firmata.wire.protocol import DigitalPort, ProtocolVersion
from tests.support.fake_context import FakeContext
from tests.support.manual_waiting import ManualWaiting


class Bench:
    """StandardFirmata with one input; it is its own session, and its looks are 0.5 s apart."""

    name = "uno"
    description = BoardDescription(
        "memory", (2, 5), "StandardFirmata", (2, 5), PinLayout(({0: 1},) * 8)
    )
    sent_ns = 0

    def __init__(self, tmp_path: Any) -> None:
        self.waiting = ManualWaiting()
        self.statistics = SessionStatistics(bytes_in=100)
        self.rows: list[str] = []
        context: Any = FakeContext(
            firmata_io,
            FirmataSettings(),
            tmp_path,
            name="board",
            clock=MasterClock(self.waiting.now_ns()),
        )
        self.readings = Readings(
            context.outputs["fmdata"],
            context.clock,
            fail=context.fail,
            on_lost=context.fail,
            on_restarted=lambda _ns: None,
            on_other=lambda _message, _ns: None,
        )
        session: Any = self
        commands: Any = self
        self.levels = LevelChecks(
            context,
            session,
            self.readings,
            commands,
            note=lambda event, _detail: self.rows.append(event),
            refuse=lambda _reason: None,
            lose=lambda _what, _count, _why: None,
        )
        self.readings.start()
        self.levels.start()
        self.readings.expect_digital(2)
        self.come(ProtocolVersion(2, 5))
        self.come(DigitalPort(0, 0))
        assert self.readings.sent == 1

    def checkable_lines(self, *, unasked: bool) -> list[int]:
        return []

    def send(self, data: bytes) -> None: ...

    def come(self, message: Any) -> None:
        self.statistics.bytes_in += 3
        self.readings.on_message(message, self.waiting.now_ns())

    def look(self, seconds: float, message: Any = None) -> None:
        for _ in range(round(seconds / 0.5)):
            self.waiting.advance(0.5)
            if message is not None:
                self.come(message)
            self.levels.look()


@pytest.fixture
def bench(tmp_path: Any) -> Bench:
    return Bench(tmp_path)


def test_an_answer_that_never_comes_while_others_come_is_noise(bench: Bench) -> None:
    bench.look(1)
    bench.readings.query_sign(repeat=False)  # its answer is lost on the line
    bench.look(4, DigitalPort(0, 0))
    assert "line-noisy" in bench.rows


def test_an_answer_that_never_comes_from_a_board_that_says_nothing_is_no_noise(
    bench: Bench,
) -> None:
    bench.look(1)
    bench.readings.query_sign(repeat=False)  # the board is dead
    bench.look(4)
    assert bench.rows == []
