"""Pulses end on time, many at once, and commands in between are obeyed."""

from __future__ import annotations

import threading
import time

import pytest

from mlink.waiting import ServiceLoop
from mlink_drivers.firmata.lines.pulses import PulseTimer
from tests.support.manual_waiting import ManualWaiting


class Lines:
    """Keeps what was written to each line, and when."""

    def __init__(self):
        self.writes = []
        self.changed = threading.Condition()
        self.errors = []

    def write(self, line, value):
        with self.changed:
            self.writes.append((line, value, time.monotonic()))
            self.changed.notify_all()

    def values(self, line):
        return [value for number, value, _ in self.writes if number == line]

    def wait_for_values(self, line, values, timeout=60.0):
        with self.changed:
            assert self.changed.wait_for(lambda: self.values(line) == values, timeout), self.writes

    def width(self, line):
        times = [at for number, _, at in self.writes if number == line]
        return times[-1] - times[0]


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def timer(lines):
    with ServiceLoop("pulses") as loop:
        timer = PulseTimer(lines.write, loop, on_error=lines.errors.append)
        yield timer
        timer.close()


def test_a_pulse_ends_after_its_duration(lines, timer):
    timer.pulse(13, 1, 20_000)
    assert lines.values(13) == [1]
    lines.wait_for_values(13, [1, 0])
    assert 0.020 <= lines.width(13) < 0.120
    assert not timer.is_active(13)


def test_starting_a_pulse_does_not_wait_for_its_end(lines, timer):
    began = time.monotonic()
    timer.pulse(13, 1, 10_000_000)
    assert time.monotonic() - began < 1


def test_many_pulses_run_at_once_and_end_in_the_order_of_their_deadlines(lines):
    waiting = ManualWaiting()
    timer = PulseTimer(lines.write, waiting, on_error=lines.errors.append)
    for line in range(20):
        timer.pulse(line, 1, 200_000 - line * 5_000)
    waiting.advance(0.2)
    ends = [line for line, value, _ in lines.writes if value == 0]
    assert ends == list(reversed(range(20)))


def test_a_second_pulse_on_the_line_extends_the_first(lines, timer):
    timer.pulse(13, 1, 50_000)
    time.sleep(0.02)
    timer.pulse(13, 1, 100_000)
    lines.wait_for_values(13, [1, 1, 0])
    assert lines.width(13) >= 0.119


def test_a_shorter_second_pulse_does_not_cut_the_first_short(lines, timer):
    timer.pulse(13, 1, 80_000)
    timer.pulse(13, 1, 1_000)
    lines.wait_for_values(13, [1, 1, 0])
    assert lines.width(13) >= 0.080


def test_a_write_during_a_pulse_is_final(lines, timer):
    timer.pulse(13, 1, 30_000)
    timer.write(13, 1)
    timer.pulse(12, 1, 30_000)
    lines.wait_for_values(12, [1, 0])  # ends after the other would have: it began later
    assert lines.values(13) == [1, 1]


def test_ending_all_takes_every_line_to_rest_at_once(lines, timer):
    timer.pulse(2, 1, 60_000_000)
    timer.pulse(3, 200, 60_000_000, rest_value=7)
    timer.end_all()
    assert lines.values(2) == [1, 0]
    assert lines.values(3) == [200, 7]


def test_a_failing_end_is_reported_and_the_other_pulses_still_end(lines):
    def write(line, value):
        if (line, value) == (2, 0):
            raise OSError("line 2 is gone")
        lines.write(line, value)

    with ServiceLoop("pulses") as loop:
        timer = PulseTimer(write, loop, on_error=lines.errors.append)
        timer.pulse(2, 1, 5_000)
        timer.pulse(3, 1, 20_000)
        lines.wait_for_values(3, [1, 0])
    assert [str(error) for error in lines.errors] == ["line 2 is gone"]


def test_after_closing_a_running_pulse_is_not_ended(lines, timer):
    timer.pulse(2, 1, 1_000)
    timer.close()
    other = PulseTimer(lines.write, timer._waiting, on_error=lines.errors.append)
    other.pulse(3, 1, 20_000)
    lines.wait_for_values(3, [1, 0])
    assert lines.values(2) in ([1], [1, 0])  # [1, 0] if it ended before it was closed


def test_a_pulse_that_is_renewed_for_ever_keeps_a_limited_number_of_commands():
    waiting, ended = ManualWaiting(), []
    writes = []
    timer = PulseTimer(
        lambda line, value: writes.append(value), waiting, on_error=print, on_ended=ended.append
    )
    for _ in range(3000):
        timer.pulse(8, 1, 1_000_000)
    assert waiting.pending == 1
    assert len(ended) == 2000  # each command has its row
    waiting.advance(2)
    assert len(ended) == 3000
    assert writes[-1] == 0
    assert not timer.is_active(8)
