"""Stop and close of a run: who is sent what, and who fails for being late."""

from __future__ import annotations

import os

import pytest

from mlink import control
from mlink.engine import workers
from mlink.engine.end import drain, ending, stopping
from mlink.engine.end.ending import RunEnding
from mlink.engine.mailbox import RunMessages
from mlink.engine.outcome import Outcome
from mlink.engine.plan import order_modules
from mlink.engine.report import Reporter
from mlink.engine.stalls.place import Place
from mlink.engine.status import Failure
from mlink.engine.streams import Streams
from mlink.engine.workers import State
from mlink.types import DataType
from tests.support.engine_fakes import FakeClock, FakeWorker, Watcher, bench_of, module

BENCH = bench_of(
    module("cam", outputs={"video": DataType.Frame}),
    module("rec", inputs={"in": DataType.Frame}, sources={"in": "cam.video"}),
)


NO_PROCESS = 1 << 30
"""The id of a process that cannot exist: the kernel's limit is 1 << 22."""


class FakeInterrupts:
    aborted = False
    forced = False


class Desk:
    """An ending whose pump advances the clock and runs the test's script of messages."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.fakes = {name: FakeWorker(config) for name, config in BENCH.modules.items()}
        self.workers = {name: fake.handle for name, fake in self.fakes.items()}
        for worker in self.workers.values():
            worker.pid = NO_PROCESS
        streams = Streams(BENCH, order_modules(BENCH))
        self.watcher = Watcher()
        reporter = Reporter(BENCH, streams, self.watcher)
        self.outcome = Outcome(reporter)
        self.messages = RunMessages(
            self.workers, streams, reporter, self.outcome, None, lambda _: ""
        )
        self.interrupts = FakeInterrupts()
        self.script: list[tuple[str, control.WorkerMessage | int]] = []
        self.pumps = 0
        self.ending = RunEnding(
            self.workers,
            streams.edges,
            self.messages,
            self.outcome,
            reporter,
            self.interrupts,
            self.pump,
            lambda _worker: Place("it stands at loop.py:3 (stop)"),
            5.0,
        )

    def pump(self, timeout_s: float) -> None:
        self.pumps += 1
        assert self.pumps < 1000, "hangs"
        if self.script:
            name, message = self.script.pop(0)
            if isinstance(message, int):
                self.workers[name].exit_code = message
            self.messages.handle((self.workers[name], message))
        else:
            self.clock.now += timeout_s

    def sent_to(self, name: str) -> list:
        return self.fakes[name].received()


@pytest.fixture
def desk(monkeypatch):
    clock = FakeClock()
    for timed in (stopping, drain, ending):
        monkeypatch.setattr(timed, "monotonic", clock.monotonic)
    monkeypatch.setattr(stopping, "processor_wait_s", lambda _pid: 0.0)
    monkeypatch.setattr(workers, "time", clock)

    def kill(pid, _number):
        assert pid == NO_PROCESS
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    desk = Desk(clock)
    yield desk
    for fake in desk.fakes.values():
        fake.close()


def started(desk) -> None:
    for worker in desk.workers.values():
        worker.state = State.STARTED


def finish(name: str, **sent: int) -> list:
    return [(name, control.OutputsEnded(sent)), (name, control.Finished(sent, {}))]


def test_a_stop_is_sent_to_all_and_waits_until_all_have_finished(desk):
    started(desk)
    desk.script = [*finish("cam", video=4), *finish("rec")]
    desk.ending.stop()
    assert desk.sent_to("cam") == [control.Stop()]
    assert desk.sent_to("rec") == [control.Stop(), control.StreamEnded("in", 4)]
    assert desk.script == []
    assert desk.outcome.failures == []
    assert desk.watcher.phases == ["stop"]


def test_after_a_failure_the_stop_shows_it(desk):
    started(desk)
    desk.outcome.add(Failure("cam", "run", "boom"))
    desk.script = [*finish("cam"), *finish("rec")]
    desk.ending.stop()
    assert control.Stop(failed=True) in desk.sent_to("rec")


def test_modules_that_have_not_started_have_finished(desk):
    desk.workers["rec"].state = State.PREPARED
    desk.workers["cam"].state = State.LOADED
    desk.ending.stop()
    assert desk.pumps == 0
    assert {worker.state for worker in desk.workers.values()} == {State.FINISHED}
    assert desk.sent_to("rec") == [control.StreamEnded("in", 0), control.Stop()]


def test_a_module_that_is_starting_is_waited_for(desk):
    desk.workers["cam"].state = State.STARTING
    desk.workers["rec"].state = State.PREPARED
    desk.script = finish("cam")
    desk.ending.stop()
    assert desk.script == []


def test_a_module_that_hangs_at_the_stop_fails_with_its_name(desk):
    started(desk)
    late = finish("cam")
    desk.script = finish("rec")

    pump = desk.ending.pump

    def wait(timeout_s: float) -> None:
        pump(timeout_s)
        if desk.outcome.failures and not desk.script:
            desk.script = list(late)

    object.__setattr__(desk.ending, "pump", wait)
    began = desk.clock.now
    desk.ending.stop()
    (failure,) = desk.outcome.failures
    assert (failure.module, failure.phase) == ("cam", "stop")
    assert failure.message == "did not finish within 5 s: it stands at loop.py:3 (stop)"
    assert "dmesg" in failure.remedy
    assert 5.0 <= desk.clock.now - began <= 5.5


def test_a_second_interrupt_ends_the_wait_and_is_a_failure(desk):
    started(desk)
    desk.script = [("cam", control.Status({"video": 9}, {})), *finish("cam", video=9)]
    desk.interrupts.aborted = True
    desk.workers["rec"].received = {"in": control.InputCount(4, 2)}
    began = desk.clock.now
    desk.ending.stop()
    assert desk.clock.now - began < 3
    (failure,) = desk.outcome.failures
    assert "second interrupt" in failure.message
    assert "not taken: rec: 3 of cam.video" in failure.message
    assert control.Close() in desk.sent_to("cam")
    assert control.Close() not in desk.sent_to("rec")  # it may take what cam has sent


def test_a_third_interrupt_does_not_wait_at_all(desk):
    started(desk)
    desk.interrupts.aborted = desk.interrupts.forced = True
    desk.ending.stop()
    assert desk.pumps == 1
    (failure,) = desk.outcome.failures
    assert "second interrupt" in failure.message


def test_a_close_waits_until_all_processes_have_exited(desk):
    for worker in desk.workers.values():
        worker.state = State.FINISHED
    desk.script = [
        ("cam", control.Closed()), ("rec", control.Closed()), ("cam", 0), ("rec", 0),
    ]  # fmt: skip
    desk.ending.close()
    assert desk.sent_to("cam") == desk.sent_to("rec") == [control.Close()]
    assert desk.script == []
    assert desk.outcome.failures == []
    assert desk.watcher.phases == ["close"]


def test_a_worker_that_finished_while_the_engine_was_stopped_is_not_overdue(desk):
    started(desk)
    desk.script = finish("cam")
    pump = desk.ending.pump

    def wait(timeout_s: float) -> None:
        if not desk.script:  # the engine is stopped for 7 s; rec finishes meanwhile
            desk.clock.now += 7.0
            desk.script = finish("rec")
        pump(timeout_s)

    object.__setattr__(desk.ending, "pump", wait)
    desk.ending.stop()
    assert desk.outcome.failures == []


def test_time_in_which_the_engine_did_not_run_is_not_that_of_the_workers(desk):
    started(desk)
    desk.script = finish("cam")
    pump = desk.ending.pump
    starved = [3.0] * 10

    def wait(timeout_s: float) -> None:
        pump(timeout_s)
        if starved:
            desk.clock.now += starved.pop()
        elif not desk.script:
            desk.script = finish("rec")

    object.__setattr__(desk.ending, "pump", wait)
    desk.ending.stop()
    assert desk.outcome.failures == []


def test_a_process_that_survives_every_step_is_not_waited_for_without_end(desk, monkeypatch):
    for worker in desk.workers.values():
        worker.state, worker.pid = State.FINISHED, 77
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(stopping, "DiskWait", lambda _pid: type("Idle", (), {"busy": bool})())
    began = desk.clock.now
    desk.ending.close()
    assert desk.clock.now - began < 13
    assert [failure.module for failure in desk.outcome.failures] == ["cam", "rec"]


def test_a_second_interrupt_at_the_close_shortens_the_wait(desk):
    for worker in desk.workers.values():
        worker.state = State.FINISHED
    pump = desk.ending.pump

    def interrupted(timeout_s):
        desk.interrupts.aborted = desk.clock.now > began + 1
        pump(timeout_s)

    began = desk.clock.now
    object.__setattr__(desk.ending, "pump", interrupted)
    desk.ending.close()
    assert desk.clock.now - began < 10  # 1 s, then 2 s before and for each of 3 steps; else 11 s
    assert "interrupting it" in desk.watcher.logs[0][2]


def test_exit_codes_that_do_not_come_are_not_waited_for_without_end(desk):
    """The fork server is stopped: the workers themselves have closed everything."""
    for worker in desk.workers.values():
        worker.state, worker.hung_up = State.FINISHED, True
    desk.script = [("cam", control.Closed()), ("rec", control.Closed()), ("rec", 0)]
    began = desk.clock.now
    desk.ending.close()
    assert desk.clock.now - began < 3
    assert desk.outcome.failures == []
    assert "have reported their end" in desk.watcher.logs[-1][2]


def test_a_module_that_does_not_close_fails_and_is_ended_anew(desk, monkeypatch):
    for worker in desk.workers.values():
        worker.state, worker.rung, worker.pid = State.FINISHED, 2, 77
        worker.deadline = desk.clock.now - 1  # that of its stop
    began = desk.clock.now
    signals: list[int] = []

    def kill(_pid: int, number: int) -> None:
        signals.append(number)
        assert desk.clock.now >= began + 5.0
        if number == 9:
            desk.script.append(("rec", -9))

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(stopping, "DiskWait", lambda _pid: type("Idle", (), {"busy": bool})())
    desk.script = [("cam", control.Closed()), ("cam", 0)]
    desk.ending.close()
    assert signals == [2, 15, 9]
    (failure,) = desk.outcome.failures
    assert (failure.module, failure.phase) == ("rec", "close")
    assert "did not close its files" in failure.message


def test_a_third_interrupt_ends_the_wait_for_the_close(desk):
    desk.interrupts.aborted = desk.interrupts.forced = True
    desk.ending.close()
    assert desk.pumps == 1
    assert desk.outcome.failures == []
