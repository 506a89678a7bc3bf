"""Each kind of failure of a run names its module, the cause and a remedy that fits."""

from __future__ import annotations

import ast
import errno
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

import mlink
from mlink import control
from mlink.engine import mailbox, reaching
from mlink.engine.fleet import UNKNOWN_EXIT
from mlink.engine.outcome import Outcome
from mlink.engine.reaching import Reaching
from mlink.engine.stalls import place
from mlink.engine.stalls.place import Place
from mlink.engine.status import Failure
from mlink.engine.workers import State
from mlink.errors import ControlError, DeviceError
from mlink.scripting.errors import script_error
from mlink.worker.failure import describe
from mlink.worker.forking.forkserver import FAULT
from tests.support.engine_fakes import FakeClock
from tests.unit.engine.end import test_ending
from tests.unit.engine.end.test_ending import finish, started

desk = test_ending.desk

MISLEADING = "exit() and os._exit()"
"""What a module's own code may have done: no remedy for the end by a signal."""


def one_failure(desk) -> Failure:
    (failure,) = desk.outcome.failures
    assert failure.message
    assert failure.remedy
    return failure


@pytest.mark.parametrize(
    ("code", "cause", "remedy"),
    [
        (-signal.SIGKILL, "signal 9 (Killed)", "dmesg"),
        (-signal.SIGUSR1, "signal 10", "SIGUSR1 was sent to it"),
        (-signal.SIGHUP, "signal 1", "SIGHUP was sent to it"),
        (-signal.SIGALRM, "signal 14", "signal.alarm"),
        (-signal.SIGXCPU, "signal 24", "a limit of ulimit"),
        (-int(signal.SIGRTMIN) - 3, "signal 37", "signal 37 was sent to it"),
        (-signal.SIGSEGV, "signal 11", "Compiled code"),
        (-signal.SIGABRT, "signal 6", "Compiled code"),
        (FAULT, f"exit code {FAULT}", "could not report why"),
        (0, "exit code 0", MISLEADING),
        (3, "exit code 3", MISLEADING),
        (UNKNOWN_EXIT, "its process ended", "fork server"),
    ],
)
def test_the_end_of_a_process(desk, code, cause, remedy):
    desk.messages.handle((desk.workers["cam"], code))
    failure = one_failure(desk)
    assert (failure.module, failure.phase) == ("cam", "run")
    assert cause in failure.message
    assert remedy in failure.remedy
    assert (MISLEADING in failure.remedy) is (remedy == MISLEADING)


