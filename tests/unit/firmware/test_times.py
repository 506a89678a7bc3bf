"""Device time on the simulated chip, compared with its cycle counter.

The full counts are in tests/benchmarks/bench_firmware.py; these are short versions.
"""

import itertools
import random
from collections.abc import Iterator

import pytest

from mlink.reflexes import Edges, ReflexAction
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.messages import (
    AnalogBlock,
    BaudAnswer,
    ChipEdge,
    ChipStatus,
    ClockAnswer,
    EdgeBlock,
    EventsLost,
    Feature,
    Features,
    PulseEnd,
    ReflexFired,
    SafeStateTripped,
    ScansMissed,
)
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import StringData
from tests.support.boards.firmware_chip import (
    CYCLES_PER_TICK,
    CYCLES_PER_USEC,
    TICKS_PER_USEC,
    Chip,
)

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

EDGE_PINS = (2, 4, 7, 8, 12, 14)


@pytest.fixture
def chip() -> Iterator[Chip]:
    chip = Chip()
    chip.calibrate()
    yield chip
    chip.board.close()


def widths_usec(edges: list[tuple[bool, int]]) -> list[float]:
    return [(b[1] - a[1]) / CYCLES_PER_USEC for a, b in zip(edges[::2], edges[1::2], strict=True)]


def random_edges(
    chip: Chip, count: int, *, gap_usec: float = 50.0, burst: int = 20
) -> list[tuple[int, bool, int]]:
    """Make edges at 500/s on the mean, some in bursts; return pin, level and cycle of each."""
    rng = random.Random(5)
    levels = dict.fromkeys(EDGE_PINS, False)
    made: list[tuple[int, bool, int]] = []
    while len(made) < count:
        size = rng.choice((1, 1, 1, burst))
        chip.run_usec(rng.expovariate(500 / 1e6 / size))
        for _ in range(size):
            pin = rng.choice(EDGE_PINS)
            levels[pin] = not levels[pin]
            chip.board.drive(pin, levels[pin])
            made.append((pin, levels[pin], chip.cycle))
            chip.run_usec(gap_usec)
    chip.run_usec(300_000)
    return made


def reported_edges(chip: Chip) -> list[ChipEdge]:
    return [
        edge
        for message in chip.messages
        if isinstance(message, EdgeBlock)
        for edge in message.edges
    ]


def raise_baud(chip: Chip, baud_rate: int) -> None:
    assert chip.ask(chip_encode.change_baud(baud_rate)) == [
        BaudAnswer(BaudAnswer.CHANGE, False, baud_rate)
    ]
    confirmed = BaudAnswer(BaudAnswer.CONFIRMED, False, baud_rate)
    assert confirmed in chip.ask(chip_encode.confirm_baud())


@pytest.mark.parametrize("baud_rate", [57_600, 1_000_000])
def test_edges_none_lost_in_order_and_right_within_8_usec(chip: Chip, baud_rate: int) -> None:
    if baud_rate != 57_600:
        raise_baud(chip, baud_rate)
    chip.ask(chip_encode.watch_edges(dict.fromkeys(EDGE_PINS, Edges.BOTH)))
    made = random_edges(chip, 2000)
    reported = reported_edges(chip)
    assert [(edge.pin, edge.level) for edge in reported] == [(pin, level) for pin, level, _ in made]
    errors = sorted(
        abs(chip.cycle_of(edge.ticks) - cycle) / CYCLES_PER_USEC
        for edge, (_, _, cycle) in zip(reported, made, strict=True)
    )
    assert errors[int(len(errors) * 0.999)] <= 8.0
    status = chip.ask(chip_encode.status_query())[-1]
    assert isinstance(status, ChipStatus)
    assert status.events_lost == 0
    assert chip.board.overruns == 0


def test_lines_that_switch_together_carry_one_time_whatever_their_ports(chip: Chip) -> None:
    pins = (2, 3, 5, 7, 8, 14)  # three ports, and both kinds of interrupts
    features = chip.ask(chip_encode.feature_query())[0]
    assert isinstance(features, Features)
    assert features.has(Feature.ONE_TIME)
    chip.ask(chip_encode.watch_edges(dict.fromkeys(pins, Edges.BOTH)))
    for at in range(40):
        chip.run_usec(20_000 + at * 7.31)
        for pin in pins:
            chip.board.drive(pin, at % 2 == 0)
        made = chip.cycle
        chip.run_usec(10_000)
        edges = reported_edges(chip)
        chip.take()
        assert sorted(edge.pin for edge in edges) == list(pins)
        assert len({edge.ticks for edge in edges}) == 1
        assert abs(chip.cycle_of(edges[0].ticks) - made) <= 4 * CYCLES_PER_USEC
    status = chip.ask(chip_encode.status_query())[-1]
    assert isinstance(status, ChipStatus)
    assert status.glitches == 0  # no interrupt found its pin unchanged


