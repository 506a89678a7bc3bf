"""Who gets a turn for what simulated devices have sent, and which recorders wait for more."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from mlink.bench import load_bench
from mlink.control import NO_TIME, Turn, Waits
from mlink.devices import Reached
from mlink.engine.virtual_time.conductor import Conductor, VirtualTime
from mlink.engine.virtual_time.patient import patient_recorders
from mlink.engine.virtual_time.simulated import in_virtual_time
from mlink.engine.virtual_time.turns import Turns
from mlink.engine.workers import State
from tests.support.hil_examples import BENCHES

PIDS = {"board": 101, "finger": 102, "other": 103}
SENT_AT_USEC = 500
FRAME_USEC = 33_333


class Board:
    """A simulation that sends something once."""

    def __init__(self, readers: frozenset[int]) -> None:
        self._readers = readers
        self._until_usec = 0

    def run_until(self, time_usec: int, stand_usec: int) -> None:
        self._until_usec = min(time_usec, stand_usec)

    def reached(self) -> Reached:
        if self._until_usec > SENT_AT_USEC and self._readers is not None:
            readers, self._readers = self._readers, None
            return Reached(SENT_AT_USEC, ["uno"], readers=readers)
        return Reached(self._until_usec, [])


@pytest.mark.parametrize(
    ("readers", "woken"),
    [
        ([], ["board", "finger"]),  # a provider that does not know its readers
        ([101], ["board"]),
        ([102], ["finger"]),
        ([101, 102], ["board", "finger"]),
        ([os.getpid()], []),  # a test's thread in the engine's process
        ([os.getpid(), 102], ["finger"]),
        ([0], ["board", "finger"]),  # the cable was pulled: all see that
        ([101, 4711], ["board", "finger"]),  # a process that a module has started
        ([103], ["other"]),  # a module that does not use this device, as a camera with a trigger
    ],
)
def test_a_turn_is_given_to_the_modules_that_have_something_to_read(readers, woken):
    given = []
    conductor = Conductor(VirtualTime(1_000, simulated=True), list(PIDS), [])
    workers = {}
    for name, pid in PIDS.items():

        def send(_turn: Turn, name: str = name) -> None:
            given.append(name)
            conductor.note(name, Waits(NO_TIME, {}))

        workers[name] = SimpleNamespace(name=name, pid=pid, send=send)
        conductor.begin(name)
        conductor.note(name, Waits(NO_TIME, {}))
    conductor.begin_run()
    users = {"uno": ["board", "finger"]}
    simulation = Board(frozenset(readers))
    turns = Turns(conductor, workers, lambda _s: None, lambda: False, simulation, users)
    assert turns.run()
    assert given == woken


def test_virtual_time_does_not_pass_without_limit_before_the_start():
    conductor = Conductor(VirtualTime(1_000, simulated=True), ["slow"], [])

    def send(turn: Turn) -> None:
        conductor.note("slow", Waits(turn.time_usec + 1_000_000, {}))

    worker = SimpleNamespace(name="slow", pid=101, send=send, state=State.LOADED, pending_acks=0)
    failures: list[str] = []

    def fail(_worker: object, phase: str, text: str, _remedy: str) -> None:
        failures.append(f"{phase}: {text}")

    simulation = Board(frozenset())
    turns = Turns(
        conductor, {"slow": worker}, lambda _s: None, lambda: bool(failures), simulation, {}
    )
    turns.prepare(["slow"], lambda _w: None, fail, 5.0)
    assert failures == ["prepare: waits in prepare() for what never comes"]
    assert conductor.now_usec <= 7_000_000


def test_at_speed_1_each_frame_comes_at_its_time_by_the_wall(monkeypatch):
    wall = [1_000_000_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: wall[0])

    def pump(seconds: float) -> None:
        wall[0] += round(seconds * 1e9) + 200_000  # the machine is a little late each time

    conductor = Conductor(VirtualTime(1_000_000, speed=1.0, simulated=True), ["cam"], [])
    taken = []

    def send(turn: Turn) -> None:
        taken.append((turn.time_usec, (wall[0] - 1_000_000_000) // 1000))
        conductor.note("cam", Waits(turn.time_usec + FRAME_USEC, {}))

    workers = {"cam": SimpleNamespace(name="cam", pid=101, send=send)}
    conductor.begin("cam")
    conductor.note("cam", Waits(FRAME_USEC, {}))
    conductor.begin_run()
    turns = Turns(conductor, workers, pump, lambda: False, Board(frozenset()), {"uno": []})
    assert turns.run()
    assert len(taken) == 30
    assert all(0 <= wall_usec - usec < FRAME_USEC for usec, wall_usec in taken)


def test_recorders_of_small_items_wait_for_more_unless_the_run_is_watched():
    bench = load_bench(BENCHES / "led-follows-button")
    assert patient_recorders(bench) == {"events", "latencies"}  # not the video
    assert in_virtual_time(bench, 1.0)[0].patient == {"events", "latencies"}
    assert in_virtual_time(bench, 1.0, speed=1.0)[0].patient == frozenset()