@pytest.mark.parametrize(
    ("what", "cause", "remedy"),
    [
        ("the valve is stuck", "the valve is stuck", "The module itself"),
        (DeviceError("no answer"), "no answer", "The module itself"),
        (DeviceError("no answer", remedy="Plug it in."), "no answer", "Plug it in."),
        (OSError(errno.ENXIO, os.strerror(errno.ENXIO), "/dev/x"), "/dev/x", "dmesg"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files", "ulimit -n"),
        (MemoryError(), "no memory", "memory"),
        (KeyboardInterrupt(), "SIGINT", "sent the signal"),
        (SystemExit(143), "SIGTERM", "sent the signal"),
        (ZeroDivisionError("by zero"), "by zero", "--debug"),
        (script_error(ValueError("no valve"), "start"), "no valve", "Correct the script"),
        (script_error(SystemExit(3), "run"), "called exit(3)", "raise_error"),
    ],
    ids=repr,
)
def test_what_a_module_reports(desk, what, cause, remedy):
    found = describe(what)
    desk.messages.handle(
        (desk.workers["cam"], control.Failed("run", found.message, found.remedy, found.detail))
    )
    failure = one_failure(desk)
    assert failure.module == "cam"
    assert cause in failure.message
    assert remedy in failure.remedy


def test_an_error_of_the_engine_without_a_remedy_has_the_usual_one(desk):
    desk.outcome.add_error("run", ControlError("invalid control message"))
    assert "--debug" in one_failure(desk).remedy


def stopped_place(monkeypatch) -> Place:
    monkeypatch.setattr(place, "_status", lambda _pid: {"State": "T (stopped)"})
    worker = SimpleNamespace(pid=77, alive=True)
    return place.place_of(worker, Path("/nowhere"), Path("/nowhere"))


def test_a_module_that_hangs_at_the_stop_while_its_process_is_stopped(desk, monkeypatch):
    started(desk)
    found = stopped_place(monkeypatch)
    object.__setattr__(desk.ending, "place", lambda _worker: found)
    desk.script = finish("rec")
    desk.ending.stop()
    failure = one_failure(desk)
    assert failure.module == "cam"
    assert "its process 77 is stopped (to continue it: kill -CONT 77)" in failure.message
    assert "SIGSTOP" in failure.remedy


def test_a_second_interrupt(desk):
    started(desk)
    desk.interrupts.aborted = True
    desk.ending.stop()
    assert "Interrupt once and wait" in one_failure(desk).remedy


@pytest.mark.parametrize(
    ("found", "remedy"),
    [
        (Place("it stands at loop.py:3 (prepare)"), "time limit"),
        (Place(), "overloaded"),
        (None, "SIGSTOP"),
        (Place("the fork server is stopped", remedy="Continue it."), "Continue it."),
    ],
)
def test_a_module_that_is_not_ready_in_time(desk, monkeypatch, found, remedy):
    clock = FakeClock()
    monkeypatch.setattr(reaching, "time", clock)
    at = found or stopped_place(monkeypatch)
    waiting = Reaching(
        {"cam": desk.workers["cam"]}, desk.outcome, desk.ending.reporter, desk.pump, lambda _: at
    )
    monkeypatch.setattr(desk, "pump", lambda seconds: setattr(clock, "now", clock.now + seconds))
    object.__setattr__(waiting, "pump", desk.pump)
    waiting.wait(lambda: False, 9.0, "load", State.LOADED)
    failure = one_failure(desk)
    assert (failure.module, failure.phase) == ("cam", "load")
    assert failure.message == f"was not ready within 9 s{at.clause}"
    assert remedy in failure.remedy


@pytest.mark.parametrize(("starved_s", "ended_s"), [(0.0, 9.0), (30.0, 39.0), (1e6, 129.0)])
def test_time_without_a_processor_is_no_delay_of_a_module(desk, monkeypatch, starved_s, ended_s):
    clock = FakeClock(0.0)
    monkeypatch.setattr(reaching, "time", clock)
    monkeypatch.setattr(reaching, "processor_wait_s", lambda _pid: starved_s)

    def pump(seconds: float) -> None:
        clock.now += seconds

    waiting = Reaching(
        {"cam": desk.workers["cam"]}, desk.outcome, desk.ending.reporter, pump, lambda _: Place()
    )
    waiting.wait(lambda: False, 9.0, "load", State.LOADED)
    assert one_failure(desk).phase == "load"
    assert ended_s <= clock.now <= ended_s + 0.5


def test_every_failure_in_the_code_is_made_with_a_remedy():
    """Of those that are not made from an exception, whose remedies the tables above look at."""
    folder = Path(mlink.__file__).parent / "engine"
    without = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Failure":
                remedy = node.args[3] if len(node.args) > 3 else None
                if remedy is None or (isinstance(remedy, ast.Constant) and not remedy.value):
                    without.append(f"{path}:{node.lineno}")
    assert without == []


def test_the_last_resort_of_remedies_replaces_none():
    reporter = SimpleNamespace(log=lambda *_: None)
    outcome = Outcome(reporter)
    outcome.add(Failure("", "run", "what", "this"))
    assert outcome.failures == [Failure("", "run", "what", "this")]
    assert mailbox._remedy(5)
