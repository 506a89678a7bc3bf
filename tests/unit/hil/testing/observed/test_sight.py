"""What a test may have missed: every expectation that it could decide is inconclusive."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from mlink.errors import DeviceError
from mlink.tap import messages
from mlink.tap.account import StreamAccount
from mlink_hil.testing.bench import TestBench
from mlink_hil.testing.handles.cameras import Camera
from mlink_hil.testing.observed import history as test_history
from mlink_hil.testing.observed import sight as test_sight
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.observed.sight import Sight
from mlink_hil.testing.observed.tap_events import ItemEvents
from mlink_hil.testing.patterns import Bound
from mlink_hil.testing.verdicts import ExpectationFailed, Inconclusive

STREAM, LINE, OTHER, PIN = "board.fmdata", "board.fmdata.7", "board.fmdata.9", "uno.8"
PRESS = Event("uno.7", 1000, caused=True)


class Run:
    """A run whose tap has seen all up to `drained_usec`; item n of its stream was at n ms."""

    def __init__(self, *, alive=False, drained_usec=10**9) -> None:
        self.alive = alive
        self.slow = 1
        self.boards = {}
        self.history = History()
        self.account = StreamAccount(STREAM)
        self.tap = SimpleNamespace(
            accounts={STREAM: self.account},
            drained_usec=drained_usec,
            broken="",
            ended=threading.Event(),
            complete=True,
        )
        self._note = ItemEvents(self.history, lambda _stream: self.account.lost)
        self.ended_usec: int | None = None
        self.starved: dict[str, int] = {}
        self.seen_from: dict[str, int] = {}
        self.sight = Sight(self, self.seen_from)
        self.names = SimpleNamespace(frame_streams=list)
        if not alive:
            self.history.end()

    def item(self, number, channel=LINE, value=1) -> None:
        if self.account.note(number, number * 1000, number * 1000):
            line = int(channel.rpartition(".")[2])
            self._note(messages.Reading(STREAM, number, line, value, number * 1000), 0)

    def now_usec(self) -> int:
        return 10**9

    def to_usec(self, monotonic_ns: int) -> int:
        return monotonic_ns // 1000

    def processor_times(self):
        return {}

    def starved_usec(self, _since=None):
        return self.starved

    def let_run(self) -> None:
        pass

    def is_exact(self, _channel) -> bool:
        return False

    def check(self) -> None:
        pass


@pytest.fixture
def run():
    return Run()


@pytest.fixture
def bench(run):
    return TestBench(run)


def on(channel):
    return lambda _names: Bound(channel, lambda _event: True, f"edge on {channel}")


def all_expectations(bench, channel, *, within_usec=8000):
    """Return each expectation of exactly one event, as a call; `expect_rate` begins now."""
    return {
        "none": lambda: bench.expect_none(on(channel), for_usec=within_usec, after=PRESS),
        "one": lambda: bench.expect(on(channel), within_usec=within_usec, after=PRESS),
        "count": lambda: bench.expect_count(on(channel), 1, within_usec=within_usec, after=PRESS),
        "two": lambda: bench.expect_sequence(
            on(channel), on(channel), within_usec=within_usec, after=PRESS
        ),
    }


@pytest.mark.parametrize("kind", ["none", "one", "count", "two"])
def test_a_lost_item_leaves_every_expectation_open_that_it_could_decide(run, bench, kind):
    for number in (0, 1, *range(6, 11)):  # 2 to 5 are lost, perhaps of the line
        run.item(number, OTHER)
    with pytest.raises(Inconclusive, match=r"4 item\(s\) of board\.fmdata were lost on their way"):
        all_expectations(bench, LINE)[kind]()


def test_a_count_that_is_right_is_open_when_an_item_was_lost(run, bench):
    for number in (0, 2, 5, 10):
        run.item(number, LINE if number == 2 else OTHER)
    with pytest.raises(Inconclusive):
        bench.expect_count(on(LINE), 1, within_usec=8000, after=PRESS)
    assert len(bench.expect_count(on(LINE), at_least=1, within_usec=8000, after=PRESS)) == 1
    with pytest.raises(ExpectationFailed):  # that there are too many is sure
        bench.expect_count(on(LINE), 0, within_usec=8000, after=PRESS)
    with pytest.raises(Inconclusive, match="not every edge"):
        bench.events(on(LINE), after=PRESS)


def test_what_was_lost_outside_the_window_matters_nothing(run, bench):
    for number in (0, 1, 2, 3, 4, 9, 10):
        run.item(number, OTHER)
    assert bench.expect_none(on(LINE), for_usec=2500, after=PRESS) is None
    with pytest.raises(ExpectationFailed):
        bench.expect(on(LINE), within_usec=2500, after=PRESS)


def test_an_answer_after_a_loss_may_have_come_as_early_as_that(run, bench):
    for number in (0, 1, 2, 4):
        run.item(number, LINE if number == 4 else OTHER)
    answer = bench.expect(on(LINE), within_usec=8000, after=PRESS)
    assert str(answer.since(PRESS)) == "3000 µs (1000 to 3000)"
    with pytest.raises(Inconclusive):
        bench.measure("answer", answer.since(PRESS), at_most=2000)
    with pytest.raises(Inconclusive):
        bench.measure("answer", answer.since(PRESS), at_least=2000)


def test_an_answer_may_have_been_an_earlier_event_that_a_loss_before_the_window_leaves_open(
    run, bench
):
    run.item(0, LINE, 1)
    run.account.note_taken(2, 900, doubtful=False)  # item 1 is lost, surely before PRESS
    for number, value in ((2, 1), (3, 0), (4, 1)):
        run.item(number, LINE, value)

    def rising(_names):
        return Bound(LINE, lambda event: event.previous == 0 and event.value == 1, "rising")

    answer = bench.expect(rising, within_usec=8000, after=PRESS)
    assert str(answer.since(PRESS)) == "3000 µs (1000 to 3000)"  # item 2, if item 1 was a 0
    with pytest.raises(Inconclusive):
        bench.measure("answer", answer.since(PRESS), at_most=2000)


def test_the_first_edge_after_a_loss_is_open_however_late_it_comes(run, bench):
    run.item(0, LINE, 1)
    for number in range(2, 9):
        run.item(number, OTHER)  # item 1 may have been a 0 of the line
    run.item(9, LINE, 1)  # an edge, or none
    after = Event("now", 8500, caused=True)

    def edge(_names):
        return Bound(LINE, lambda event: event.previous == 0, "edge")

    with pytest.raises(Inconclusive, match=r"but one came 500 µs after it"):
        bench.expect_none(edge, for_usec=1000, after=after)
    with pytest.raises(Inconclusive):
        bench.expect(edge, within_usec=1000, after=after)
    assert bench.expect(on(LINE), within_usec=1000, after=after).value == 1


def test_a_queue_that_may_have_been_full_leaves_its_stream_open(run, bench):
    run.item(0, OTHER)
    run.account.note_taken(1, 9000, doubtful=True)
    with pytest.raises(Inconclusive, match="may have been lost: the tap's queue was full"):
        bench.expect_none(on(LINE), for_usec=2000, after=PRESS)


def test_a_tap_that_lags_behind_leaves_it_open(monkeypatch):
    monkeypatch.setattr(test_sight, "_LAG_SEC", 0.05)
    monkeypatch.setattr(test_sight, "_GRACE_SEC", 0.0)
    bench = TestBench(Run(alive=True, drained_usec=2000))
    with pytest.raises(Inconclusive, match=r"the tap of this run lags 1000 µs behind, after"):
        bench.expect_none(on(LINE), for_usec=2000, after=PRESS)
    assert bench.expect_none(on(LINE), for_usec=1000, after=PRESS) is None


def test_events_so_far_are_those_sent_up_to_now(monkeypatch):
    monkeypatch.setattr(test_sight, "_LAG_SEC", 0.05)
    run = Run(alive=True, drained_usec=10**9 - 1)
    run.item(0)
    run.item(1)
    with pytest.raises(Inconclusive, match=r"not every edge on .* is known: the tap of this run"):
        TestBench(run).events(on(LINE))
    run.tap.drained_usec += 1
    assert len(TestBench(run).events(on(LINE), after=PRESS)) == 1


def test_events_so_far_are_none_that_came_while_a_late_tap_was_waited_for(run, bench):
    run.item(0)
    asked_usec = 1500
    run.now_usec = lambda: asked_usec

    def catch_up(_channel):
        run.item(1)
        run.item(2)
        return ""

    run.sight.catch_up = catch_up
    assert [event.time_usec for event in bench.events(on(LINE), after=Event("x", 0))] == [0, 1000]


def test_what_waits_for_a_processor_may_still_be_on_its_way(monkeypatch):
    monkeypatch.setattr(test_sight, "_LAG_SEC", 0.05)
    monkeypatch.setattr(test_sight, "_GRACE_SEC", 0.0)
    run = Run(alive=True, drained_usec=4000)
    bench = TestBench(run)
    run.starved = {"ml:board": 1001, "ml:loop": 500}
    with pytest.raises(Inconclusive, match="lags"):
        bench.expect_none(on(LINE), for_usec=2000, after=PRESS)
    run.starved = {"ml:board": 1000, "ml:loop": 500}
    assert bench.expect_none(on(LINE), for_usec=2000, after=PRESS) is None


def test_a_link_that_broke_or_ended_early_leaves_it_open(run, bench):
    run.tap.drained_usec = 2000
    run.tap.broken = "the link broke"
    with pytest.raises(Inconclusive, match="the link broke"):
        bench.expect_none(on(LINE), for_usec=2000, after=PRESS)
    run.tap.broken = ""
    run.tap.ended.set()
    assert bench.expect_none(on(LINE), for_usec=2000, after=PRESS) is None
    run.tap.complete = False
    with pytest.raises(Inconclusive, match="ended without its last account"):
        bench.expect_none(on(LINE), for_usec=2000, after=PRESS)


def test_what_the_history_does_not_keep_is_not_seen(run, bench, monkeypatch):
    monkeypatch.setattr(test_history, "KEPT_EVENTS", 4)
    for number in range(6):
        run.item(number)
    # 0 and 1 are gone
    assert len(bench.expect_count(on(LINE), 3, within_usec=2000, after=Event("x", 2000))) == 3
    with pytest.raises(Inconclusive, match="only the newest events"):
        bench.expect_count(on(LINE), 4, within_usec=3000, after=PRESS)


def test_a_run_that_ended_before_the_time_was_over_shows_no_absence(run, bench):
    run.item(0, OTHER)
    run.ended_usec = 2500
    with pytest.raises(Inconclusive, match="the run ended 500 µs before the time was over"):
        bench.expect_none(on(LINE), for_usec=2000, after=PRESS)
    with pytest.raises(Inconclusive, match="the run ended 500 µs before"):
        bench.expect_count(on(LINE), at_most=1, within_usec=2000, after=PRESS)
    with pytest.raises(ExpectationFailed):  # but what did not come in the whole run did not come
        bench.expect(on(LINE), within_usec=2000, after=PRESS)
    assert bench.expect_none(on(LINE), for_usec=1500, after=PRESS) is None


def test_a_channel_that_was_not_watched_yet_is_not_seen(run, bench):
    run.seen_from[PIN] = 1500
    with pytest.raises(Inconclusive, match=r"uno\.8 was watched from 1500 µs on only"):
        bench.expect_none(on(PIN), for_usec=2000, after=PRESS)
    assert bench.expect_none(on(PIN), for_usec=2000, after=Event("x", 1500)) is None


@pytest.mark.parametrize("lives", [True, False])
def test_a_board_whose_program_runs_on_without_its_link_is_not_seen(lives):
    def barrier():
        raise DeviceError("no answer")

    run = Run(alive=True)
    run.boards["uno"] = SimpleNamespace(
        barrier=barrier,
        simulated_on=lambda: lives,
        stats=lambda: SimpleNamespace(slip_usec=0),
    )
    bench = TestBench(run)
    if lives:
        with pytest.raises(Inconclusive, match=r"uno\.8 is not watched any more: no answer"):
            bench.expect_none(on(PIN), for_usec=2000, after=PRESS)
    else:
        assert bench.expect_none(on(PIN), for_usec=2000, after=PRESS) is None


@pytest.mark.parametrize(("lost", "hz"), [(0, 10), (1, 10), (1, 12), (1, 5)])
def test_a_rate_with_a_lost_item_is_open(run, lost, hz):
    run.now_usec = lambda: 1000
    run.to_usec = lambda _ns: 1000
    for number in range(12):
        if number != 5 or not lost:
            run.account.note(number, number * 100_000, number * 100_000)
            run.history.add([Event(LINE, number * 100_000, number)])
    run.now_usec = lambda: 2_000_000
    bench = TestBench(run)
    if not lost:
        assert bench.expect_rate(on(LINE), 10) == pytest.approx(10)
        return
    with pytest.raises(Inconclusive, match="were lost"):
        bench.expect_rate(on(LINE), hz)


def test_a_picture_that_was_not_kept_may_have_shown_it():
    run = Run(alive=True)
    run.history.add([Event("cam.video", 2000, 0), Event("cam.video", 9000, 1)])
    run.tap.fetch = lambda _stream, _index: None
    camera = Camera(run, "cam.video", TestBench(run).fail)
    with pytest.raises(Inconclusive, match=r"1 frame\(s\) were not kept"):
        camera.wait_picture(lambda _pixels: False, within_usec=5000, after=PRESS)
