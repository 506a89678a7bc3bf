"""A thread that takes part in virtual time: time stands still while it runs, passes while it waits.

The test's thread is the participant; the engine's loop runs in a thread of its own, as in a run.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Self

import pytest

from mlink.control import NO_TIME, Turn, Waits
from mlink.devices import Reached
from mlink.engine.virtual_time.conductor import NEVER_USEC, Conductor, VirtualTime
from mlink.engine.virtual_time.participant import Participant
from mlink.engine.virtual_time.turns import Turns
from mlink.errors import ControlError

PERIOD_USEC = 1_000


class Boards:
    """A simulation that sends something every 300 µs."""

    def __init__(self) -> None:
        self.time_usec = 0
        self._until_usec = 0

    def run_until(self, time_usec: int, stand_usec: int) -> None:
        self._until_usec = min(time_usec, stand_usec)

    def reached(self) -> Reached:
        due_usec = self.time_usec - self.time_usec % 300 + 300
        self.time_usec = min(due_usec, self._until_usec)
        return Reached(self.time_usec, ["uno"] if self.time_usec == due_usec else [])


class Run:
    """A run of one module, the tap, which has a turn every ms."""

    def __init__(self, simulation: Boards | None = None) -> None:
        self.news: list[frozenset[str]] = []
        self.turns: list[int] = []
        self.participant = Participant(["tap"], self.news.append)
        self._wakes = threading.Semaphore(0)
        self._ends = False
        virtual = VirtualTime(NEVER_USEC, simulated=True)
        conductor = self.conductor = Conductor(virtual, ["tap"], [])
        conductor.begin("tap")
        conductor.note("tap", Waits(PERIOD_USEC, {}))
        conductor.begin_run()
        worker = SimpleNamespace(send=self._take_turn)
        turns = Turns(
            conductor, {"tap": worker}, self._pump, lambda: self._ends, simulation, {},
            self.participant,
        )  # fmt: skip
        self.participant.begin(self._wakes.release, 0)
        self._thread = threading.Thread(target=turns.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(60)

    def end(self) -> None:
        self._ends = True
        self._wakes.release()
        self.participant.end()

    def _take_turn(self, turn: Turn) -> None:
        self.turns.append(turn.time_usec)
        self.conductor.note("tap", Waits(turn.time_usec + PERIOD_USEC, {}))

    def _pump(self, _timeout_s: float) -> None:
        assert self._wakes.acquire(timeout=30)


def test_time_stands_still_until_the_thread_waits() -> None:
    with Run() as run:
        assert run.turns == []
        assert run.participant.now_usec == 0
        assert not run.participant.wait(lambda: False, 0.0025)
        assert run.participant.now_usec == 2_500
        assert run.turns == [1_000, 2_000]


def test_a_turn_at_the_end_of_a_wait_is_part_of_it() -> None:
    with Run() as run:
        run.participant.wait(lambda: False, 0.002)
        assert run.turns == [1_000, 2_000]


def test_a_wait_ends_at_the_turn_that_brought_what_it_waits_for() -> None:
    with Run() as run:
        assert run.participant.wait(lambda: len(run.turns) == 3, 1)
        assert run.participant.now_usec == 3_000
        assert run.news == [frozenset(["tap"])] * 3


def test_a_wait_ends_when_a_device_has_sent_what_it_waits_for() -> None:
    boards = Boards()
    with Run(boards) as run:
        assert run.participant.wait(lambda: boards.time_usec >= 600, 1)
        assert run.participant.now_usec == 600
        assert run.news == [frozenset(["uno"])] * 2
        run.participant.wait(lambda: False, 0.00005)
        assert run.participant.now_usec == boards.time_usec == 650


def test_what_is_there_already_takes_no_time() -> None:
    with Run() as run:
        assert run.participant.wait(lambda: True, 1)
        assert not run.participant.wait(lambda: False, 0)
        assert run.participant.now_usec == 0


def test_the_end_of_the_run_ends_a_wait() -> None:
    with Run() as run:

        def ends_at_5_ms() -> bool:
            if run.participant.now_usec == 5_000:
                run.end()
            return False

        assert not run.participant.wait(ends_at_5_ms, 3600)
        assert run.participant.now_usec == 5_000


def test_a_run_without_anything_to_do_comes_to_the_end_of_the_wait_too() -> None:
    run = Run()
    run.conductor.note("tap", Waits(NO_TIME, {}))
    with run:
        assert not run.participant.wait(lambda: False, 7)
        assert run.participant.now_usec == 7_000_000


def test_a_run_goes_on_without_the_thread_until_it_pauses() -> None:
    with Run() as run:
        run.participant.go_on()
        while len(run.turns) < 50:
            time.sleep(0.001)
        run.participant.pause()
        now_usec, turns = run.participant.now_usec, len(run.turns)
        assert now_usec >= 50_000
        assert run.participant.has_turn
        time.sleep(0.01)
        assert len(run.turns) == turns
        run.participant.wait(lambda: False, 0.002)
        assert run.participant.now_usec == now_usec + 2_000
        run.participant.pause()  # it stands already
        assert run.participant.now_usec == now_usec + 2_000


def test_a_paced_run_makes_nothing_up_of_the_time_for_which_it_stood() -> None:
    paced = Conductor(VirtualTime(NEVER_USEC, speed=1.0), ["tap"], [])
    paced.begin("tap")
    before_s = paced.left_s(3_600_000_000)
    paced.stood(10**12)
    assert paced.left_s(3_600_000_000) > before_s + 900


def test_two_threads_cannot_wait_at_once() -> None:
    with Run() as run:

        def waits_too() -> bool:
            with pytest.raises(ControlError, match="two threads of a test or program wait"):
                run.participant.wait(lambda: True, 1)
            return True

        assert run.participant.wait(waits_too, 1)
