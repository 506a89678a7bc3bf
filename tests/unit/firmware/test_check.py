"""Check values of messages: the codec, our firmware on the chip, and what both refuse."""

import itertools

import pytest

from mlink.reflexes import Edges
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.check import check_value, opened, seal
from mlink_drivers.firmata.chip.messages import ChipStatus, EdgeBlock, Features
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import PinState, StringData

BODY = b"\x02\x02\x05\x00\x10\x20\x30\x40\x01\x07\x00\x40"


def test_the_check_values_are_those_of_the_protocol() -> None:
    assert chip_encode.feature_query(checked=True).hex(" ") == "f0 01 6d 6c 6e 6b 02 1f 1e f7"
    assert seal(chip_encode.clock_query(5)).hex(" ") == "f0 03 05 70 5d f7"


def test_up_to_three_flipped_bits_are_found() -> None:
    message = BODY[1:] + check_value(BODY)
    assert opened(2, message) == BODY[1:]
    bits = [(at, bit) for at in range(len(message)) for bit in range(7)]
    for flips in itertools.chain(
        itertools.combinations(bits, 1),
        itertools.combinations(bits, 2),
        itertools.islice(itertools.combinations(bits, 3), 0, None, 7),
    ):
        broken = bytearray(message)
        for at, bit in flips:
            broken[at] ^= 1 << bit
        assert opened(2, bytes(broken)) is None


def test_only_messages_of_the_extension_are_sealed() -> None:
    standard = encode.pin_mode(8, 1) + encode.firmware_query()
    clock = chip_encode.clock_query(5)
    assert seal(standard + clock + standard) == standard + seal(clock) + standard
    assert seal(encode.system_reset()) == b"\xff\xff"


@pytest.fixture
def chip():
    """Our firmware in version 2."""
    pytest.importorskip("yasimavr")
    from tests.support.boards.firmware_chip import Chip

    chip = Chip()
    chip.use_check_values()
    return chip


def test_the_board_refuses_a_wrong_check_value_and_counts_it(chip) -> None:
    query = bytearray(seal(chip_encode.watch_edges({7: Edges.BOTH})))
    query[3] ^= 1
    chip.board.feed(bytes(query))
    chip.run_usec(60_000)
    (text,) = chip.take()
    assert isinstance(text, StringData)
    assert text.text == "mlink: wrong check value"
    (status,) = chip.ask(chip_encode.status_query(), run_usec=60_000)
    assert isinstance(status, ChipStatus)
    assert status.malformed == 1


def test_blocks_have_long_numbers_and_the_status_has_the_next_one(chip) -> None:
    chip.ask(chip_encode.watch_edges({7: Edges.BOTH}))
    for at in range(130):
        chip.board.drive(7, at % 2 == 1)
        chip.run_usec(4500)
    blocks = chip.take()
    assert all(isinstance(block, EdgeBlock) for block in blocks)
    assert [block.sequence for block in blocks] == list(range(len(blocks)))
    assert len(blocks) > 128
    (status,) = chip.ask(chip_encode.status_query(), run_usec=60_000)
    assert status.next_block == len(blocks)


def test_a_reset_within_a_message_only_ends_it(chip) -> None:
    def level() -> int:
        (state,) = [m for m in chip.ask(encode.pin_state_query(8)) if isinstance(m, PinState)]
        return state.value

    chip.send(encode.pin_mode(8, 1) + encode.digital_pin(8, True), run_usec=5000)
    chip.board.feed(b"\xf0\x03\x05\xff")  # F7 with one flipped bit
    assert level() == 1
    chip.board.feed(b"\xf0\x03" + seal(encode.system_reset()))
    assert level() == 0


def test_a_query_of_version_1_ends_version_2(chip) -> None:
    chip.checked = False
    (features,) = chip.ask(chip_encode.feature_query(), run_usec=60_000)
    assert isinstance(features, Features)
    assert features.version == 2
    (status,) = chip.ask(chip_encode.status_query(), run_usec=60_000)
    assert isinstance(status, ChipStatus)
