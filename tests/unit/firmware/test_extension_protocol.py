"""The extension's codec, its clock and the script helpers, without a chip."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlink.script as ms
from mlink.errors import ModuleError
from mlink.reflexes import Edges, ReflexAction
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.decode import decode_extension
from mlink_drivers.firmata.chip.extra import (
    PulseTrain,
    Reflex,
    RemoveReflex,
    SafeState,
    StopPulses,
    WatchEdges,
    is_chip_extra,
    parse_chip_extra,
)
from mlink_drivers.firmata.chip.messages import ChipEdge, ClockAnswer, EdgeBlock
from mlink_drivers.firmata.wire.protocol import Sysex


@given(st.integers(0, 127), st.binary(max_size=80).map(lambda data: bytes(b & 0x7F for b in data)))
def test_no_payload_makes_the_decoder_raise(sysex_id: int, data: bytes) -> None:
    decode_extension(Sysex(sysex_id, data))


def test_edges_count_their_steps_and_wrap() -> None:
    start = (1 << 32) - 10
    first = bytes(start >> 7 * at & 0x7F for at in range(5))
    data = b"\x02\x05" + first + bytes((7, 0, 0x40, 8, 20, 0))
    assert decode_extension(Sysex(0x02, data)) == EdgeBlock(
        5, (ChipEdge(7, True, start), ChipEdge(8, False, 10))
    )


def test_a_pulse_takes_as_few_bytes_as_its_width_needs() -> None:
    assert chip_encode.pulse(8, 100) == b"\xf0\x04\x03\x08\x00\x64\xf7"
    assert chip_encode.pulse(8, 2000, report=True) == b"\xf0\x04\x03\x08\x04\x50\x0f\xf7"
    with pytest.raises(ValueError, match="ticks"):
        chip_encode.pulse(8, 1 << 31)
    with pytest.raises(ValueError, match="pin 200"):
        chip_encode.pulse(200, 100)


class FakePort:
    def __init__(self) -> None:
        self.extra = b""
        self.line = -1

    def submit(self, command: object) -> None:
        self.extra = command.extra  # type: ignore[attr-defined]
        self.line = command.line_id  # type: ignore[attr-defined]


def test_what_scripts_ask_for_is_what_the_driver_reads() -> None:
    port = FakePort()

    def sent(_command: object) -> object:
        assert is_chip_extra(port.extra)
        return parse_chip_extra(port.extra)

    train = ms.pulse_train(port, 9, width_usec=500, period_usec=2000, count=10, start_usec=5)  # type: ignore[arg-type]
    assert sent(train) == PulseTrain(500, 2000, 10, 5, False)
    assert port.line == 9
    assert sent(ms.stop_pulses(port, 9)) == StopPulses()  # type: ignore[arg-type]
    reflex = ms.set_reflex(
        port,  # type: ignore[arg-type]
        2,
        trigger=7,
        output=8,
        action=ms.ReflexAction.PULSE_LOW,
        width_usec=100,
        condition=(4, True),
    )
    assert sent(reflex) == Reflex(2, Edges.RISING, 8, ReflexAction.PULSE_LOW, 100, 0, (4, True))
    assert sent(ms.remove_reflex(port, 2)) == RemoveReflex(2)  # type: ignore[arg-type]
    assert sent(ms.watch_edges(port, 7)) == WatchEdges(Edges.BOTH)  # type: ignore[arg-type]
    safe = ms.safe_state(port, 500, {8: False, 9: True})  # type: ignore[arg-type]
    assert sent(safe) == SafeState(500, {8: False, 9: True})
    with pytest.raises(ModuleError, match="pulse train"):
        ms.pulse_train(port, 9, width_usec=500, period_usec=400)  # type: ignore[arg-type]


@pytest.mark.parametrize("position", [1 << 30, -(1 << 30), (1 << 31) - 1])
def test_positions_of_steppers_that_the_chip_cannot_compute_with_are_refused(position: int) -> None:
    with pytest.raises(ValueError, match="beyond ±1073741823 steps"):
        parse_chip_extra(struct.pack("<BBid", 0x51, 0, position, 100.0))
    stepper = struct.pack("<BBB4s2sdiH", 0x50, 0, 0, b"\4\5\xff\xff", b"\xff\xff", 9, position, 0)
    with pytest.raises(ValueError, match="beyond ±1073741823 steps"):
        parse_chip_extra(stepper)


@given(st.binary(min_size=1, max_size=40))
def test_extra_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    if is_chip_extra(data):
        try:
            parse_chip_extra(data)
        except ValueError:
            pass


def test_clock_keeps_to_a_drifting_chip_through_jitter_and_a_wrap() -> None:
    """Ten minutes, 2 MHz, 200 ppm fast, host jitter of up to 1 ms both ways, 1 % delayed more."""
    rng = random.Random(4)
    byte_ns = 173_611
    clock = ChipClock(2_000_000, byte_ns)
    start_ticks = (1 << 32) - 400_000_000

    def ticks_at(ns: float) -> int:
        return start_ticks + round(ns / 500 * 1.0002)

    errors = []
    for second in range(600):
        for part in range(10 if second == 0 else 1):
            now = second * 1_000_000_000 + part * 20_000_000
            late = 20_000_000 if rng.random() < 0.01 else 0
            query = clock.query(now)
            received = now + 4 * byte_ns + rng.random() * 300_000 + late
            sent = received + 100_000
            arrival = sent + rng.random() * 300_000
            answer = ClockAnswer(query[2], True, ticks_at(received) % 2**32, ticks_at(sent) % 2**32)
            clock.take(answer, round(arrival))
        if second > 60:
            moment = now + 500_000_000
            converted = clock.to_monotonic_ns(ticks_at(moment) % 2**32)
            errors.append(abs(converted - moment) / 1000)
            assert abs(clock.to_ticks(moment) - ticks_at(moment) % 2**32) < 1000
    errors.sort()
    assert abs(clock.rate_ppm - 200) < 5
    assert errors[int(len(errors) * 0.99)] < 100
    assert errors[-1] < 3 * clock.uncertainty_usec + 100
