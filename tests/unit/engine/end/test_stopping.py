"""The stop ladder: whose time runs, what extends it, and the steps that end a worker."""

from __future__ import annotations

import os
import signal

import pytest

from mlink.control import InputCount
from mlink.engine import workers
from mlink.engine.end import drain, stopping
from mlink.engine.end.stopping import StopLadder
from mlink.engine.plan import Edge
from mlink.engine.stalls.place import Place
from mlink.engine.workers import State
from tests.support.engine_fakes import FakeClock, FakeWorker

GRACE_S = 5.0
PID = 4711


class Stage:
    """A ladder over fake workers, with a clock that the test sets."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.workers: dict[str, FakeWorker] = {}
        self.logs: list[tuple[str, str]] = []
        self.signals: list[signal.Signals] = []
        self.disk_is_busy = False
        self.in_item = False
        self.starved_s = 0.0
        self.edges: list[Edge] = []
        self.ladder: StopLadder | None = None

    def add(self, name: str, state: State = State.STARTED) -> FakeWorker:
        worker = self.workers[name] = FakeWorker(name, state)
        worker.handle.pid = PID
        return worker

    def overdue(self, *names: str) -> list[str]:
        """Ask the ladder about these workers, all without names; return who is newly overdue."""
        handles = {name: worker.handle for name, worker in self.workers.items()}
        if self.ladder is None:
            self.ladder = StopLadder(
                self.edges,
                handles,
                GRACE_S,
                lambda w, text: self.logs.append((w.name, text)),
                lambda _: Place("it stands at loop.py:3", self.in_item),
            )
        waiting = [handles[name] for name in names or handles]
        return [worker.name for worker in self.ladder.overdue(waiting)]

    def after(self, seconds: float) -> list[str]:
        self.clock.now += seconds
        return self.overdue()


@pytest.fixture
def stage(monkeypatch):
    clock = FakeClock()
    stage = Stage(clock)

    class FakeDiskWait:
        def __init__(self, pid: int) -> None:
            assert pid == PID

        def busy(self) -> bool:
            return stage.disk_is_busy

    for timed in (stopping, drain):
        monkeypatch.setattr(timed, "monotonic", clock.monotonic)
    monkeypatch.setattr(stopping, "processor_wait_s", lambda _pid: stage.starved_s)
    monkeypatch.setattr(stopping, "DiskWait", FakeDiskWait)
    monkeypatch.setattr(workers, "time", clock)
    monkeypatch.setattr(os, "kill", lambda _pid, number: stage.signals.append(number))
    yield stage
    for worker in stage.workers.values():
        worker.close()


def test_each_rung_comes_at_its_time_and_only_once(stage):
    stage.add("slow")
    assert stage.overdue() == []  # its time begins
    assert stage.after(GRACE_S - 0.01) == []
    assert stage.signals == []
    assert stage.after(0.01) == ["slow"]
    assert stage.signals == [signal.SIGINT]
    assert stage.after(1.99) == []
    assert stage.signals == [signal.SIGINT]
    assert stage.after(0.01) == []
    assert stage.signals == [signal.SIGINT, signal.SIGTERM]
    assert stage.after(1.99) == []
    assert stage.signals == [signal.SIGINT, signal.SIGTERM]
    assert stage.after(0.01) == []
    assert stage.signals == [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    assert stage.after(1000) == []
    assert stage.signals == [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


def test_each_rung_is_logged_with_its_signal(stage):
    stage.add("slow")
    for _ in range(5):
        stage.after(GRACE_S)
    assert [name for name, _ in stage.logs] == ["slow"] * 3
    for (_, text), (verb, name) in zip(
        stage.logs,
        [("interrupting", "SIGINT"), ("terminating", "SIGTERM"), ("killing", "SIGKILL")],
        strict=True,
    ):
        assert verb in text
        assert text.endswith(": it stands at loop.py:3")
        assert name in text


def test_the_rung_of_a_worker_is_counted(stage):
    handle = stage.add("slow").handle
    rungs = []
    for _ in range(6):
        stage.after(GRACE_S)
        rungs.append(handle.rung)
    assert rungs == [0, 1, 2, 3, 3, 3]


def test_only_the_worker_that_hangs_is_ended(stage):
    stage.add("slow")
    good = stage.add("good")
    stage.overdue()
    for second in range(1, 11):
        good.handle.received = {"in": InputCount(second, 0)}
        newly = stage.after(1.0)
        assert newly == (["slow"] if second == 5 else [])
    assert good.handle.rung == 0


def test_time_runs_only_when_all_sources_have_ended(stage):
    for name in ("first", "second"):
        stage.add(name)
    stage.add("sink")
    stage.edges += [
        Edge("first", "out", "sink", "a", None, feedback=False),
        Edge("second", "out", "sink", "b", None, feedback=False),
    ]
    stage.overdue("sink")
    stage.clock.now += 100
    stage.workers["first"].handle.advance(State.ENDED)
    assert stage.overdue("sink") == []
    assert stage.workers["sink"].handle.deadline is None
    stage.workers["second"].handle.advance(State.ENDED)
    assert stage.overdue("sink") == []  # its time begins
    stage.clock.now += GRACE_S - 0.01
    assert stage.overdue("sink") == []
    stage.clock.now += 0.01
    assert stage.overdue("sink") == ["sink"]


def test_a_feedback_source_is_waited_for_only_once_the_own_streams_have_ended(stage):
    loop = stage.add("loop")
    stage.add("board")
    stage.edges.append(Edge("loop", "out", "board", "in", None, feedback=False))
    stage.edges.append(Edge("board", "out", "loop", "in", None, feedback=True))
    stage.overdue("loop")
    assert loop.handle.deadline is not None
    loop.handle.advance(State.ENDED)
    stage.overdue("loop")
    assert loop.handle.deadline is None
    stage.workers["board"].handle.advance(State.ENDED)
    stage.overdue("loop")
    assert loop.handle.deadline == stage.clock.now + GRACE_S


def test_a_module_that_feeds_itself_does_not_wait_for_itself(stage):
    stage.add("echo")
    stage.edges.append(Edge("echo", "out", "echo", "in", None, feedback=False))
    stage.overdue()
    assert stage.after(GRACE_S) == ["echo"]


def test_sources_of_other_modules_are_not_waited_for(stage):
    for name in ("source", "other", "sink"):
        stage.add(name)
    stage.edges.append(Edge("source", "out", "sink", "a", None, feedback=False))
    stage.edges.append(Edge("other", "out", "sink", "b", None, feedback=False))
    stage.overdue("source")
    stage.clock.now += GRACE_S
    assert stage.overdue("source") == ["source"]


def test_a_failed_worker_waits_for_no_source(stage):
    stage.add("source")
    sink = stage.add("sink")
    sink.handle.failed = True
    stage.edges.append(Edge("source", "out", "sink", "in", None, feedback=False))
    stage.overdue("sink")
    stage.clock.now += GRACE_S
    assert stage.overdue("sink") == ["sink"]


@pytest.mark.parametrize(
    "progress",
    [
        lambda handle: handle.received.update({"in": InputCount(1, 0)}),
        lambda handle: handle.advance(State.ENDED),
    ],
    ids=["item", "state"],
)
def test_progress_gives_new_time(stage, progress):
    handle = stage.add("sink").handle
    stage.overdue()
    stage.after(1.0)  # from here on progress is measured
    progress(handle)
    assert stage.after(GRACE_S) == []
    assert stage.after(GRACE_S - 0.01) == []
    assert stage.after(0.01) == ["sink"]


def test_the_first_count_is_no_progress(stage):
    handle = stage.add("sink").handle
    handle.received = {"in": InputCount(100, 0)}
    stage.overdue()
    assert stage.after(GRACE_S) == ["sink"]


def test_progress_after_the_interrupt_does_not_stop_the_ladder(stage):
    handle = stage.add("sink").handle
    stage.overdue()
    stage.after(GRACE_S)
    for count in range(1, 5):
        handle.received = {"in": InputCount(count, 0)}
        stage.after(0.5)
    assert stage.signals == [signal.SIGINT, signal.SIGTERM]


def test_a_slow_disk_gives_time_up_to_its_limit(stage):
    stage.add("recorder")
    stage.disk_is_busy = True
    stage.overdue()
    seconds = 0.0
    while stage.signals == []:
        stage.after(1.0)
        seconds += 1.0
    limit_s = 24 * GRACE_S
    assert limit_s <= seconds <= limit_s + GRACE_S + 1


def test_a_slow_disk_is_logged_once_and_not_before_the_grace_is_over(stage):
    stage.add("recorder")
    stage.disk_is_busy = True
    stage.overdue()
    for _ in range(6):
        stage.after(1.0)
    assert stage.logs == []
    for _ in range(50):
        stage.after(1.0)
    ((name, text),) = stage.logs
    assert name == "recorder"
    assert "120 s" in text


def test_a_disk_that_comes_to_rest_leaves_the_grace_time(stage):
    stage.add("recorder")
    stage.disk_is_busy = True
    stage.overdue()
    for _ in range(20):
        stage.after(1.0)
    stage.disk_is_busy = False
    assert stage.after(GRACE_S - 0.01) == []
    assert stage.after(0.01) == ["recorder"]


def test_the_time_at_the_disk_is_counted_anew_after_progress(stage):
    handle = stage.add("recorder").handle
    stage.disk_is_busy = True
    stage.overdue()
    for _ in range(100):
        stage.after(1.0)
    handle.received = {"in": InputCount(1, 0)}
    for _ in range(100):
        stage.after(1.0)
    assert stage.signals == []


def test_the_disk_does_not_hold_up_the_steps_after_the_interrupt(stage):
    stage.add("recorder")
    stage.overdue()
    stage.after(GRACE_S)
    stage.disk_is_busy = True
    stage.after(2.0)
    stage.after(2.0)
    assert stage.signals == [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


def test_a_worker_without_a_process_is_at_no_disk(stage):
    stage.add("unborn").handle.pid = 0
    stage.disk_is_busy = True
    stage.overdue()
    assert stage.after(GRACE_S) == ["unborn"]
    assert stage.signals == []


def test_the_last_step_of_a_worker_is_noticed_at_the_look_after_it(stage):
    """The engine was starved: the worker's Finished comes with the look at which it is overdue."""
    handle = stage.add("loop").handle
    stage.overdue()
    stage.clock.now += 10 * GRACE_S
    handle.advance(State.FINISHED)
    assert stage.overdue() == []
    assert stage.signals == []


