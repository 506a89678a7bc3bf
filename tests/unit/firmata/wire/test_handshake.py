"""What boards answer at the start, as real and as absurd firmwares do it. No port, no time."""

from __future__ import annotations

import msgspec
import pytest

from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.handshake import BoardDescription, Handshake
from mlink_drivers.firmata.wire.protocol import PinMode
from tests.support.boards.scripted_board import sysex

DIGITAL = bytes((0, 1, 1, 1, 0x7F))
ANALOG = bytes((0, 1, 2, 10, 0x7F))


def seven_bits(text: str) -> bytes:
    return b"".join(bytes((byte & 0x7F, byte >> 7)) for byte in text.encode())


def answered(*answers: bytes) -> Handshake:
    handshake = Handshake("there")
    for answer in answers:
        handshake.keep(answer)
        for message in Decoder().feed(answer):
            handshake.take(message)
    return handshake


def described(
    name: str = "lab", pins: bytes = DIGITAL * 2 + ANALOG * 2, channels: bytes = b"\x7f\x7f\0\1"
) -> BoardDescription:
    handshake = answered(
        b"\xf9\2\5",
        sysex(0x79, b"\2\5" + seven_bits(name)),
        sysex(0x6C, pins),
        sysex(0x6A, channels),
    )
    assert handshake.complete
    return handshake.description()


def test_a_name_controls_no_terminal_and_fills_no_page() -> None:
    assert described("\x1b[31mred\n").firmware_name == r"\x1b[31mred\n"
    assert described("A" * 3000).firmware_name == "A" * 64


def test_pins_beyond_those_that_a_message_can_name_are_left_out() -> None:
    layout = described(pins=DIGITAL * 200, channels=b"\x7f" * 200).layout
    assert (layout.pin_count, len(layout.channels)) == (128, 128)


@pytest.mark.parametrize(
    ("channels", "left"),
    [
        (b"\x7f\x7f\0\1", {0: 2, 1: 3}),
        (b"\x7f\x7f\0\1\2\3", {0: 2, 1: 3}),  # of pins that do not exist
        (b"\x7f\x7f\0", {0: 2}),
        (b"", {}),
        (b"\x7f\x7f\0\0", {}),
        (b"\x7f\x7f\x7f\1", {1: 3}),
    ],
)
def test_a_pin_without_a_channel_of_its_own_is_no_analog_input(
    channels: bytes, left: dict[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    layout = described(channels=channels).layout
    assert layout.analog_pins() == left
    assert layout.pins_with(PinMode.ANALOG) == list(left.values())
    assert layout.supports(2, PinMode.INPUT)
    assert ("no analog channel of its own" in caplog.text) == (len(left) < 2)


def test_what_only_sends_back_is_named() -> None:
    handshake = Handshake("there")
    handshake.keep(handshake.request() * 3)
    failure = handshake.failure(8, 57_600)
    assert failure.message == "what is on there at 57600 baud sends back what is sent to it"
    assert "RX and TX" in failure.remedy


def test_a_firmware_without_a_protocol_version_is_named() -> None:
    handshake = answered(sysex(0x79, b"\2\5" + seven_bits("lab")))
    assert handshake.is_firmata
    assert not handshake.identified
    message = handshake.failure(8, 57_600).message
    assert "reports the firmware 'lab', but did not report its protocol version" in message


def test_a_board_is_another_one_by_its_name_its_pins_or_its_protocol() -> None:
    board = described()
    assert described().difference(board) == ""
    assert described(name="other").difference(board) == "it runs other, not lab"
    assert described(pins=DIGITAL * 3).difference(board) == "it has 3 pins, not 4"
    assert described(pins=DIGITAL * 4).difference(board) == "its pins have other modes"
    older = msgspec.structs.replace(board, protocol_version=(2, 3))
    assert older.difference(board) == "it speaks Firmata 2.3, not 2.5"  # it writes whole ports
    newer = msgspec.structs.replace(board, firmware_version=(3, 0), address="elsewhere")
    assert newer.difference(board) == ""