@pytest.mark.parametrize(
    ("edge", "glitch"), [(7, 8), (7, 14), (8, 7), (8, 14), (14, 7), (14, 8), (None, 8)]
)
def test_a_pulse_that_is_too_short_counts_also_while_another_port_switches(
    chip: Chip, edge: int | None, glitch: int
) -> None:
    chip.ask(chip_encode.watch_edges({7: Edges.BOTH, 8: Edges.BOTH, 14: Edges.BOTH}))
    for at in range(4):
        chip.run_usec(5000)
        chip.board.drive(glitch, True)
        if edge is not None:
            chip.board.drive(edge, at % 2 == 0)
        chip.run_usec(1)
        chip.board.drive(glitch, False)
    chip.run_usec(20_000)
    status = chip.ask(chip_encode.status_query())[-1]
    assert isinstance(status, ChipStatus)
    assert status.glitches == 4


def test_a_full_queue_loses_edges_and_counts_every_one(chip: Chip) -> None:
    chip.ask(chip_encode.watch_edges({7: Edges.BOTH}))
    for at in range(400):
        chip.board.drive(7, at % 2 == 0)
        chip.run_usec(30)
    chip.run_usec(300_000)
    lost = [message for message in chip.messages if isinstance(message, EventsLost)]
    assert lost
    assert len(reported_edges(chip)) + lost[-1].total == 400


def test_only_the_edges_that_were_asked_for(chip: Chip) -> None:
    chip.ask(chip_encode.watch_edges({7: Edges.RISING, 8: Edges.FALLING}))
    for level in (True, False, True, False):
        for pin in (7, 8):
            chip.board.drive(pin, level)
            chip.run_usec(500)
    chip.ask(chip_encode.watch_edges({7: Edges.NONE, 8: Edges.NONE}), run_usec=30_000)
    chip.board.drive(7, True)
    chip.run_usec(30_000)
    assert reported_edges(chip) == []
    chip.ask(chip_encode.watch_edges({7: Edges.RISING, 8: Edges.FALLING}))
    for level in (False, True, False):
        chip.board.drive(7, level)
        chip.board.drive(8, level)
        chip.run_usec(5000)
    chip.run_usec(20_000)
    assert [(edge.pin, edge.level) for edge in reported_edges(chip)] == [(7, True), (8, False)]


@pytest.mark.parametrize(("width_usec", "count"), [(10, 30), (25, 30), (1000, 60), (50_000, 10)])
def test_pulse_width_within_8_usec(chip: Chip, width_usec: int, count: int) -> None:
    rng = random.Random(3)
    chip.take_edges(8)
    for _ in range(count):
        chip.send(chip_encode.pulse(8, width_usec * TICKS_PER_USEC), run_usec=width_usec + 2000)
        chip.run_usec(rng.random() * 1000)
    errors = [abs(width - width_usec) for width in widths_usec(chip.take_edges(8))]
    assert len(errors) == count
    assert max(errors) <= 8.0


def test_pulses_stay_exact_beside_edges_and_other_pulses(chip: Chip) -> None:
    chip.ask(chip_encode.watch_edges({7: Edges.BOTH}))
    chip.send(chip_encode.train(9, 600, 1000, 200), run_usec=0)
    chip.take_edges(8)
    for at in range(40):
        chip.send(chip_encode.pulse(8, 2000), run_usec=1500)
        chip.board.drive(7, at % 2 == 0)
    chip.run_usec(2000)
    edges = list(chip.take_edges(8))
    assert max(abs(width - 1000) for width in widths_usec(edges)) <= 20.0


