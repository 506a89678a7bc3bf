"""The simulated USB of a Leonardo: enumeration, packets both ways, flow control, resets."""

from __future__ import annotations

import pytest

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import ChipStatus
from mlink_drivers.firmata.wire.protocol import Capabilities, ProtocolVersion
from mlink_drivers.firmware.images import firmware_path
from mlink_hil.board_kinds import LEONARDO
from tests.support.boards.firmware_chip import Chip

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim
_VERSION = b"\xf9"
_CAPABILITIES = b"\xf0\x6b\xf7"


@pytest.fixture
def chip() -> Chip:
    return Chip(firmware_path("leonardo"), LEONARDO)


def test_what_is_sent_before_the_port_is_open_is_lost_and_counted(chip: Chip) -> None:
    assert chip.messages == []
    (status,) = chip.ask(chip_encode.status_query())
    assert isinstance(status, ChipStatus)
    assert status.send_lost > 0
    assert status.malformed == 0


def test_an_answer_of_several_packets_is_whole(chip: Chip) -> None:
    (answer,) = chip.ask(_CAPABILITIES)
    assert isinstance(answer, Capabilities)
    assert len(answer.pins) == 30
    assert chip.board.bytes_out > 3 * 64


def test_a_flood_waits_until_the_firmware_has_room(chip: Chip) -> None:
    chip.board.feed(_VERSION * 3000)
    assert chip.board.backlog > 2500
    while chip.board.backlog:
        chip.run_usec(10_000)
    chip.run_usec(100_000)  # two banks of the controller and the firmware's answers to them
    assert sum(isinstance(each, ProtocolVersion) for each in chip.messages) == 3000
    assert len(chip.messages) == 3000


def test_a_reset_forgets_what_is_on_its_way_and_the_board_is_found_again(chip: Chip) -> None:
    chip.board.feed(_VERSION * 300)
    chip.run_usec(100)
    chip.board.reset()
    assert chip.board.backlog == 0
    chip.run_usec(1000)
    chip.take()
    chip.board.feed(_VERSION)
    chip.run_usec(100_000)
    assert chip.take() == []  # a computer waits 100 ms before it looks at a plug
    chip.run_usec(100_000)
    (answer,) = chip.take()
    assert isinstance(answer, ProtocolVersion)


def test_looking_at_its_registers_changes_nothing(chip: Chip) -> None:
    assert chip.board.probe is not None
    chip.board.feed(_CAPABILITIES)
    for _ in range(200):
        chip.run_usec(20)
        found = chip.board.probe.registers()
        chip.board.probe.memory(0x20, 0xE0, flash=False)
    assert found["UENUM"] in (0, 2, 3)
    assert "UDR0" not in found
    chip.run_usec(20_000)
    (answer,) = chip.take()
    assert isinstance(answer, Capabilities)
