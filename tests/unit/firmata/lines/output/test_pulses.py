"""Pulses end on time, many at once, and commands in between are obeyed."""

from __future__ import annotations

import threading

import pytest

from mlink.waiting import ServiceLoop
from mlink_drivers.firmata.lines.output.pulses import PulseTimer
from tests.support.manual_waiting import ManualWaiting


class Lines:
    """Keeps what was written to each line, and when, in s of its `Waiting`."""

    def __init__(self, waiting=None):
        self.waiting = waiting or ManualWaiting()
        self.writes = []
        self.changed = threading.Condition()
        self.errors = []

    def write(self, line, value):
        with self.changed:
            self.writes.append((line, value, self.waiting.now_ns() / 1e9))
            self.changed.notify_all()

    def values(self, line):
        return [value for number, value, _ in self.writes if number == line]

    def width(self, line):
        times = [at for number, _, at in self.writes if number == line]
        return pytest.approx(times[-1] - times[0])


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def timer(lines):
    return PulseTimer(lines.write, lines.waiting, on_error=lines.errors.append)


def test_a_pulse_ends_after_its_duration(lines, timer):
    timer.pulse(13, 1, 20_000)
    assert lines.values(13) == [1]
    lines.waiting.advance(1)
    assert lines.values(13) == [1, 0]
    assert lines.width(13) == 0.020
    assert not timer.is_active(13)


def test_a_pulse_does_not_wait_for_its_end_and_a_thread_ends_it_no_earlier():
    with ServiceLoop("pulses") as loop:
        lines = Lines(loop)
        timer = PulseTimer(lines.write, loop, on_error=lines.errors.append)
        with lines.changed:  # the end waits until this is left
            timer.pulse(13, 1, 20_000)
            assert lines.values(13) == [1]
            assert lines.changed.wait_for(lambda: lines.values(13) == [1, 0], 60)
        (_, _, began), (_, _, ended) = lines.writes
        assert ended - began >= 0.01999
        timer.close()


def test_many_pulses_run_at_once_and_end_in_the_order_of_their_deadlines(lines, timer):
    for line in range(20):
        timer.pulse(line, 1, 200_000 - line * 5_000)
    lines.waiting.advance(0.2)
    ends = [line for line, value, _ in lines.writes if value == 0]
    assert ends == list(reversed(range(20)))


def test_a_second_pulse_on_the_line_extends_the_first(lines, timer):
    timer.pulse(13, 1, 50_000)
    lines.waiting.advance(0.02)
    timer.pulse(13, 1, 100_000)
    lines.waiting.advance(1)
    assert lines.values(13) == [1, 1, 0]
    assert lines.width(13) == 0.120


def test_a_shorter_second_pulse_does_not_cut_the_first_short(lines, timer):
    timer.pulse(13, 1, 80_000)
    timer.pulse(13, 1, 1_000)
    lines.waiting.advance(1)
    assert lines.values(13) == [1, 1, 0]
    assert lines.width(13) == 0.080


def test_a_write_during_a_pulse_is_final(lines, timer):
    timer.pulse(13, 1, 30_000)
    timer.write(13, 1)
    lines.waiting.advance(1)
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

    timer = PulseTimer(write, lines.waiting, on_error=lines.errors.append)
    timer.pulse(2, 1, 5_000)
    timer.pulse(3, 1, 20_000)
    lines.waiting.advance(1)
    assert lines.values(3) == [1, 0]
    assert [str(error) for error in lines.errors] == ["line 2 is gone"]


def test_after_closing_a_running_pulse_is_not_ended(lines, timer):
    timer.pulse(2, 1, 1_000)
    timer.close()
    lines.waiting.advance(1)
    assert lines.values(2) == [1]


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