def test_the_time_for_an_item_is_that_of_the_slowest_so_far(stage):
    handle = stage.add("slow").handle
    handle.slowest_item_s = 8.0
    stage.overdue()
    assert stage.after(23.9) == []
    assert stage.after(0.1) == ["slow"]
    hung = stage.add("hung").handle
    hung.slowest_item_s = 3600.0
    stage.overdue("hung")
    stage.clock.now += 24 * GRACE_S
    assert stage.overdue("hung") == ["hung"]


def test_a_worker_in_its_first_item_has_four_times_the_grace(stage):
    stage.add("loads")
    stage.in_item = True
    stage.overdue()
    assert stage.after(GRACE_S) == []
    ((_, text),) = stage.logs
    assert "still handles one item: it stands at loop.py:3; waiting 15 s more" in text
    assert stage.after(3 * GRACE_S - 0.1) == []
    assert stage.signals == []
    assert stage.after(0.1) == ["loads"]
    assert stage.signals == [signal.SIGINT]


def test_each_item_has_this_time_anew(stage):
    worker = stage.add("loads")
    worker.handle.received = {"in": InputCount(1, 0)}
    stage.in_item = True
    stage.overdue()
    for number in range(2, 5):
        assert stage.after(GRACE_S) == []
        worker.handle.received = {"in": InputCount(number, 0)}
        assert stage.after(2 * GRACE_S) == []
    assert stage.signals == []


