"""Leads the workers of a replay through start and run, one turn after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mlink import control
from mlink.engine.virtual_time.conductor import Conductor
from mlink.engine.workers import State, WorkerHandle

_STEP_S = 0.25


class Turns:
    """Gives turns as the conductor says; `pump` hears the workers, `ending` ends everything."""

    def __init__(
        self,
        conductor: Conductor,
        workers: Mapping[str, WorkerHandle],
        pump: Callable[[float], None],
        ending: Callable[[], bool],
    ) -> None:
        self._conductor = conductor
        self._workers = workers
        self._pump = pump
        self._ending = ending

    def start(
        self,
        order: Sequence[str],
        send_start: Callable[[WorkerHandle], None],
        fail: Callable[[WorkerHandle, str, str], None],
    ) -> None:
        """Start one module after the other; time moves only where one waits while it starts."""
        conductor = self._conductor
        for name in order:
            worker = self._workers[name]
            conductor.begin(name)
            send_start(worker)
            while not self._ending() and (conductor.holder or worker.state < State.STARTED):
                if not conductor.holder and not self._give():
                    fail(worker, "start", "waits in start() for what never comes")
                self._pump(_STEP_S)

    def run(self) -> bool:
        """Give turns to the end; return whether the recording is over, rather than cut short."""
        while not self._ending():
            if self._conductor.holder:
                self._pump(_STEP_S)
            elif not self._give():
                self._conductor.finish()
                return True
        return False

    def _give(self) -> bool:
        """Give the next turn, when it is time for it; False when there is none."""
        turn = self._conductor.next()
        if turn is None:
            return False
        name, time_usec = turn
        while (left_s := self._conductor.left_s(time_usec)) > 0:
            self._pump(min(left_s, _STEP_S))
            if self._ending():
                return True
        self._conductor.give(name, time_usec)
        self._workers[name].send(control.Turn(time_usec, self._conductor.free_until_usec))
        return True
