"""Noise on the serial line: the firmware never hangs, and moves no pin that it was not told to."""

import random

import pytest

from mlink_drivers.firmata import encode
from mlink_drivers.firmata.extension_protocol import ChipStatus
from mlink_drivers.firmata.protocol import ProtocolVersion
from tests.support.firmware_chip import Chip

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

QUIET = bytes(
    byte for byte in range(256) if byte & 0xF0 not in (0x90, 0xE0) and byte not in (0xF4, 0xF5)
)
"""Bytes without the commands that may move a pin; sysex is dealt with below."""
MOVING_SYSEX = (0x04, 0x06, 0x07, 0x6F, 0x70, 0x76, 0x78)


def answers(chip: Chip) -> bool:
    # The end of whatever was begun; then a baud rate that noise may have asked for falls back.
    chip.send(b"\xf7", run_usec=6_000_000)
    chip.take()
    asked = chip.ask(encode.protocol_version_query(), run_usec=100_000)
    return any(isinstance(message, ProtocolVersion) for message in asked)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_bytes_never_hang_it(seed: int) -> None:
    chip = Chip()
    rng = random.Random(seed)
    for _ in range(40):
        chip.send(rng.randbytes(200), run_usec=rng.random() * 20_000)
        chip.take()
        chip.edges.clear()
    assert answers(chip)


def test_random_sysex_of_our_own_ids_never_hangs_it() -> None:
    chip = Chip()
    rng = random.Random(7)
    for _ in range(1500):
        body = bytes(
            rng.choice((rng.randrange(8), rng.randrange(128))) for _ in range(rng.randrange(30))
        )
        chip.send(bytes((0xF0, rng.choice((*range(1, 10), *range(0x60, 0x80))))) + body + b"\xf7")
        chip.take()
        chip.edges.clear()
    assert answers(chip)
    chip.send(encode.system_reset(), run_usec=1_000_000)
    assert answers(chip)


def test_noise_without_a_well_formed_command_moves_no_pin() -> None:
    chip = Chip()
    rng = random.Random(3)
    chip.send(encode.pin_mode(8, 1) + encode.digital_pin(8, True), run_usec=5000)
    chip.edges.clear()
    previous = 0
    for _ in range(40):
        noise = bytearray()
        while len(noise) < 200:
            byte = rng.choice(QUIET)
            if (byte in MOVING_SYSEX and previous == 0xF0) or byte == 0xFF:
                continue
            noise.append(byte)
            previous = byte
        chip.send(bytes(noise), run_usec=rng.random() * 20_000)
        chip.take()
    assert chip.edges == []
    assert answers(chip)
    said = chip.ask(encode.system_reset() + b"\xf0\x09\xf7", run_usec=100_000)
    (status,) = [message for message in said if isinstance(message, ChipStatus)]
    assert status.malformed > 0
