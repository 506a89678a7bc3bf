"""The length of a run: its end, and modules that have not started by then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlink.engine.end.length import RunLength
from mlink.engine.outcome import Outcome
from mlink.engine.plan import order_modules
from mlink.engine.report import Reporter
from mlink.engine.stalls.place import Place
from mlink.engine.streams import Streams
from mlink.engine.workers import State
from tests.support.engine_fakes import FakeClock, FakeWorker, Watcher, bench_of, module

BENCH = bench_of(module("cam"))
STEP_S = 0.25


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outcome() -> Outcome:
    return Outcome(Reporter(BENCH, Streams(BENCH, order_modules(BENCH)), Watcher()))


@pytest.fixture
def cam() -> Iterator[FakeWorker]:
    worker = FakeWorker("cam", State.STARTED)
    yield worker
    worker.close()


def begun(outcome: Outcome, clock: FakeClock, duration_s: float | None = 2.0) -> RunLength:
    run = RunLength(duration_s, 5.0, outcome)
    run.begin(clock.master())
    return run


def place(_worker: object) -> Place:
    return Place("it stands at loop.py:4", remedy="")


def test_it_ends_the_run_when_it_is_over_and_not_before(outcome, clock, cam) -> None:
    run = begun(outcome, clock)
    clock.now += 1.9
    run.check([cam.handle], place)
    assert not outcome.ending
    assert run.left_s(STEP_S) == pytest.approx(0.1)
    clock.now += 0.2
    run.check([cam.handle], place)
    assert outcome.stop_reason == "2 s are over"
    assert outcome.failures == []
    assert run.left_s(STEP_S) == 0


@pytest.mark.parametrize("begins", [True, False])
def test_without_a_length_or_before_the_start_it_ends_nothing(outcome, clock, cam, begins) -> None:
    run = begun(outcome, clock, None) if begins else RunLength(2.0, 5.0, outcome)
    clock.now += 1e6
    run.check([cam.handle], place)
    assert not outcome.ending
    assert run.left_s(STEP_S) == STEP_S


def test_a_module_that_still_starts_has_the_grace_time_and_then_fails(outcome, clock, cam) -> None:
    cam.handle.state = State.STARTING
    run = begun(outcome, clock)
    clock.now += 2.0 + 4.9
    run.check([cam.handle], place)
    assert not outcome.ending
    clock.now += 0.2
    run.check([cam.handle], place)
    assert outcome.ending
    (failure,) = outcome.failures
    assert failure.module == "cam"
    assert failure.message.startswith("had not started when the 2 s of the run were over")
    assert "loop.py:4" in failure.message
    assert failure.remedy
