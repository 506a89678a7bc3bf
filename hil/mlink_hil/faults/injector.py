"""Makes faults in a run, and ends them, at the latest when the run ends."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import msgspec

from mlink.bench.companions import RunView
from mlink.errors import BenchError, DeviceError, MlinkError, ModuleError
from mlink_hil.control import messages
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.checked import checked
from mlink_hil.control.socket_path import control_path
from mlink_hil.faults import kinds
from mlink_hil.faults.check import devices_of, wrong_target
from mlink_hil.faults.kinds import Fault
from mlink_hil.faults.log import FaultLog
from mlink_hil.faults.slow_writes import SlowWrites
from mlink_hil.scene.faults import CameraOrder, order_camera

log = logging.getLogger("mlink.faults")

_KILL_SEC = 5.0
"""Longest wait until the engine knows that a process was killed, in virtual time."""

_End = Callable[[], object]

Observer = Callable[[int, str, Fault], object]
"""Called with a master time in µs, an event ("begin", "once", "end", "failed"), and the fault."""

_of_runs: dict[RunView, Injector] = {}
_finding = threading.Lock()


@dataclass(slots=True, eq=False)
class Active:
    """A fault that has begun; `end` is None for one of a moment."""

    fault: Fault
    began_usec: int
    """Master time of its begin."""
    end: _End | None = field(default=None, repr=False)


def injector_of(run: RunView) -> Injector:
    """Return the injector of a run; there is one, until it is closed.

    The faults of the bench file and those of a test share it: they are rows of one dataset, and
    several faults of one camera are combined.
    """
    with _finding:
        return _of_runs.setdefault(run, Injector(run))


def why_not_virtual(fault: Fault) -> str:
    """Return why a fault cannot act in virtual time; "" if it can."""
    if not isinstance(fault, kinds.SlowDisk):
        return ""
    what = "acts in real time only: in virtual time no disk is slow"
    return f"{fault.kind} of {fault.target} {what}"


class Injector:
    """Makes faults in one run, from any thread; a context manager that ends them.

    Args:
        run: The run. Targets are reached through its work folder and the pids of its workers.
    """

    def __init__(self, run: RunView) -> None:
        self._run = run
        self._log = FaultLog(run.recording_dir, run.run_uuid, run.time_created)
        self._active: list[Active] = []
        self._cameras: dict[str, CameraOrder] = {}
        self._noted: list[tuple[int, str, Fault]] = []
        self._observers: list[Observer] = []
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all faults that still last."""
        with self._lock:
            for active in reversed(list(self._active)):
                with contextlib.suppress(MlinkError, OSError):  # its target is gone
                    self.end(active)
            self._log.close()
        with _finding:
            if _of_runs.get(self._run) is self:
                del _of_runs[self._run]

    def observe(self, observer: Observer) -> None:
        """Call an observer for all faults so far, and for each further one.

        Args:
            observer: Called in the thread that makes the fault, which waits for it.
        """
        with self._lock:
            for noted in self._noted:
                observer(*noted)
            self._observers.append(observer)

    def begin(self, fault: Fault) -> Active:
        """Begin a fault.

        Raises:
            BenchError: The target or a setting is wrong.
            DeviceError: The target did not accept the fault.
            ModuleError: The target's process does not run.
        """
        fault = checked(fault)
        if problem := wrong_target(fault, self._run.bench):
            raise BenchError(f"{fault.kind}: {problem.what}", remedy=problem.remedy)
        if wrong := fault.problems():
            raise BenchError(f"{fault.kind}: {wrong[0]}", remedy="Give such a value.")
        self.refuse_in_virtual_time(fault)
        with self._lock:
            try:
                end = self._make(fault)
            except OSError as error:
                raise DeviceError(f"{fault.kind} of {fault.target}: {error.strerror}") from error
            active = Active(fault, self._now_usec(), end)
            if end is not None:
                self._active.append(active)
            self._note(active.began_usec, "begin" if fault.lasts else "once", fault)
            return active

    def refuse_in_virtual_time(self, fault: Fault) -> None:
        """Do nothing for a fault that this run can have.

        Raises:
            BenchError: The run is in virtual time, and the fault acts in real time only.
        """
        if self._run.virtual is not None and (text := why_not_virtual(fault)):
            raise BenchError(
                text, remedy="Run in real time (--time real, --mlink-time real), or use `stall`."
            )

    def end(self, active: Active) -> int:
        """End a fault, unless it has ended already; return the present master time in µs."""
        with self._lock:
            if active in self._active:
                self._active.remove(active)
                assert active.end is not None
                active.end()
                self._note(self._now_usec(), "end", active.fault)
            return self._now_usec()

    def refuse(self, fault: Fault, error: MlinkError) -> None:
        """Record and log that a fault could not be made, or not be ended.

        Args:
            fault: The fault.
            error: Why.
        """
        with self._lock:
            self._note(self._now_usec(), "failed", fault)
        log.warning("fault %s of %s was not made: %s", fault.kind, fault.target, error.message)

    def _note(self, time_usec: int, event: str, fault: Fault) -> None:
        self._log.write(time_usec, event, fault)
        log.info("fault %s of %s: %s", fault.kind, fault.target, event)
        self._noted.append((time_usec, event, fault))
        for observer in self._observers:
            observer(time_usec, event, fault)

    def _now_usec(self) -> int:
        if self._run.virtual is not None:
            return self._run.virtual.now_usec
        return (time.monotonic_ns() - self._run.t0_ns) // 1000

    def _make(self, fault: Fault) -> _End | None:
        """Begin a fault; return what ends it, None for a fault of a moment."""
        match fault:
            case kinds.Unplug(target=target):
                self._ask(target, messages.Unplug())
                return lambda: self._ask(target, messages.Plug())
            case kinds.BrownOut(target=target):
                self._ask(target, messages.Brownout(on=True))
                return lambda: self._ask(target, messages.Brownout(on=False))
            case kinds.Reset(target=target):
                self._ask(target, messages.Reset())
                return None
            case kinds.LineNoise(target=target):
                self._ask(target, _noise(fault))
                return lambda: self._ask(target, messages.Noise())
            case kinds.StuckLine(target=target, line=line, level=level):
                self._ask(target, messages.Stick(line, level))
                return lambda: self._ask(target, messages.Stick(line, None))
            case kinds.SkewClock(target=target, ppm=ppm):
                return self._skew(target, ppm)
            case kinds.FreezePicture(target=target):
                self._order(target, frozen=True)
                return lambda: self._order(target, frozen=False)
            case kinds.LateStamps(target=target, usec=usec):
                self._order(target, late_usec=usec)
                return lambda: self._order(target, late_usec=0)
            case kinds.TriggerLosses(target=target):
                self._order(target, **fault.shares)
                return lambda: self._order(target, **dict.fromkeys(fault.shares, 0.0))
            case _:
                return self._make_in_process(fault)

    def _make_in_process(self, fault: Fault) -> _End | None:
        """Begin a fault of a module's process; return what ends it."""
        pid = self.pid(fault.target)
        virtual = self._run.virtual
        match fault:
            case kinds.Stall(target=target) if virtual is not None:
                virtual.hold(target)
                return lambda: virtual.release(target)
            case kinds.Stall():
                os.kill(pid, signal.SIGSTOP)
                return lambda: os.kill(pid, signal.SIGCONT)
            case kinds.Kill():
                os.kill(pid, signal.SIGKILL)
                if virtual is not None:  # time goes on when the engine knows of it
                    virtual.settle(lambda: not self._run.worker_pid(fault.target), _KILL_SEC)
                return None
            case kinds.SlowDisk(bytes_per_sec=rate, write_msec=write_msec):
                if self._run.recording_dir is None:
                    raise DeviceError(
                        "slow-disk: this run is not recorded", remedy="Run it without --no-record."
                    )
                slow = SlowWrites(pid, self._run.recording_dir, rate, write_msec / 1000)
                slow.start()
                return slow.stop
        raise AssertionError(fault)

    def pid(self, module: str) -> int:
        """Return the process id of a module's worker.

        Raises:
            ModuleError: There is no such module, or its process does not run.
        """
        pid = self._run.worker_pid(module)
        if not pid:
            raise ModuleError(
                f"module '{module}' has no running process",
                remedy=f"Modules: {', '.join(self._run.bench.modules)}.",
            )
        return pid

    def _ask(self, board: str, request: messages.Request) -> None:
        with VirtualBoard.connect(control_path(self._run.work_dir, board)) as link:
            link.do(request)
            if self._run.virtual is not None:
                link.stats()  # answered when a board that has power again has booted

    def _skew(self, target: str, ppm: float) -> _End:
        if target in devices_of(self._run.bench, "board"):
            self._ask(target, messages.Skew(ppm))
            return lambda: self._ask(target, messages.Skew(0.0))
        self._order(target, skew_ppm=ppm)
        return lambda: self._order(target, skew_ppm=0.0)

    def _order(self, camera: str, **changes: float | bool) -> None:
        """Change some faults of a camera, and keep its others."""
        order = msgspec.structs.replace(self._cameras.get(camera, CameraOrder()), **changes)
        order_camera(self._run.work_dir, camera, order)
        self._cameras[camera] = order
        if self._run.virtual is not None:
            self._run.virtual.wake([camera])


def _noise(fault: kinds.LineNoise) -> messages.Noise:
    return messages.Noise(
        drop=fault.drop,
        corrupt=fault.corrupt,
        to_board=fault.direction != "from-board",
        from_board=fault.direction != "to-board",
        seed=fault.seed,
    )
