"""The stop ladder: a worker that hangs is interrupted, then terminated, then killed.

A worker's time to finish begins when all its sources have ended their streams (sources of feedback
inputs count once its own streams have ended). Each item it receives restarts that time, so a slow
subscriber drains its queue. A worker that is blocked on its disk has up to two minutes. Only a
worker without progress is ended.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from mlink.engine.disk_wait import DiskWait
from mlink.engine.plan import Edge
from mlink.engine.workers import State, WorkerHandle

_RUNGS = (
    (signal.SIGINT, "interrupting it", 2.0),
    (signal.SIGTERM, "terminating it", 2.0),
    (signal.SIGKILL, "killing it", 2.0),
)

_DISK_PATIENCE = 24.0
"""Longest time at the disk, as a multiple of the grace time: two minutes for the default of 5 s."""


class StopLadder:
    """Watches workers that have to finish, and ends those without progress step by step.

    Args:
        edges: Subscriptions whose sources are waited for.
        workers: All workers by module name.
        grace_s: How long a worker may make no progress before the first step.
        log: Called with (worker, text) at each step.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        workers: Mapping[str, WorkerHandle],
        grace_s: float,
        log: Callable[[WorkerHandle, str], None],
    ) -> None:
        self._edges = edges
        self._workers = workers
        self._grace_s = grace_s
        self._log = log
        self._progress: dict[str, int] = {}
        self._disks: dict[str, DiskWait] = {}
        self._disk_since: dict[str, float] = {}
        """Worker → since when it has only been busy with its disk (time.monotonic)."""
        self._disk_logged: set[str] = set()

    def overdue(self, waiting: Iterable[WorkerHandle]) -> list[WorkerHandle]:
        """Take the next step with each worker whose time is over.

        Args:
            waiting: Workers that have not finished yet.

        Returns:
            Workers that this call has interrupted for the first time.
        """
        newly = []
        for worker in waiting:
            if self._waits_for_others(worker):
                worker.deadline = None
                continue
            if worker.deadline is None or self._has_progressed(worker):
                self._disk_since.pop(worker.name, None)
                worker.allow(self._grace_s)
                continue
            if self._is_at_the_disk(worker):
                worker.allow(self._grace_s)
                continue
            if monotonic() < worker.deadline or worker.rung >= len(_RUNGS):
                continue
            if worker.rung == 0:
                newly.append(worker)
            number, step, patience_s = _RUNGS[worker.rung]
            self._log(worker, f"does not finish: {step} ({number.name})")
            worker.signal(number)
            worker.rung += 1
            worker.allow(patience_s)
        return newly

    def _waits_for_others(self, worker: WorkerHandle) -> bool:
        if worker.failed:
            return False
        return any(
            self._workers[edge.source].state < State.ENDED
            for edge in self._edges
            if edge.target == worker.name
            and edge.source != worker.name
            and (worker.state >= State.ENDED or not edge.feedback)
        )

    def _has_progressed(self, worker: WorkerHandle) -> bool:
        done = sum(count.received for count in worker.received.values()) + 1000 * worker.state
        before = self._progress.get(worker.name)
        self._progress[worker.name] = done
        return before is not None and done > before and worker.rung == 0

    def _is_at_the_disk(self, worker: WorkerHandle) -> bool:
        if worker.rung or not worker.pid:
            return False
        disk = self._disks.setdefault(worker.name, DiskWait(worker.pid))
        if not disk.busy():
            return False
        busy_s = monotonic() - self._disk_since.setdefault(worker.name, monotonic())
        limit_s = _DISK_PATIENCE * self._grace_s
        if busy_s > self._grace_s and worker.name not in self._disk_logged:
            self._disk_logged.add(worker.name)
            self._log(worker, f"still writes to a slow disk; waiting up to {limit_s:g} s for it")
        return busy_s < limit_s
