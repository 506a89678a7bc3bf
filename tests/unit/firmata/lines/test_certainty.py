"""Times that were less certain than the stream of readings states are noticed and reported."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlink_drivers.firmata.catalog import FirmataSettings, firmata_io
from mlink_drivers.firmata.lines.certainty import ClockCertainty
from tests.support.fake_context import FakeContext


class Clock:
    """A chip's clock whose errors a test sets."""

    is_set = True
    rate_ppm = 1.5
    exchanges = 100

    def __init__(self):
        self.mistake_usec = 0

    def take_mistake_usec(self):
        mistake, self.mistake_usec = self.mistake_usec, 0
        return mistake


class Bench:
    """A board in a run whose stream states 200 µs."""

    def __init__(self, tmp_path):
        self.clock = Clock()
        self.chip = SimpleNamespace(clock=self.clock, uncertainty_usec=150)
        self.context = FakeContext(firmata_io, FirmataSettings(), tmp_path, name="board")
        self.context.outputs["fmdata"].metadata["uncertainty_usec"] = 200
        self.events = []
        self.certainty = ClockCertainty(
            self.context, self.chip, lambda event, detail: self.events.append((event, detail))
        )

    def look(self, uncertainty_usec=150, mistake_usec=0):
        self.chip.uncertainty_usec, self.clock.mistake_usec = uncertainty_usec, mistake_usec
        self.certainty.look(self.clock)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_times_as_stated_are_no_event(bench, caplog):
    bench.certainty.start()
    for uncertainty_usec in (150, 200, 999):
        bench.look(uncertainty_usec)
    bench.certainty.report()
    assert bench.events == []
    assert bench.context.hints == []
    assert bench.context.reports == {"board_clock_ppm": 1.5, "board_clock_uncertainty_usec": 999}
    assert caplog.text == ""


@pytest.mark.parametrize("error", [{"uncertainty_usec": 51_000}, {"mistake_usec": 51_000}])
def test_less_certain_times_are_a_warning_events_and_a_hint(bench, caplog, error):
    bench.certainty.start()
    bench.look(**error)
    bench.look(**error)
    bench.look()
    bench.look(mistake_usec=30_000)
    bench.certainty.report()
    assert [event for event, _ in bench.events] == [
        "clock-uncertain",
        "clock-certain",
        "clock-uncertain",
    ]
    assert "51000 µs, not by 200 as stated" in bench.events[0][1]
    assert "51000 µs" in bench.events[1][1]
    (hint,) = bench.context.hints
    assert "51000 µs" in hint
    assert "200 µs" in hint
    reports = bench.context.reports
    assert reports["board_clock_uncertainty_max_usec"] == 51_000
    assert reports["board_clock_uncertain_times"] == 2
    assert caplog.text.count("can be wrong by") == 1


def test_what_was_before_the_start_does_not_count(bench):
    bench.look(mistake_usec=51_000)
    bench.clock.mistake_usec = 51_000
    bench.certainty.start()
    bench.look()
    assert bench.events == []


def test_the_first_exchanges_of_a_board_that_is_back_do_not_count(bench):
    bench.certainty.start()
    bench.clock.exchanges = 3
    bench.look(uncertainty_usec=9000)
    bench.clock.exchanges = 8
    bench.look()
    assert bench.events == []
