"""Ends a run in virtual time whose turn does not end, and says where the time of a slow one goes.

Time stands still for all until a turn ends. A run of many short turns may take long, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from mlink.devices import Simulation
from mlink.engine.stalls.disk_wait import processor_wait_s
from mlink.engine.stalls.place import Place
from mlink.engine.workers import WorkerHandle
from mlink.errors import DeviceError

_SHOWN_AFTER_S = 5.0
_REMEDY = (
    "Let it wait in virtual time (syl.wait, syl.await_data, context.serve) or return; a wait for "
    "another program, and a computation that takes longer, need real time."
)
_REMEDY_OF_DEVICES = "Let each call of a device under test return (mlink_hil.dut.Dut)."


class TurnLimit:
    """Watches the turn of one worker, or of the simulated devices, after the other.

    Args:
        limit_s: Longest turn in s of real time, without its waits for a processor.
        log: Called with (module, level, text) when a turn takes long.
        fail: Called with (worker, phase, what, remedy) when it takes too long.
        place: Returns where a worker stands.
        place_of_devices: Returns where the simulated devices stand.
    """

    def __init__(
        self,
        limit_s: float,
        log: Callable[[str, int, str], None],
        fail: Callable[[WorkerHandle, str, str, str], None],
        place: Callable[[WorkerHandle], Place],
        place_of_devices: Callable[[Simulation], Place],
    ) -> None:
        self._limit_s = limit_s
        self._log = log
        self._fail = fail
        self._place = place
        self._place_of_devices = place_of_devices
        self._began_s = 0.0
        self._starved_s: float | None = None
        """Time without a processor at the first look at this turn; None before it."""

    def begin(self) -> None:
        """Begin with a turn."""
        self._began_s, self._starved_s = monotonic(), None

    def check_worker(self, worker: WorkerHandle, phase: str) -> None:
        """Fail the worker that has the turn, if that takes too long; log it before."""
        is_long, is_over = self._look(worker.pid)
        if is_over:
            place = self._place(worker)
            what = f"its turn did not end within {self._limit_s:g} s{place.clause}"
            self._fail(worker, phase, what, place.remedy or _REMEDY)
        elif is_long:
            where = self._place(worker).clause
            text = f"its turn takes long, and virtual time stands still meanwhile{where}"
            self._log(worker.name, logging.WARNING, text)

    def check_devices(self, simulation: Simulation) -> None:
        """Do the same for the simulated devices.

        Raises:
            DeviceError: Their turn takes too long.
        """
        is_long, is_over = self._look(simulation.pid)
        if is_over:
            place = self._place_of_devices(simulation)
            raise DeviceError(
                f"the turn of the simulated devices did not end within {self._limit_s:g} s"
                f"{place.clause}",
                remedy=place.remedy or _REMEDY_OF_DEVICES,
            )
        if is_long:
            where = self._place_of_devices(simulation).clause
            text = f"the turn of the simulated devices takes long{where}"
            self._log("", logging.WARNING, text)

    def _look(self, pid: int) -> tuple[bool, bool]:
        """Return whether the turn takes long for the first time, and whether it is over."""
        took_s = monotonic() - self._began_s
        if took_s < min(_SHOWN_AFTER_S, self._limit_s / 2):
            return False, False
        starved_s, first = processor_wait_s(pid), self._starved_s is None
        if self._starved_s is None:
            self._starved_s = starved_s
        return first, took_s - (starved_s - self._starved_s) >= self._limit_s


DEVICES = "the simulated devices"
_SLOW = 0.2
"""Virtual time is slow where less of it passes than this share of real time."""
_FIRST_S = 20.0
"""Real time after which that is judged first; then after twice as much each time."""
_SHOWN = 3


class Shares:
    """Adds up whose turns take the real time of a run, and logs that where virtual time is slow.

    Args:
        log: Called with (module, level, text).
        now: Returns real time in s.
    """

    def __init__(
        self, log: Callable[[str, int, str], None], now: Callable[[], float] = monotonic
    ) -> None:
        self._log = log
        self._now = now
        self._holder = ""
        self._since_s = 0.0
        self._took: dict[str, float] = {}
        self._judged_usec = 0
        self._judge_s = _FIRST_S

    def begin(self, holder: str = "") -> None:
        """Begin with a turn; without one what follows is a wait that the run is meant to make."""
        now_s = self._now()
        if self._holder:
            took_s = self._took.get(self._holder, 0.0)
            self._took[self._holder] = took_s + now_s - self._since_s
        self._holder, self._since_s = holder, now_s

    def judge(self, virtual_usec: int) -> None:
        """Log whose turns take the time, if it is time to and virtual time is slow."""
        took_s = sum(self._took.values())
        if took_s < self._judge_s:
            return
        passed_s = (virtual_usec - self._judged_usec) / 1e6
        if passed_s < _SLOW * took_s:
            most = sorted(self._took, key=self._took.__getitem__, reverse=True)
            shares = ", ".join(f"{name} {self._took[name] / took_s:.0%}" for name in most[:_SHOWN])
            cure = "Its handlers take that long."
            if most[0] == DEVICES:
                cure = (
                    "Each edge of a simulated line takes 5 to 100 µs: slower signals, and fewer"
                    " lines that report them, take less."
                )
            text = (
                f"virtual time is slow: {passed_s:.2g} s in {took_s:.0f} s, of which took {shares}"
            )
            self._log("", logging.WARNING, f"{text}. {cure}")
        self._judged_usec = virtual_usec
        self._judge_s *= 2
        self._took.clear()
