"""Faults on demand: what a bench must survive, or at least tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from mlink.errors import ModuleError
from mlink_hil.faults import kinds
from mlink_hil.faults.injector import Active, Injector
from mlink_hil.faults.kinds import Fault
from mlink_hil.testing.bench_run import FAULTS, BenchRun, fault_event
from mlink_hil.testing.events import Event

_FAILURE_SEC = 15.0


class Faults:
    """Breaks things in a run, and mends them: each is noted as an event, and in the recording.

    Methods return the moment; those for a `with` block last as long as the block.
    """

    def __init__(self, run: BenchRun) -> None:
        self._run = run
        self._unplugged: dict[str, Active] = {}

    # a board ------------------------------------------------------------------------------

    def unplug(self, board: str | None = None) -> Event:
        """Pull the cable of a virtual board: its port and its power vanish."""
        name = self._board(board)
        self._unplugged[name], event = self._begin(kinds.Unplug(target=name))
        return event

    def plug(self, board: str | None = None) -> Event:
        """Put the cable back; the board boots."""
        name = self._board(board)
        if active := self._unplugged.pop(name, None):
            return self._end(active)
        event = Event(FAULTS, self._run.now_usec(), cells=(f"plug {name}",), caused=True)
        self._run.history.add([event])
        return event

    def reset(self, board: str | None = None) -> Event:
        """Push a virtual board's reset button."""
        return self._begin(kinds.Reset(target=self._board(board)))[1]

    @contextmanager
    def brown_out(self, board: str | None = None) -> Iterator[Event]:
        """Let a virtual board's supply sag: held in reset, its port stays; then it boots."""
        with self._made(kinds.BrownOut(target=self._board(board))) as event:
            yield event

    @contextmanager
    def line_noise(
        self,
        board: str | None = None,
        *,
        drop: float = 0.0,
        corrupt: float = 0.0,
        direction: Literal["both", "to-board", "from-board"] = "both",
        seed: int = 1,
    ) -> Iterator[Event]:
        """Lose and corrupt a share of the bytes between a virtual board and the host."""
        name = self._board(board)
        fault = kinds.LineNoise(
            target=name, drop=drop, corrupt=corrupt, direction=direction, seed=seed
        )
        with self._made(fault) as event:
            yield event

    @contextmanager
    def stuck_line(self, line: int, level: bool, board: str | None = None) -> Iterator[Event]:
        """Short a line of a virtual board, whatever is wired to it."""
        with self._made(
            kinds.StuckLine(target=self._board(board), line=line, level=level)
        ) as event:
            yield event

    @contextmanager
    def skewed_clock(self, device: str, ppm: float) -> Iterator[Event]:
        """Let the clock of a virtual board or camera run fast by so much."""
        with self._made(kinds.SkewClock(target=device, ppm=ppm)) as event:
            yield event

    # a camera -----------------------------------------------------------------------------

    @contextmanager
    def frozen_picture(self, camera: str) -> Iterator[Event]:
        """Let a virtual camera (by its device) send the same picture again and again."""
        with self._made(kinds.FreezePicture(target=camera)) as event:
            yield event

    @contextmanager
    def late_stamps(self, camera: str, usec: int) -> Iterator[Event]:
        """Let a virtual camera (by its device) stamp its frames late, in µs."""
        with self._made(kinds.LateStamps(target=camera, usec=usec)) as event:
            yield event

    # a module -----------------------------------------------------------------------------

    def kill(self, module: str) -> Event:
        """Kill a module's process."""
        return self._begin(kinds.Kill(target=module))[1]

    @contextmanager
    def frozen(self, module: str) -> Iterator[Event]:
        """Stop a module's process for the length of the block (a hung script, a dead camera)."""
        with self._made(kinds.Stall(target=module)) as event:
            yield event

    @contextmanager
    def slow_disk(
        self, module: str, bytes_per_sec: float, *, write_msec: float = 0.0
    ) -> Iterator[Event]:
        """Let a recorder's writes take as long as on a slow disk."""
        fault = kinds.SlowDisk(target=module, bytes_per_sec=bytes_per_sec, write_msec=write_msec)
        with self._made(fault) as event:
            yield event

    def expect_failure(self, module: str, timeout_sec: float = _FAILURE_SEC) -> str:
        """Expect that the run fails, and names this module; return what it says."""
        self._run.expected_failures.add(module)
        deadline = time.monotonic() + timeout_sec
        while time.monotonic() < deadline:
            for failure in self._run.engine.failures:
                if failure.module == module:
                    return failure.message
            if not self._run.alive:
                break
            time.sleep(0.01)
        self._run.check()
        raise AssertionError(f"the run did not fail in '{module}' within {timeout_sec:g} s")

    def pid(self, module: str) -> int:
        """Return the process of a module's worker in this run."""
        return self._injector.pid(module)

    # ---------------------------------------------------------------------------------------

    @property
    def _injector(self) -> Injector:
        if self._run.injector is None:
            raise ModuleError("the run has ended: there is nothing to break")
        return self._run.injector

    def _board(self, board: str | None) -> str:
        return self._run.names.board(board)

    @contextmanager
    def _made(self, fault: Fault) -> Iterator[Event]:
        active, event = self._begin(fault)
        try:
            yield event
        finally:
            self._end(active)

    def _begin(self, fault: Fault) -> tuple[Active, Event]:
        active = self._injector.begin(fault)
        return active, fault_event(active.began_usec, "begin" if fault.lasts else "once", fault)

    def _end(self, active: Active) -> Event:
        return fault_event(self._injector.end(active), "end", active.fault)