def test_train_at_a_time_of_the_chip(chip: Chip) -> None:
    (answer,) = chip.ask(chip_encode.clock_query(1))
    assert isinstance(answer, ClockAnswer)
    start = answer.sent_ticks + 100_000
    chip.take_edges(9)
    train = chip_encode.train(9, 400, 600, 50, start=start, report=True)
    answers = chip.ask(train, run_usec=100_000)
    edges = chip.take_edges(9)
    assert len(edges) == 100
    for at, (level, cycle) in enumerate(edges):
        assert level is (at % 2 == 0)
        due = start + at // 2 * 1000 + at % 2 * 400
        assert abs(cycle - chip.cycle_of(due)) <= 8 * CYCLES_PER_USEC
    (end,) = [message for message in answers if isinstance(message, PulseEnd)]
    assert (end.pin, end.complete, end.count) == (9, True, 50)
    assert abs(end.last_ticks - end.first_ticks - (49 * 1000 + 400)) <= 8 * TICKS_PER_USEC


def test_a_train_whose_time_has_passed_begins_at_once_and_keeps_its_pauses(chip: Chip) -> None:
    (answer,) = chip.ask(chip_encode.clock_query(1))
    assert isinstance(answer, ClockAnswer)
    train = chip_encode.train(9, 400, 600, 50, start=answer.sent_ticks - 100_000, report=True)
    chip.take_edges(9)
    (end,) = [m for m in chip.ask(train, run_usec=100_000) if isinstance(m, PulseEnd)]
    assert len(chip.take_edges(9)) == 100
    assert abs(end.last_ticks - end.first_ticks - (49 * 1000 + 400)) <= 8 * TICKS_PER_USEC


def test_edges_at_the_overflow_of_the_chips_timer(chip: Chip) -> None:
    """The timer's 16 bits wrap every 33 ms; the clock must not lose one, whatever falls there."""
    for distance in range(-110, 40):
        now = (chip.cycle - chip.tick_zero) // CYCLES_PER_TICK
        start = (now + 8000 + 0xFFFF) // 0x10000 * 0x10000 + distance
        chip.take_edges(8)
        chip.board.feed(chip_encode.train(8, 2000, 2000, 1, start=start))
        chip.run_usec((start - now) / TICKS_PER_USEC + 3000)
        (_, rise), _ = chip.take_edges(8)
        assert abs(rise - chip.cycle_of(start)) <= 8 * CYCLES_PER_USEC, distance


def test_a_second_pulse_moves_the_end_out_never_in(chip: Chip) -> None:
    chip.take_edges(8)
    chip.send(chip_encode.pulse(8, 40_000))
    chip.send(chip_encode.pulse(8, 2000), run_usec=30_000)
    (width,) = widths_usec(chip.take_edges(8))
    assert abs(width - 20_000) <= 8
    chip.send(chip_encode.pulse(8, 20_000))
    chip.send(chip_encode.pulse(8, 40_000), run_usec=40_000)
    (width,) = widths_usec(chip.take_edges(8))
    assert width > 20_000


def test_a_train_without_end_is_stopped_at_rest(chip: Chip) -> None:
    chip.send(chip_encode.train(8, 2000, 2000, active_low=True), run_usec=10_000)
    chip.send(chip_encode.stop_pulses(8), run_usec=5000)
    chip.take_edges(8)
    chip.run_usec(20_000)
    assert chip.take_edges(8) == []
    assert chip.board.read(8).level is True


def test_reflex_acts_within_30_usec_and_reports_both_times(chip: Chip) -> None:
    chip.ask(
        chip_encode.set_reflex(
            0, 7, Edges.RISING, 8, ReflexAction.PULSE_HIGH, width=2000, refractory=20_000
        )
    )
    chip.take_edges(8)
    pushed = []
    for _ in range(20):
        chip.board.drive(7, True)
        pushed.append(chip.cycle)
        chip.run_usec(6000)
        chip.board.drive(7, False)
        chip.run_usec(9000)
    edges = chip.take_edges(8)
    rises = [cycle for level, cycle in edges if level]
    delays = [(rise - push) / CYCLES_PER_USEC for rise, push in zip(rises, pushed, strict=True)]
    assert max(delays) <= 30.0
    assert max(abs(width - 1000) for width in widths_usec(edges)) <= 8.0
    fired = [message for message in chip.messages if isinstance(message, ReflexFired)]
    assert len(fired) == 20
    for message, push, rise in zip(fired, pushed, rises, strict=True):
        assert abs(chip.cycle_of(message.edge_ticks) - push) <= 8 * CYCLES_PER_USEC
        assert abs(chip.cycle_of(message.action_ticks) - rise) <= 8 * CYCLES_PER_USEC