def test_a_second_interrupt_leaves_no_more_time_for_an_item(stage):
    stage.add("loads")
    stage.in_item = True
    stage.overdue()
    stage.ladder.hurry(2.0)
    assert stage.after(2.0) == ["loads"]


def test_a_worker_is_not_charged_for_the_time_in_which_it_got_no_processor(stage):
    stage.add("starved")
    stage.overdue()
    for _ in range(17):  # it runs for a quarter of the time
        stage.starved_s += 0.75
        assert stage.after(1.0) == []
    stage.clock.now += 3.0
    assert stage.overdue() == ["starved"]


def test_time_without_a_processor_has_a_limit(stage):
    stage.add("starved")
    stage.overdue()
    seconds = 0.0
    while stage.signals == []:
        stage.after(1.0)
        stage.starved_s += 1.0
        seconds += 1.0
    assert 24 * GRACE_S <= seconds <= 26 * GRACE_S


def test_the_engines_own_delay_is_excused(stage):
    stage.add("slow")
    stage.overdue()
    stage.clock.now += 7.0
    stage.ladder.excuse(7.0)
    assert stage.overdue() == []
    assert stage.after(GRACE_S) == ["slow"]


def test_a_worker_that_outlasts_the_last_step_is_given_up(stage):
    handle = stage.add("stuck").handle
    for _ in range(4):
        stage.after(GRACE_S)
    assert stage.signals[-1] == signal.SIGKILL
    assert not stage.ladder.exhausted(handle)
    stage.clock.now += 2.0
    assert stage.ladder.exhausted(handle)


def test_a_queue_that_drains_has_a_line_with_what_is_left(stage):
    source = stage.add("cam", State.ENDED).handle
    source.sent = {"video": 100}
    slow = stage.add("slow").handle
    slow.received = {"frames": InputCount(30, 10)}
    stage.edges.append(Edge("cam", "video", "slow", "frames", None, feedback=False))
    stage.overdue("slow")
    for tenth in range(1, 31):
        stage.clock.now += 0.1
        slow.received = {"frames": InputCount(30 + tenth, 10)}
        stage.overdue("slow")
    ((name, text),) = stage.logs
    assert name == "slow"
    assert "40 items, 10 per second, about 4 s" in text


def test_what_the_sender_has_lost_is_not_left_in_the_queue(stage):
    """The subscriber comes to the gap when it has taken what is before it."""
    source = stage.add("cam", State.ENDED).handle
    source.sent, source.lost = {"video": 1000}, {"video": [0, 700]}
    slow = stage.add("slow").handle
    for target in ("other", "slow"):
        stage.edges.append(Edge("cam", "video", target, "frames", None, feedback=False))
    for tenth in range(31):
        stage.clock.now += 0.1
        slow.received = {"frames": InputCount(230 + tenth, 0)}
        stage.overdue("slow")
    ((_, text),) = stage.logs
    assert "left in its queue: 50 items, 10 per second" in text


def test_an_empty_queue_has_no_line(stage):
    handle = stage.add("busy").handle
    for number in range(100):
        handle.received = {"in": InputCount(number, 0)}
        stage.after(1.0)
    assert stage.logs == []
