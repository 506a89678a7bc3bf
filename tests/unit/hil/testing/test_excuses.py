"""What a busy or slow host explains, and what it does not."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from mlink_hil.testing.excuses import HostExcuses
from mlink_hil.testing.handles.measurements import Measurement
from mlink_hil.testing.observed.events import Event, Window
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.patterns import Bound
from mlink_hil.testing.verdicts import Verdict
from tests.support.sights import ALL_SEEN

PRESS = Event("uno.7", 0, caused=True)
WINDOW = Window(PRESS, 0, 10_000)
CAMERA = "cam.video"


class Run:
    """A run that is over, of whose processes some have waited; `slip_usec` is of its board."""

    def __init__(self, waits=None, events=(), *, slip_usec=None) -> None:
        self.waits = waits or {}
        self.alive = False
        self.time_usec = 0
        self.slip_usec = 0.0
        self.history = History()
        self.history.add(events)
        self.history.end()
        self.names = SimpleNamespace(frame_streams=lambda: [CAMERA])
        board = SimpleNamespace(stats=lambda: SimpleNamespace(slip_usec=self.slip_usec))
        self.boards = {} if slip_usec is None else {"uno": board}
        self.sight = ALL_SEEN
        self.exact: set[str] = set()
        self._counted = False
        self.excuses = HostExcuses(self)
        self.slip_usec = slip_usec

    def now_usec(self) -> int:
        return self.time_usec

    def processor_times(self):
        return {}

    def let_run(self) -> None:
        self._counted = True

    def starved_usec(self, _since=None):
        # the kernel counts a wait when it is over
        return self.waits if self._counted else {}

    def is_exact(self, channel: str) -> bool:
        return channel in self.exact

    def check(self) -> None:
        pass

    def of_lateness(self, channel="uno.8") -> str:
        bound = Bound(channel, lambda event: event.value == 1, f"edge on {channel}")
        return self.excuses.of_lateness(
            bound, WINDOW, lambda found: found.some() is not Verdict.FAIL
        )


def beyond(unit, excess=1):
    """Return a measurement that is so much above its limit."""
    return Measurement.judge("it", excess, unit, None, 0)


def late(usec):
    return [Event("uno.8", 10_000 + usec, 1)]


def test_on_a_real_bench_nothing_is_explained():
    run = Run(events=late(100))
    assert run.of_lateness() == ""
    assert run.excuses.of_gaps({}, 1) == ""
    assert run.excuses.of_measurement(beyond("µs"), exact=False) == ""


def test_an_event_that_was_late_by_less_than_the_wait_is_explained_by_it():
    run = Run({"ml:loop": 3000, "ml:cam": 0, "ml:board": 1000}, late(4000))
    assert run.of_lateness() == (
        "\nbut this machine was busy; processes waited for a processor: "
        "ml:loop 3000 µs, ml:board 1000 µs"
    )


def test_an_event_that_was_later_than_the_wait_is_late():
    assert Run({"ml:loop": 3000, "ml:board": 1000}, late(4001)).of_lateness() == ""


def test_an_event_that_never_came_is_not_explained():
    assert Run({"ml:loop": 3000}).of_lateness() == ""


@pytest.mark.parametrize(("wait_usec", "explained"), [(499, False), (500, True)])
def test_a_short_wait_explains_nothing(wait_usec, explained):
    assert bool(Run({"ml:loop": wait_usec}, late(100)).of_lateness()) is explained


def test_a_wait_that_grows_while_it_is_looked_at_counts():
    run = Run({"ml:loop": 3000}, late(5000))
    waits = iter([{"ml:loop": 3000}, {"ml:loop": 6000}])
    run.starved_usec = lambda _since=None: next(waits)
    assert "ml:loop 6000 µs" in run.of_lateness()


def frames(*times_usec):
    """Return dark frames, each with the time since the one before as its lower bound."""
    pairs = itertools.pairwise(times_usec)
    return [Event(CAMERA, end, 0, early_usec=end - begin) for begin, end in pairs]


@pytest.mark.parametrize(
    ("times_usec", "wait_usec", "explained"),
    [
        ((0, 2000, 4000, 8000, 10_000), 1000, True),  # a frame is missing: 2 ms were not seen
        ((0, 2000, 4000, 8000, 10_000), 999, False),  # that was not the host's wait
        ((0, 2000, 4000, 6000, 8000, 10_000), 1000, False),  # all was seen
        ((0, 2000, 4000, 6800, 8800), 1000, False),  # one frame was late, none is missing
    ],
)
def test_a_light_that_a_starved_camera_cannot_have_seen_is_explained(
    times_usec, wait_usec, explained
):
    run = Run({"ml:cam": wait_usec}, frames(*times_usec))
    assert bool(run.of_lateness(CAMERA)) is explained


def test_a_missing_frame_explains_nothing_about_a_line():
    events = [Event("uno.8", e.time_usec, 0, early_usec=e.early_usec) for e in frames(0, 2, 9)]
    assert Run({"ml:cam": 1000}, events).of_lateness() == ""


def test_a_board_that_was_not_simulated_in_real_time_explains_all():
    run = Run(slip_usec=2500)
    text = "\nbut this machine was too slow to simulate in real time: uno gave up 2.5 ms"
    assert run.of_lateness() == text
    assert run.excuses.of_measurement(beyond("V"), exact=False) == text
    assert Run(slip_usec=0).of_lateness() == ""


@pytest.mark.parametrize(
    ("unit", "test_usec", "wait_usec", "explained"),
    [
        ("ms", 1_000_000, 250_000, True),  # a quarter of the test's time
        ("ms", 1_000_000, 249_999, False),
        ("ms", 1000, 4999, False),  # never less than 5 ms
        ("ms", 1000, 5000, True),
        ("Hz", 1_000_000, 250_000, True),
        ("V", 1_000_000, 250_000, False),
    ],
)
def test_a_measurement_of_time_is_spoiled_by_long_waits(unit, test_usec, wait_usec, explained):
    run = Run({"ml:loop": wait_usec})
    run.time_usec = test_usec
    assert bool(run.excuses.of_measurement(beyond(unit), exact=False)) is explained


@pytest.mark.parametrize(("least_usec", "explained"), [(4000, True), (4001, False)])
def test_gaps_are_explained_by_waits_as_long(least_usec, explained):
    run = Run({"ml:loop": 3000, "ml:board": 1000})
    assert bool(run.excuses.of_gaps({}, least_usec)) is explained


@pytest.mark.parametrize(("wait_usec", "kept_usec"), [(3000, 3000), (9000, 8000)])
def test_an_answer_carries_the_wait_but_never_more_than_its_own_time(wait_usec, kept_usec):
    run = Run({"ml:loop": wait_usec})
    run.let_run()
    answer = run.excuses.with_wait(Event("uno.8", 8000, 1), PRESS)
    assert answer.waited_usec == kept_usec


# what a busy host cannot have moved -------------------------------------------------------------


@pytest.mark.parametrize(("excess_ms", "explained"), [(300, True), (301, False)])
def test_waits_explain_no_longer_time_than_they_took(excess_ms, explained):
    run = Run({"ml:loop": 300_000})
    run.time_usec = 1_000_000
    found = run.excuses.of_measurement(beyond("ms", excess_ms), exact=False)
    assert bool(found) is explained


def test_waits_explain_nothing_of_simulated_hardware_alone():
    run = Run({"ml:loop": 300_000}, late(1000))
    run.time_usec = 1_000_000
    assert run.excuses.of_measurement(beyond("ms", 150), exact=True) == ""
    exact = Event("uno.7", 0, caused=True, exact=True)
    answer = Event("uno.8", 8000, 1, exact=True)
    assert run.excuses.with_wait(answer, exact).waited_usec == 0
    run.exact = {"uno.8"}
    bound = Bound("uno.8", lambda event: event.value == 1, "edge")
    window = Window(exact, 0, 10_000)
    assert run.excuses.of_lateness(bound, window, lambda found: bool(found.sure)) == ""
    assert answer.since(exact).exact
    assert not answer.since(PRESS).exact


@pytest.mark.parametrize(("late_usec", "explained"), [(2500, True), (2501, False)])
def test_a_slow_simulation_explains_an_exact_event_as_late_as_it_gave_up(late_usec, explained):
    run = Run({"ml:loop": 300_000}, late(late_usec), slip_usec=2500)
    run.exact = {"uno.8"}
    bound = Bound("uno.8", lambda event: event.value == 1, "edge")
    window = Window(Event("uno.7", 0, caused=True, exact=True), 0, 10_000)
    found = run.excuses.of_lateness(bound, window, lambda found: bool(found.sure))
    assert bool(found) is explained


@pytest.mark.parametrize(("excess_ms", "explained"), [(2, True), (3, False)])
def test_a_slow_simulation_explains_of_an_exact_time_what_it_gave_up(excess_ms, explained):
    run = Run(slip_usec=2500)
    found = run.excuses.of_measurement(beyond("ms", excess_ms), exact=True)
    assert bool(found) is explained
