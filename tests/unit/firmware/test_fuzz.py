"""Noise on the serial line: the firmware never hangs, and changes no pin without a command."""

import random
from collections.abc import Callable, Iterator

import pytest

from mlink.reflexes import Edges, ReflexAction
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import ChipStatus
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import ProtocolVersion
from mlink_hil.uno import CLOCK_HZ, USER_PINS
from tests.support.boards.firmware_chip import CYCLES_PER_USEC, Chip
from tests.support.boards.pin_oracle import PinOracle

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

CHUNK = 16
"""Bytes between two looks at the pins: 2.8 ms of the line."""
GRACE_USEC = 4_000
"""How long after its last byte a message may still move a pin: the loop may be sending a reply."""
ANSWERED_GRACE_USEC = 60_000
"""The same where most messages are answered: each in the receive buffer before it may take the loop
up to 15 ms, for a string of 40 letters at 57,600 baud."""
CHECK_CYCLES = 30 * CLOCK_HZ

Noise = Callable[[random.Random], bytes]


def random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(CHUNK)


def nearly_messages(rng: random.Random) -> bytes:
    """Sysex of all ids with random bodies, and good messages with a byte changed or cut short."""
    if rng.random() < 0.5:
        ids = (*range(1, 10), *range(0x60, 0x80))
        body = bytes(
            rng.choice((rng.randrange(8), rng.randrange(128))) for _ in range(rng.randrange(30))
        )
        return bytes((0xF0, rng.choice(ids))) + body + b"\xf7"
    pin = rng.randrange(2, 20)
    message = bytearray(
        rng.choice(
            (
                chip_encode.pulse(pin, rng.randrange(2, 4000)),
                chip_encode.train(pin, 300, 700, 5),
                chip_encode.set_reflex(0, pin, Edges.BOTH, 8, ReflexAction.TOGGLE),
                chip_encode.watch_edges({pin: Edges.BOTH}),
                encode.pin_mode(pin, rng.choice((0, 1, 2, 3, 4, 11))),
                encode.digital_pin(pin, rng.random() < 0.5),
                encode.digital_port(rng.randrange(3), rng.randrange(256)),
                encode.extended_analog(pin, rng.randrange(256)),
                encode.i2c_config(),
                encode.system_reset(),
            )
        )
    )
    fate = rng.random()
    if fate < 0.4:
        message[rng.randrange(len(message))] = rng.randrange(256)
    elif fate < 0.7:
        del message[rng.randrange(len(message)) :]
    return bytes(message)


def state_of(chip: Chip) -> dict[int, tuple[bool, bool]]:
    return {pin: (s.level, s.output) for pin in USER_PINS for s in (chip.board.read(pin),)}


def answers(chip: Chip, *, within_usec: float = 300_000) -> bool:
    asked = chip.ask(b"\xf7" + encode.protocol_version_query(), run_usec=within_usec)
    return any(isinstance(message, ProtocolVersion) for message in asked)


def answers_in_the_end(chip: Chip) -> bool:
    # A baud rate that noise has asked for falls back within 6 s.
    chip.run_usec(6_000_000)
    return answers(chip)


def unexplained_moves(
    chip: Chip, oracle: PinOracle, noise: Iterator[bytes], grace_usec: int = GRACE_USEC
) -> list[str]:
    """Send `noise`, and return how pins moved that no message in it names."""
    found: list[str] = []
    allowed: dict[int, int] = {}
    """Until which cycle a pin may move."""
    state = state_of(chip)
    chip.edges.clear()
    for data in noise:
        begun = chip.cycle
        moved = oracle.pins_moved_by(data)
        chip.send(data)
        chip.take()
        for pin in moved:
            allowed[pin] = chip.cycle + grace_usec * CYCLES_PER_USEC
        now = state_of(chip)
        moved = {pin for pin, _, _ in chip.edges} | {p for p in now if now[p] != state[p]}
        found += [
            f"pin {pin} after {data.hex(' ')}" for pin in moved if allowed.get(pin, -1) < begun
        ]
        chip.edges.clear()
        state = now
    return found


def run_noise(chip: Chip, make: Noise, seed: int, sim_s: float) -> list[str]:
    """Noise for so long; every 30 simulated s the board must answer."""
    rng = random.Random(seed)
    oracle = PinOracle()
    end = chip.cycle + round(sim_s * CLOCK_HZ)
    grace_usec = ANSWERED_GRACE_USEC if make is nearly_messages else GRACE_USEC
    found: list[str] = []
    while chip.cycle < end:
        until = min(end, chip.cycle + CHECK_CYCLES)

        def noise(until: int = until) -> Iterator[bytes]:
            while chip.cycle < until:
                yield make(rng)

        found += unexplained_moves(chip, oracle, noise(), grace_usec)
        oracle.pins_moved_by(b"\xf7\xf9")
        assert answers(chip) or answers_in_the_end(chip), f"no answer at cycle {chip.cycle}"
    assert chip.board.overruns == 0
    return found


@pytest.mark.parametrize("make", [random_bytes, nearly_messages])
@pytest.mark.parametrize("seed", [1, 2])
def test_noise_moves_only_pins_that_it_names(make: Noise, seed: int) -> None:
    assert run_noise(Chip(), make, seed, 4.0) == []


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", [random_bytes, nearly_messages])
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_ten_minutes_of_noise_move_only_pins_that_it_names(make: Noise, seed: int) -> None:
    assert run_noise(Chip(), make, seed, 600.0) == []


@pytest.mark.parametrize(
    "message",
    [
        encode.pin_mode(8, 1) + encode.digital_pin(8, True),
        encode.digital_port(1, 0x7F),
        encode.pin_mode(8, 11),
        chip_encode.pulse(8, 2000),
        chip_encode.train(8, 2000, 2000),
        encode.servo_config(8, 544, 2400) + encode.extended_analog(8, 90),
    ],
)
def test_the_check_sees_a_pin_that_moves_without_having_been_named(message: bytes) -> None:
    """The board gets a message that the oracle does not receive, in the middle of noise."""
    chip = Chip()
    rng = random.Random(5)
    oracle = PinOracle()
    quiet = [bytes(byte & 0x7F for byte in rng.randbytes(CHUNK)) for _ in range(40)]

    def noise() -> Iterator[bytes]:
        yield from quiet[:20]
        chip.board.feed(message)
        yield from quiet[20:]

    found = unexplained_moves(chip, oracle, noise())
    assert any(line.startswith("pin 8 ") for line in found)


def test_malformed_messages_of_noise_are_counted_and_reported() -> None:
    chip = Chip()
    rng = random.Random(3)
    for _ in range(40):
        chip.send(rng.randbytes(100), run_usec=1000)
    chip.run_usec(200_000)
    answers = chip.ask(b"\xf7\xff\xf0\x09\xf7", run_usec=300_000)
    (status,) = [message for message in answers if isinstance(message, ChipStatus)]
    assert status.malformed > 0
