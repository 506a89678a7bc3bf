"""Steppers of our firmware on the simulated chip: each step against the formula of its ramp."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.extra import StepperDriver, StepperFlag
from mlink_drivers.firmata.chip.messages import (
    ChipStatus,
    StepperHow,
    StepperReport,
    StepperState,
)
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import StringData
from mlink_hil.board_kinds import MEGA
from tests.support import ROOT
from tests.support.boards.firmware_chip import CYCLES_PER_USEC, Chip

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

TICK_HZ = 2_000_000
STEP, DIRECTION = 4, 5
COILS = (4, 5, 6, 7)


@pytest.fixture
def chip() -> Iterator[Chip]:
    chip = Chip()
    chip.calibrate()
    yield chip
    chip.board.close()


def fixed(ticks: float) -> int:
    return round(ticks * 256)


def set_stepper(
    acceleration: float, pins: tuple[int, ...] = (STEP, DIRECTION), **rest: Any
) -> bytes:
    driver = StepperDriver.STEP_DIRECTION if len(pins) == 2 else StepperDriver.FOUR_WIRES
    first = fixed(TICK_HZ * math.sqrt(2 / acceleration))
    return chip_encode.set_stepper(0, driver, pins, first=first, **rest)


def move(target: int, speed: float, tag: int = 1) -> bytes:
    return chip_encode.move_stepper(0, target, fixed(TICK_HZ / speed), tag=tag)


def formula(count: int, speed: float, acceleration: float) -> list[float]:
    """The times of the steps of a move from rest to rest, in s."""
    ramp = min(speed * speed / acceleration, count) / 2
    whole = 2 * math.sqrt(2 * ramp / acceleration) + (count - 2 * ramp) / speed

    def time(step: float) -> float:
        if step <= ramp:
            return math.sqrt(2 * step / acceleration)
        if step <= count - ramp:
            return math.sqrt(2 * ramp / acceleration) + (step - ramp) / speed
        return whole - math.sqrt(2 * (count - step) / acceleration)

    return [time(step) for step in range(1, count + 1)]


def steps(chip: Chip) -> list[float]:
    """The times at which the step pin has risen, in s."""
    return [cycle / CYCLES_PER_USEC / 1e6 for level, cycle in chip.take_edges(STEP) if level]


def reports(chip: Chip) -> list[StepperReport]:
    return [message for message in chip.take() if isinstance(message, StepperReport)]


def where(chip: Chip) -> tuple[StepperHow, int]:
    last = reports(chip)[-1]
    return last.how, last.position


@pytest.mark.parametrize(
    ("count", "speed", "acceleration"),
    [
        (400, 1500, 4000),  # with a cruise
        (400, 2000, 1000),  # without: it never reaches its speed
        (401, 300, 1000),
        (200, 500, 200_000),  # at its speed within two steps
        (3000, 4800, 20_000),
    ],
)
def test_each_step_is_made_at_the_time_of_the_formula(
    chip: Chip, count: int, speed: float, acceleration: float
) -> None:
    assert StepperState(0, True) in chip.ask(set_stepper(acceleration))
    chip.take_edges(STEP)
    chip.send(move(count, speed))
    due = formula(count, speed, acceleration)
    chip.run_usec(due[-1] * 1e6 + 50_000)
    (end,) = reports(chip)
    assert (end.how, end.position, end.interval) == (StepperHow.ARRIVED, count, 0)
    made = steps(chip)
    assert len(made) == count
    begin = made[0] - due[0]
    worst = max(abs(at - begin - wanted) for at, wanted in zip(made, due, strict=True))
    assert worst <= 0.0005 * due[-1] + 60e-6
    assert abs(chip.cycle_of(end.ticks) / CYCLES_PER_USEC / 1e6 - made[-1]) <= 30e-6
    assert chip.board.read(DIRECTION).level
    assert chip.ask(move(0, speed)) == []
    chip.run_usec(due[-1] * 1e6)
    assert where(chip) == (StepperHow.ARRIVED, 0)
    assert not chip.board.read(DIRECTION).level
    status = chip.ask(chip_encode.status_query())[-1]
    assert isinstance(status, ChipStatus)
    assert status.late_edges == 0


def test_a_new_target_on_the_way_slows_down_turns_and_no_step_is_lost(chip: Chip) -> None:
    chip.ask(set_stepper(5000))
    chip.send(move(1000, 2000), run_usec=500_000)
    chip.send(move(-100, 1000, tag=2), run_usec=1_000_000)
    assert reports(chip) == []
    made = steps(chip)
    assert min(after - before for before, after in itertools.pairwise(made)) > 0.00048
    chip.run_usec(2_000_000)
    (end,) = reports(chip)
    assert (end.tag, end.how, end.position) == (2, StepperHow.ARRIVED, -100)


def test_a_lower_speed_on_the_way_is_reached_on_the_ramp(chip: Chip) -> None:
    chip.ask(set_stepper(5000))
    chip.send(move(100_000, 2000), run_usec=600_000)
    chip.send(move(100_000, 500), run_usec=400_000)
    made = steps(chip)
    gaps = [after - before for before, after in itertools.pairwise(made)]
    assert abs(min(gaps) - 1 / 2000) < 20e-6
    assert abs(gaps[-1] - 1 / 500) < 20e-6
    slowing = [gap for gap in gaps[gaps.index(min(gaps)) :] if gap > 1.02 / 2000]
    assert 300 < sum(gap < 0.98 / 500 for gap in slowing) < 380  # (2000² − 500²) / 2a = 375


@pytest.mark.parametrize("at_once", [False, True])
def test_a_stop(chip: Chip, at_once: bool) -> None:
    chip.ask(set_stepper(5000))
    chip.send(move(10_000, 1000), run_usec=500_000)
    before = len(steps(chip))
    chip.send(chip_encode.stop_stepper(0, at_once=at_once), run_usec=300_000)
    after = len(steps(chip))
    how, position = where(chip)
    assert how is StepperHow.STOPPED
    assert position == before + after
    # v² / 2a = 100 steps, and those that were made while the order was sent
    assert after <= 3 if at_once else abs(after - 100) <= 3


@pytest.mark.parametrize("before_usec", [0, 300_000])
def test_a_stop_at_once_has_its_own_time_and_not_that_of_the_last_step(
    chip: Chip, before_usec: int
) -> None:
    chip.ask(set_stepper(5000))
    chip.send(move(10, 1), run_usec=before_usec)
    chip.send(chip_encode.stop_stepper(0, at_once=True))
    stopped = chip.cycle
    chip.run_usec(20_000)
    (report,) = reports(chip)
    assert report.how is StepperHow.STOPPED
    assert abs(chip.cycle_of(report.ticks) - stopped) < 2000 * CYCLES_PER_USEC


def test_no_step_is_made_towards_a_limit_that_is_reached(chip: Chip) -> None:
    for pin in (8, 9):
        chip.send(encode.pin_mode(pin, 0))
        chip.board.drive(pin, True)
    chip.ask(set_stepper(5000, limits=(8, 9), flags=StepperFlag.HIGH_LIMIT_IS_HIGH))
    chip.send(move(500, 1000), run_usec=50_000)
    assert where(chip) == (StepperHow.HIGH_LIMIT, 0)
    assert steps(chip) == []
    chip.send(move(-500, 1000), run_usec=400_000)
    chip.board.drive(8, False)
    at = chip.cycle
    chip.run_usec(50_000)
    (end,) = reports(chip)
    assert end.how is StepperHow.LOW_LIMIT
    assert end.position == -len(steps(chip)) < -100
    assert 0 <= (chip.cycle_of(end.ticks) - at) / CYCLES_PER_USEC <= 1100
    chip.board.drive(9, False)
    chip.send(move(0, 1000), run_usec=1_000_000)  # away from it
    assert where(chip) == (StepperHow.ARRIVED, 0)


@pytest.mark.parametrize("flags", [StepperFlag.HALF_STEPS, StepperFlag.RELEASE])
def test_four_wires(chip: Chip, flags: StepperFlag) -> None:
    chip.ask(set_stepper(2000, COILS, flags=flags, position=-3))
    chip.edges.clear()
    chip.send(move(5, 100), run_usec=300_000)
    assert where(chip) == (StepperHow.ARRIVED, 5)
    on: set[int] = {6, 7} if flags is StepperFlag.HALF_STEPS else set()
    seen: list[tuple[int, set[int]]] = []
    for pin, level, cycle in chip.edges:
        on ^= {pin}
        assert (pin in on) == level
        if seen and cycle - seen[-1][0] < 100 * CYCLES_PER_USEC:
            seen[-1] = cycle, set(on)
        else:
            seen.append((cycle, set(on)))
    coils = [pins for _, pins in seen]
    if flags is StepperFlag.RELEASE:
        assert coils == [{6, 7}, {7, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 4}, {4, 5}, set()]
    else:
        assert coils == [{7}, {7, 4}, {4}, {4, 5}, {5}, {5, 6}, {6}, {6, 7}]


def test_reports_on_the_way_have_position_and_speed(chip: Chip) -> None:
    chip.ask(set_stepper(5000, period_msec=20))
    chip.send(move(400, 1000), run_usec=800_000)
    got = reports(chip)
    assert [report.sequence for report in got] == list(range(len(got)))
    assert {report.how for report in got[:-1]} == {StepperHow.MOVING}
    middle = got[len(got) // 2]
    assert middle.interval == fixed(TICK_HZ / 1000)
    made = steps(chip)
    at = chip.cycle_of(middle.ticks) / CYCLES_PER_USEC / 1e6
    assert sum(step <= at + 20e-6 for step in made) == middle.position


def test_the_safe_state_another_use_and_a_reset_stop_it(chip: Chip) -> None:
    chip.ask(set_stepper(5000))
    chip.ask(chip_encode.safe_state(50))
    chip.send(move(10_000, 1000), run_usec=500_000)
    (end,) = reports(chip)
    assert end.how is StepperHow.ENDED
    assert end.position == len(steps(chip)) < 100
    chip.ask(chip_encode.safe_state(0))
    chip.ask(set_stepper(5000))
    chip.send(move(10_000, 1000), run_usec=200_000)
    chip.send(encode.digital_pin(STEP, 1), run_usec=20_000)
    assert where(chip)[0] is StepperHow.ENDED
    steps(chip)
    chip.run_usec(100_000)
    assert steps(chip) == []
    texts = [m.text for m in chip.ask(move(0, 1000)) if isinstance(m, StringData)]
    assert any("is not set" in text for text in texts)
    chip.ask(set_stepper(5000))
    chip.send(move(10_000, 1000), run_usec=200_000)
    chip.send(chip_encode.train(STEP, 200, 200, 2), run_usec=20_000)
    assert where(chip)[0] is StepperHow.ENDED
    chip.ask(set_stepper(5000))
    chip.send(move(10_000, 1000), run_usec=200_000)
    chip.send(b"\xff", run_usec=30_000)
    steps(chip)
    chip.run_usec(100_000)
    assert steps(chip) == []


def test_a_busy_chip_keeps_the_steps_and_its_stack(chip: Chip) -> None:
    """Edges, reflexes and trains beside it; a stack that grows into variables shows in counts."""
    chip.ask(set_stepper(20_000))
    for pin in (9, 10):
        chip.ask(chip_encode.train(pin, 2000, 2200))
    chip.ask(chip_encode.set_counter(0, 2, 3, 10, second_pin=3))  # type: ignore[arg-type]
    chip.take_edges(STEP)
    chip.send(move(2000, 2500))
    for at in range(4000):
        chip.board.drive(2 + at % 2, at % 4 < 2)
        chip.run_usec(197)
        if at % 100 == 0:
            chip.board.feed(chip_encode.clock_query(1) + chip_encode.status_query())
    chip.run_usec(300_000)
    ends = [m for m in chip.messages if isinstance(m, StepperReport)]
    assert [(end.how, end.position) for end in ends] == [(StepperHow.ARRIVED, 2000)]
    due, made = formula(2000, 2500, 20_000), steps(chip)
    begin = made[0] - due[0]
    assert max(abs(at - begin - wanted) for at, wanted in zip(made, due, strict=True)) < 0.003
    answer = chip.ask(chip_encode.status_query())
    (status,) = [message for message in answer if isinstance(message, ChipStatus)]
    assert status.scans_missed == status.safe_states == status.malformed == 0


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (chip_encode.set_stepper(1, StepperDriver.NONE), "no such stepper"),
        (set_stepper(1000, (0, 5)), "no such pin"),
        (set_stepper(1000, limits=(1, None)), "no such pin"),
        (chip_encode.set_stepper(0, StepperDriver.STEP_DIRECTION, (4, 5), first=9), "acceleration"),
        (encode.sysex(0x0B, bytes((0, 0, 3)) + bytes(19)), "wrong length or driver"),
        (encode.sysex(0x0B, bytes((0, 0, 1)) + bytes(18)), "wrong length or driver"),
        (encode.sysex(0x0B, bytes((2, 0, 1))), "wrong length"),
        (encode.sysex(0x0B, bytes((3, 0))), "wrong length"),
        (encode.sysex(0x0B, bytes((9, 0))), "unknown kind"),
        (move(5, 1000), "is not set"),
        (set_stepper(1000) + move(5, 6000), "too many edges"),
    ],
)
def test_what_is_wrong_is_refused(chip: Chip, order: bytes, reason: str) -> None:
    texts = [message.text for message in chip.ask(order) if isinstance(message, StringData)]
    assert any(reason in text for text in texts), texts
    assert steps(chip) == []


def test_a_mega_moves_two_at_once() -> None:
    chip = Chip(ROOT / "firmware/prebuilt/mlink_firmata-mega.hex", MEGA)
    for index, pins in enumerate(((4, 5), (6, 7))):
        first = fixed(TICK_HZ * math.sqrt(2 / 5000))
        driver = StepperDriver.STEP_DIRECTION
        chip.ask(chip_encode.set_stepper(index, driver, pins, first=first))
        chip.send(chip_encode.move_stepper(index, 300 * (1 - 2 * index), fixed(TICK_HZ / 1000)))
    chip.run_usec(700_000)
    ends = {end.index: (end.how, end.position) for end in reports(chip)}
    assert ends == {0: (StepperHow.ARRIVED, 300), 1: (StepperHow.ARRIVED, -300)}
    chip.board.close()