def test_reflex_keeps_its_condition_and_its_refractory_time(chip: Chip) -> None:
    chip.ask(
        chip_encode.set_reflex(
            1, 7, Edges.BOTH, 8, ReflexAction.TOGGLE, refractory=20_000, condition=(4, True)
        )
    )
    chip.board.drive(4, False)
    chip.board.drive(7, True)
    chip.run_usec(20_000)
    chip.take_edges(8)
    chip.board.drive(4, True)
    for at in range(10):  # one edge per ms, one action per 10 ms
        chip.board.drive(7, at % 2 == 0)
        chip.run_usec(1000)
    assert len(chip.take_edges(8)) == 1
    chip.ask(chip_encode.remove_reflex())
    chip.board.drive(7, True)
    chip.run_usec(20_000)
    chip.board.drive(7, False)
    chip.run_usec(20_000)
    assert chip.take_edges(8) == []


@pytest.mark.parametrize("levels", [None, {8: False, 9: True}])
def test_safe_state_within_the_set_time(chip: Chip, levels: dict[int, bool] | None) -> None:
    chip.ask(encode.pin_mode(8, 1) + encode.digital_pin(8, True))
    chip.ask(chip_encode.train(12, 200, 200))
    chip.ask(chip_encode.safe_state(100, levels))
    for _ in range(4):  # the host is heard: nothing happens
        chip.ask(encode.protocol_version_query(), run_usec=80_000)
        assert chip.board.read(8).level is True
    begin = chip.cycle
    chip.take_edges(8)
    chip.take()
    chip.run_usec(110_000)
    ((level, cycle),) = chip.take_edges(8)
    assert level is False
    assert (cycle - begin) / CYCLES_PER_USEC <= 100_000
    assert any(isinstance(message, SafeStateTripped) for message in chip.take())
    if levels:
        assert chip.board.read(9).level is True
    assert not chip.board.read(11).output  # nobody wrote to it: it drives no wire now either
    chip.take_edges(12)
    chip.run_usec(5000)
    assert chip.take_edges(12) == []  # trains have ended


