"""Ends a run in virtual time whose turn does not end: time stands still for all until it does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from mlink.devices import Simulation
from mlink.engine.disk_wait import processor_wait_s
from mlink.engine.place import Place
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
