"""The delays of a board's commands and pulses, and the intervals that were not kept."""

from __future__ import annotations

from mlink.types import LineCommand, LineCommandKind
from mlink_drivers.firmata.chip.pulse_times import PulseTimes
from mlink_drivers.firmata.lines.output.punctuality import Punctuality

MS = 1_000_000


def write(line, value=1):
    return LineCommand(LineCommandKind.WRITE_DIGITAL, line, value)


def pulse(due, first_edge):
    return PulseTimes(8, 500, due, due, 0, "chip", first_edge, first_edge + 500, due)


def test_two_writes_that_waited_in_a_queue_are_a_warning():
    warnings = []
    times = Punctuality(warnings.append)
    times.sent(write(8), 100 * MS, 198 * MS)
    times.sent(write(9), 110 * MS, 198 * MS)
    times.sent(write(8, 0), 150 * MS, 198 * MS)
    assert warnings == [
        "line 8: commands 50.0 ms apart were sent 0.0 ms apart (1 interval(s) not kept so far)"
    ]
    figures = times.figures()
    assert figures["commands_late"] == 3
    assert figures["command_late_max_usec"] == 98_000
    assert figures["intervals_not_kept"] == 1


def test_writes_that_were_all_late_by_the_same_time_kept_their_intervals():
    warnings = []
    times = Punctuality(warnings.append)
    for at in range(0, 500, 50):
        times.sent(write(8), at * MS, (at + 40) * MS)
    assert warnings == []
    assert times.figures()["commands_late"] == 10
    assert "intervals_not_kept" not in times.figures()


def test_modes_have_no_interval():
    warnings = []
    times = Punctuality(warnings.append)
    mode = LineCommand(LineCommandKind.SET_MODE, 8)
    times.sent(mode, 0, 30 * MS)
    times.sent(write(8), 30 * MS, 30 * MS)
    assert warnings == []


def test_a_pulse_of_the_host_that_was_too_long_is_a_warning():
    warnings = []
    times = Punctuality(warnings.append)
    times.made_by_host(8, 50 * MS, 52 * MS)
    times.made_by_host(8, 50 * MS, 63 * MS)
    assert warnings == ["line 8: a pulse of 50.0 ms lasted 63.0 ms (1 interval(s) not kept so far)"]
    assert times.figures() == {"intervals_not_kept": 1}


def test_the_chip_gives_the_time_of_the_edge():
    times = Punctuality(lambda _: None)
    times.made_by_chip(pulse(100 * MS, 100 * MS + 300_000))
    times.made_by_chip(pulse(100 * MS, 0))  # the chip reported no edge
    times.made_by_chip(pulse(100 * MS, 40 * MS))  # a part of a pulse that had begun before
    assert times.figures() == {
        "pulse_late_p50_usec": 296,
        "pulse_late_p99_usec": 296,
        "pulse_late_max_usec": 300,
        "pulses_late": 0,
    }
