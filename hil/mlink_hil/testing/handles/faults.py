"""Faults on demand: what a bench must survive, or must report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from mlink.errors import ModuleError
from mlink_hil.faults import kinds
from mlink_hil.faults.injector import Active, Injector
from mlink_hil.faults.kinds import Fault
from mlink_hil.testing.arguments import check_seconds
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.observed.events import FAULTS, Event, fault_event
from mlink_hil.testing.verdicts import hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks

_FAILURE_SEC = 15.0


class Faults:
    """Injects faults into a run, and ends them.

    Each one is an event on the channel "fault", and a row of the recording's dataset `faults`.
    Methods return the event; a fault made by a `with` block lasts as long as the block. Boards and
    cameras are named by device (boards also by module; None is the only board), modules by name.
    All methods raise BenchError where the target is missing or real, and ModuleError when the run
    has ended.
    """

    def __init__(self, run: BenchRun) -> None:
        self._run = run
        self._unplugged: dict[str, Active] = {}

    # a board ------------------------------------------------------------------------------

    def unplug(self, board: str | None = None) -> Event:
        """Unplug a virtual board: its port and its power vanish, until `plug`.

        The run fails unless the board's module has `on_loss = "continue"`.
        """
        name = self._board(board)
        self._unplugged[name], event = self._begin(kinds.Unplug(target=name))
        return event

    def plug(self, board: str | None = None) -> Event:
        """Plug a board in again; it boots.

        A board that was not unplugged stays as it is.
        """
        name = self._board(board)
        if active := self._unplugged.pop(name, None):
            return self._end(active)
        event = Event(FAULTS, self._run.now_usec(), cells=(f"plug {name}",), caused=True)
        self._run.history.add([event])
        return event

    def reset(self, board: str | None = None) -> Event:
        """Press a virtual board's reset button."""
        return self._begin(kinds.Reset(target=self._board(board)))[1]

    @contextmanager
    def brown_out(self, board: str | None = None) -> Iterator[Event]:
        """Hold a virtual board in reset, as by a low supply: its port stays; then it boots."""
        with self._injected(kinds.BrownOut(target=self._board(board))) as event:
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
        """Lose and corrupt bytes between a virtual board and the host.

        Args:
            board: The board; None for the only one.
            drop: Share of the bytes that are lost, 0 to 1.
            corrupt: Share of the bytes in which one bit is inverted, 0 to 1.
            direction: Which bytes.
            seed: Of the random choice of bytes.
        """
        name = self._board(board)
        fault = kinds.LineNoise(
            target=name, drop=drop, corrupt=corrupt, direction=direction, seed=seed
        )
        with self._injected(fault) as event:
            yield event

    @contextmanager
    def stuck_line(self, line: int, level: bool, board: str | None = None) -> Iterator[Event]:
        """Hold a line of a virtual board at a level, whatever is wired to it.

        Args:
            line: Number of the line (2 to 19; 14 is A0).
            level: True for 5 V, False for ground.
            board: The board; None for the only one.
        """
        with self._injected(
            kinds.StuckLine(target=self._board(board), line=line, level=level)
        ) as event:
            yield event

    @contextmanager
    def skewed_clock(self, device: str, ppm: float) -> Iterator[Event]:
        """Make the clock of a virtual board or camera run fast.

        Args:
            device: The board or camera, by its device.
            ppm: By how much, in parts per million, -100,000 to 100,000; slow below 0.
        """
        with self._injected(kinds.SkewClock(target=device, ppm=ppm)) as event:
            yield event

    # a camera -----------------------------------------------------------------------------

    @contextmanager
    def frozen_picture(self, camera: str) -> Iterator[Event]:
        """Make a virtual camera send the same picture again and again, with new times."""
        with self._injected(kinds.FreezePicture(target=camera)) as event:
            yield event

    @contextmanager
    def late_stamps(self, camera: str, usec: int) -> Iterator[Event]:
        """Make a virtual camera stamp its frames too late.

        Args:
            camera: The camera, by its device.
            usec: By how much, in µs; too early below 0.
        """
        with self._injected(kinds.LateStamps(target=camera, usec=usec)) as event:
            yield event

    @contextmanager
    def trigger_losses(
        self,
        camera: str,
        *,
        drop_triggers: float = 0.0,
        drop_frames: float = 0.0,
        extra_frames: float = 0.0,
    ) -> Iterator[Event]:
        """Make a virtual camera with a trigger lose frames at random.

        Args:
            camera: The camera, by its device.
            drop_triggers: Share of the triggers at which it makes no frame, 0 to 1.
            drop_frames: Share of the frames that are lost after it has numbered them, 0 to 1.
            extra_frames: Frames per trigger that nothing has triggered, 0 to 1.
        """
        losses = kinds.TriggerLosses(
            target=camera,
            drop_triggers=drop_triggers,
            drop_frames=drop_frames,
            extra_frames=extra_frames,
        )
        with self._injected(losses) as event:
            yield event

    # a module -----------------------------------------------------------------------------

    def kill(self, module: str) -> Event:
        """Kill a module's process (SIGKILL).

        The run fails; `expect_failure` keeps that from failing the test.
        """
        return self._begin(kinds.Kill(target=module))[1]

    @contextmanager
    def frozen(self, module: str) -> Iterator[Event]:
        """Stop a module's process (SIGSTOP), like a hung script or a dead camera; then continue it.

        Args:
            module: The module.
        """
        with self._injected(kinds.Stall(target=module)) as event:
            yield event

    @contextmanager
    def slow_disk(
        self, module: str, bytes_per_sec: float, *, write_msec: float = 0.0
    ) -> Iterator[Event]:
        """Make a recorder's writes into the recording as slow as on a slow disk.

        Args:
            module: The recorder.
            bytes_per_sec: Speed of the disk.
            write_msec: Time that each write and each sync takes besides, in ms.

        Raises:
            DeviceError: The run is not recorded, or the process cannot be traced.
        """
        fault = kinds.SlowDisk(target=module, bytes_per_sec=bytes_per_sec, write_msec=write_msec)
        with self._injected(fault) as event:
            yield event

    def expect_failure(self, module: str, timeout_sec: float = _FAILURE_SEC) -> str:
        """Expect that the run fails because of a module; such a failure does not fail the test.

        Args:
            module: The module that the run's failure names.
            timeout_sec: How long to wait for it.

        Returns:
            The failure's message.

        Raises:
            AssertionError: The run did not fail there in time.
            MlinkError: The run failed elsewhere.
        """
        check_seconds("expect_failure", "timeout_sec", timeout_sec)
        self._run.expected_failures.add(module)
        deadline_usec = self._run.now_usec() + timeout_sec * 1e6
        while self._run.now_usec() < deadline_usec:
            for failure in self._run.engine.failures:
                if failure.module == module:
                    return failure.message
            if not self._run.alive:
                break
            self._run.sleep(0.01)
        self._run.check()
        raise AssertionError(f"the run did not fail in '{module}' within {timeout_sec:g} s")

    def pid(self, module: str) -> int:
        """Return the process id of a module's worker."""
        return self._injector.pid(module)

    # ---------------------------------------------------------------------------------------

    @property
    def _injector(self) -> Injector:
        if self._run.injector is None:
            raise ModuleError("no fault can be injected: the run has ended")
        return self._run.injector

    def _board(self, board: str | None) -> str:
        return self._run.names.board(board)

    @contextmanager
    def _injected(self, fault: Fault) -> Iterator[Event]:
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
