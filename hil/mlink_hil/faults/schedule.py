"""The companion that makes the [[faults]] of a bench file at their master times."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mlink.bench import Bench
from mlink.bench.companions import RunView
from mlink.bench.file import Problem
from mlink.errors import MlinkError
from mlink_hil.faults.check import read_faults
from mlink_hil.faults.injector import Active, Injector, injector_of, why_not_virtual
from mlink_hil.faults.kinds import Fault, Scheduled

_START_SEC = 0.2
_JOIN_SEC = 15.0


class FaultsOfBench:
    """Handles the key `faults` of bench files (an entry point of `mlink.companions`)."""

    def virtual_time(self, given: Any, bench: Bench) -> str:
        """Return which faults cannot act in virtual time; "" if all can."""
        refusals = (why_not_virtual(each.fault) for each in read_faults(given, bench)[0])
        return next((text for text in refusals if text), "")

    def check(self, given: Any, bench: Bench) -> list[Problem]:
        """Return the problems of the faults."""
        return read_faults(given, bench)[1]

    @contextmanager
    def accompany(self, given: Any, run: RunView) -> Iterator[None]:
        """Make the faults at their times; at the end of the block, end those that last.

        Args:
            given: The value of the key `faults`, which `check` has accepted.
            run: The run.
        """
        faults, _ = read_faults(given, run.bench)
        with injector_of(run) as injector:
            if run.virtual is not None:
                moments = run.virtual
                _plan(injector, faults, lambda at_sec, act: moments.at(round(at_sec * 1e6), act))
                yield
                return
            schedule = _Schedule(run, injector, faults)
            schedule.start()
            try:
                yield
            finally:
                schedule.stop()


_At = Callable[[float, Callable[[], None]], None]
"""Makes a call at a master time in s."""


def _plan(injector: Injector, faults: list[Scheduled], at: _At) -> None:
    """Begin each fault at its time, and end it then."""

    def begin(scheduled: Scheduled) -> None:
        try:
            active = injector.begin(scheduled.fault)
        except MlinkError as error:
            injector.refuse(scheduled.fault, error)
            return
        if scheduled.for_sec is not None:
            at(scheduled.at_sec + scheduled.for_sec, lambda: end(active, scheduled.fault))

    def end(active: Active, fault: Fault) -> None:
        try:
            injector.end(active)
        except (MlinkError, OSError) as error:
            refused = error if isinstance(error, MlinkError) else MlinkError(str(error))
            injector.refuse(fault, refused)

    for each in faults:
        at(each.at_sec, partial(begin, each))


class _Schedule(threading.Thread):
    """A thread that begins and ends each fault at its time, in real time."""

    def __init__(self, run: RunView, injector: Injector, faults: list[Scheduled]) -> None:
        super().__init__(name="faults", daemon=True)
        self._run = run
        self._ending = threading.Event()
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        _plan(injector, faults, self._add)

    def stop(self) -> None:
        """End the thread; make no more faults."""
        self._ending.set()
        self.join(_JOIN_SEC)

    def run(self) -> None:
        """Run the thread."""
        while not self._run.wait_running(_START_SEC):
            if self._ending.is_set():
                return
        while self._due:
            at_sec, _, act = self._due[0]
            left = self._run.t0_ns / 1e9 + at_sec - time.monotonic()
            if self._ending.wait(max(left, 0.0)):
                return
            heapq.heappop(self._due)
            act()

    def _add(self, at_sec: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at_sec, next(self._numbers), act))