def test_analog_blocks_come_at_even_times(chip: Chip) -> None:
    chip.board.set_voltage(14, 1.25)
    chip.board.set_voltage(15, 3.75)
    period = 2000 * TICKS_PER_USEC
    chip.send(chip_encode.start_analog_blocks(period, (0, 1), 5), run_usec=200_000)
    chip.send(chip_encode.stop_analog_blocks(), run_usec=20_000)
    blocks = [message for message in chip.take() if isinstance(message, AnalogBlock)]
    assert [block.sequence for block in blocks] == [
        (blocks[0].sequence + at) % 128 for at in range(len(blocks))
    ]
    scans = [
        (block.first_ticks + at * period, block.values[2 * at : 2 * at + 2])
        for block in blocks
        for at in range(len(block.values) // 2)
    ]
    assert 95 <= len(scans) <= 105
    assert {b[0] - a[0] for a, b in itertools.pairwise(scans)} == {period}
    assert all(abs(low - 255) <= 2 and abs(high - 767) <= 2 for _, (low, high) in scans)


def test_analog_blocks_that_the_line_cannot_carry_are_counted(chip: Chip) -> None:
    chip.board.set_voltage(14, 1.0)
    chip.send(chip_encode.start_analog_blocks(200 * TICKS_PER_USEC, (0,), 20), run_usec=100_000)
    chip.send(chip_encode.stop_analog_blocks(), run_usec=30_000)
    messages = chip.take()
    got = sum(len(message.values) for message in messages if isinstance(message, AnalogBlock))
    missed = [message for message in messages if isinstance(message, ScansMissed)]
    assert got > 150
    assert missed
    assert 460 <= got + missed[-1].total <= 540


@pytest.mark.parametrize("channels", [(0,), (0, 1, 2, 3)])
def test_analog_blocks_at_the_converters_own_rate(chip: Chip, channels: tuple[int, ...]) -> None:
    """8,620 samples a second at 1,000,000 baud: none missed, each with its time and its channel."""
    for channel in channels:
        chip.board.set_voltage(14 + channel, 1.0 + channel)
    raise_baud(chip, 1_000_000)
    period = 116 * TICKS_PER_USEC * len(channels)
    scans_per_block = 24 // len(channels)
    start = chip_encode.start_analog_blocks(period, channels, scans_per_block)
    chip.send(start, run_usec=500_000)
    chip.send(chip_encode.stop_analog_blocks(), run_usec=20_000)
    messages = chip.take()
    assert not [message for message in messages if isinstance(message, ScansMissed)]
    blocks = [message for message in messages if isinstance(message, AnalogBlock)]
    values = [value for block in blocks for value in block.values]
    assert len(values) == pytest.approx(500_000 / 116, rel=0.01)
    for at, channel in enumerate(channels):
        expected = (1.0 + channel) / 5 * 1024
        assert all(abs(value - expected) <= 2 for value in values[at :: len(channels)])
    times = [block.first_ticks for block in blocks[:-1]]
    assert {b - a for a, b in itertools.pairwise(times)} == {period * scans_per_block}


def test_no_byte_is_lost_either_way_at_1_000_000_baud(chip: Chip) -> None:
    """Questions while blocks of samples fill the line: each is read as it was sent."""
    raise_baud(chip, 1_000_000)
    chip.send(chip_encode.start_analog_blocks(180 * TICKS_PER_USEC, (0,), 20))
    for _ in range(100):
        chip.send(chip_encode.status_query(), run_usec=1000)
    chip.run_usec(20_000)
    status = [message for message in chip.messages if isinstance(message, ChipStatus)]
    assert len(status) == 100
    assert status[-1].malformed == status[-1].receive_lost == chip.board.overruns == 0


def test_the_fastest_train_leaves_the_loop_its_turns(chip: Chip) -> None:
    """8.3 kHz: what the host asks is answered, and the edges are right."""
    chip.send(chip_encode.train(8, 120, 120), run_usec=10_000)
    chip.take()
    chip.take_edges(8)
    (status,) = chip.ask(chip_encode.status_query(), run_usec=20_000)
    assert isinstance(status, ChipStatus)
    edges = chip.take_edges(8)[1:1000]
    expected = 60 * CYCLES_PER_USEC
    steps = [b[1] - a[1] - expected for a, b in itertools.pairwise(edges)]
    assert max(abs(step) for step in steps) <= 8 * CYCLES_PER_USEC


def test_trains_and_samples_share_what_the_chip_can_do(chip: Chip) -> None:
    """What does not fit is refused, and changes nothing."""
    chip.take_edges(8)
    chip.send(chip_encode.train(8, 100, 150), run_usec=5000)
    too_fast = chip_encode.start_analog_blocks(300, (0,), 20)
    (refusal,) = chip.ask(too_fast)
    assert isinstance(refusal, StringData)
    assert "too many edges" in refusal.text
    edges = chip.take_edges(8)
    assert len(edges) > 150
    assert max(abs(width - 50) for width in widths_usec(edges[edges[0][0] ^ 1 :][:150])) <= 8


def test_baud_falls_back_when_the_host_does_not_confirm(chip: Chip) -> None:
    (answer,) = chip.ask(chip_encode.change_baud(1_000_000))
    assert answer == BaudAnswer(BaudAnswer.CHANGE, False, 1_000_000)
    chip.run_usec(600_000)
    assert BaudAnswer(BaudAnswer.FELL_BACK, False, 57_600) in chip.take()
    assert chip.ask(chip_encode.change_baud(123)) == [BaudAnswer(BaudAnswer.CHANGE, True, 123)]
    assert chip.ask(encode.protocol_version_query())


def test_clock_exchange_follows_a_crystal_that_is_200_ppm_off(chip: Chip) -> None:
    """Host times are made of cycles: 200 ppm fewer ns per cycle make a fast chip."""

    def host_ns(cycle: float) -> int:
        return round(cycle / CYCLES_PER_USEC * 1000 / 1.0002)

    byte_cycles = 10 / 57_142 * 16e6
    clock = ChipClock(2_000_000, round(1e9 * 10 / 57_600))
    rng = random.Random(9)
    for _ in range(60):
        chip.take()
        chip.run_usec(rng.random() * 500)
        chip.send(clock.query(host_ns(chip.cycle - rng.random() * 800)), run_usec=6000)
        (answer,) = chip.messages
        assert isinstance(answer, ClockAnswer)
        assert answer.exact
        first_byte = chip.arrivals[0] - 15 * byte_cycles + rng.random() * 800
        clock.take(answer, host_ns(first_byte))
        chip.run_usec(200_000)
    assert abs(clock.rate_ppm - 200) < 25
    now = chip.cycle
    ticks = (now - chip.tick_zero) // CYCLES_PER_TICK
    assert abs(clock.to_monotonic_ns(ticks % (1 << 32)) - host_ns(now)) < 80_000
    assert abs(clock.to_ticks(host_ns(now)) - ticks) < 160
