"""The stop ladder: a worker that hangs is interrupted, then terminated, then killed.

A worker's time to finish begins when all its sources have ended their streams (sources of feedback
inputs count once its own streams have ended). Whatever it does restarts that time, so a slow
subscriber drains its queue; a line in the log has what is left. A worker that is blocked on its
disk, or gets no processor, has up to two minutes. One that handles a single item has four times the
usual time for it. A wait of a script (`syl.wait`) that goes on after the stop lasts its time, up to
two minutes. Only a worker without progress is ended.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from mlink.engine.end.drain import Drain
from mlink.engine.plan import Edge
from mlink.engine.stalls.disk_wait import DiskWait, processor_wait_s
from mlink.engine.stalls.place import Place
from mlink.engine.workers import State, WorkerHandle

_RUNGS = (
    (signal.SIGINT, "interrupting it", 2.0),
    (signal.SIGTERM, "terminating it", 2.0),
    (signal.SIGKILL, "killing it", 2.0),
)

_PATIENCE = 24.0
"""Longest time at the disk or without a processor, as a multiple of the grace time: two minutes."""
_HURRIED_PATIENCE = 2.5
"""The same after a second interrupt: the user waits at the terminal."""
_ITEM_PATIENCE = 3.0
"""Time for one item, as a multiple of the longest that the worker has needed for one."""
_FIRST_ITEM_PATIENCE = 4.0
"""Time for an item of a worker whose items have not taken long before, as a multiple of the grace
time: the first one may load a model, or allocate."""


class StopLadder:
    """Watches workers that have to finish, and ends those without progress step by step.

    Args:
        edges: Subscriptions whose sources are waited for.
        workers: All workers by module name.
        grace_s: How long a worker may make no progress before the first step.
        log: Called with (worker, text) at each step.
        place: Returns where a worker stands.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        workers: Mapping[str, WorkerHandle],
        grace_s: float,
        log: Callable[[WorkerHandle, str], None],
        place: Callable[[WorkerHandle], Place],
    ) -> None:
        self._edges = edges
        self._workers = workers
        self._grace_s = grace_s
        self._patience = _PATIENCE
        self._log = log
        self._place = place
        self._progress: dict[str, int] = {}
        self._drains: dict[str, Drain] = {}
        self._disks: dict[str, DiskWait] = {}
        self._disk_since: dict[str, float] = {}
        """Worker → since when it has only been busy with its disk (time.monotonic)."""
        self._disk_logged: set[str] = set()
        self._starved_s: dict[str, float] = {}
        """Worker → time without a processor at the last look, in s since its process began."""
        self._rest_since: dict[str, float] = {}
        """Worker → since when its script waits after the stop (time.monotonic)."""
        self._in_item: set[str] = set()
        """Workers that have had more time for the item that they handle."""
        self._excused_s: dict[str, float] = {}
        """Worker → extra time that it has had because it got no processor."""

    def overdue(self, waiting: Iterable[WorkerHandle]) -> list[WorkerHandle]:
        """Take the next step with each worker whose time is over.

        Args:
            waiting: Workers that have not finished yet.

        Returns:
            Workers that this call has interrupted for the first time.
        """
        newly = []
        for worker in waiting:
            progressed = self._has_progressed(worker)
            if self.waits_for_others(worker):
                worker.deadline = None
                continue
            if worker.deadline is None or progressed:
                self._disk_since.pop(worker.name, None)
                self._in_item.discard(worker.name)
                self._starved_s[worker.name] = processor_wait_s(worker.pid)
                self._excused_s[worker.name] = 0.0
                worker.allow(self._patience_s(worker))
                self._show_drain(worker)
                continue
            if self._rests(worker) or self._is_at_the_disk(worker):
                worker.allow(self._grace_s)
                continue
            self._excuse_starved(worker)
            if monotonic() < worker.deadline or worker.rung >= len(_RUNGS):
                continue
            if worker.rung == 0:
                place = self._place(worker)
                worker.place, worker.remedy = place.clause, place.remedy
                if place.in_item and self._has_time_for_its_item(worker):
                    continue
                newly.append(worker)
            number, step, patience_s = _RUNGS[worker.rung]
            self._log(worker, f"does not finish: {step} ({number.name}){worker.place}")
            worker.signal(number)
            worker.rung += 1
            worker.allow(patience_s)
        return newly

    def excuse(self, seconds: float) -> None:
        """Give all workers this much more time: the engine itself did not run meanwhile."""
        for worker in self._workers.values():
            if worker.deadline is not None:
                worker.deadline += seconds

    def hurry(self, grace_s: float) -> None:
        """Give no worker more time without progress than this from now on, and little excuse."""
        if self._patience == _HURRIED_PATIENCE:
            return
        self._grace_s, self._patience = min(grace_s, self._grace_s), _HURRIED_PATIENCE
        for worker in self._workers.values():
            if worker.deadline is not None:
                worker.deadline = min(worker.deadline, monotonic() + self._grace_s)

    def exhausted(self, worker: WorkerHandle) -> bool:
        """Whether all steps were taken and the worker has outlasted even the last one."""
        over = worker.deadline is not None and monotonic() >= worker.deadline
        return worker.rung >= len(_RUNGS) and over

    def waits_for_others(self, worker: WorkerHandle) -> bool:
        """Whether a source of the worker has not ended its streams yet."""
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

    def _patience_s(self, worker: WorkerHandle) -> float:
        """Return how long a worker may make no progress: longer if its items take longer."""
        longest_s = min(_ITEM_PATIENCE * worker.slowest_item_s, self._patience * self._grace_s)
        return max(self._grace_s, longest_s)

    def _has_time_for_its_item(self, worker: WorkerHandle) -> bool:
        """Give a worker more time for the item that it handles, once; log it."""
        more_s = _FIRST_ITEM_PATIENCE * self._grace_s - self._patience_s(worker)
        hurried = self._patience == _HURRIED_PATIENCE
        if more_s <= 0 or hurried or worker.name in self._in_item:
            return False
        self._in_item.add(worker.name)
        worker.allow(more_s)
        text = f"still handles one item{worker.place}; waiting {more_s:g} s more for it"
        self._log(worker, f"{text}; a second Ctrl-C gives up")
        return True

    def _show_drain(self, worker: WorkerHandle) -> None:
        drain = self._drains.get(worker.name)
        if drain is None:
            drain = self._drains[worker.name] = Drain(worker, self._edges, self._workers)
        if text := drain.line():
            self._log(worker, text)

    def _rests(self, worker: WorkerHandle) -> bool:
        """Whether a wait of the worker's script goes on, which may last as long as the disk may."""
        left_s = worker.rests_until - monotonic()
        if worker.rung or left_s <= 0:
            return False
        limit_s = self._patience * self._grace_s
        if worker.name not in self._rest_since:
            self._rest_since[worker.name] = monotonic()
            if left_s > self._grace_s:
                text = f"its script waits {min(left_s, limit_s):.0f} s more, as it asked to"
                self._log(worker, f"{text}; a second Ctrl-C gives up")
        return monotonic() - self._rest_since[worker.name] < limit_s

    def _is_at_the_disk(self, worker: WorkerHandle) -> bool:
        if worker.rung or not worker.pid:
            return False
        disk = self._disks.setdefault(worker.name, DiskWait(worker.pid))
        if not disk.busy():
            return False
        busy_s = monotonic() - self._disk_since.setdefault(worker.name, monotonic())
        limit_s = self._patience * self._grace_s
        if busy_s > self._grace_s and worker.name not in self._disk_logged:
            self._disk_logged.add(worker.name)
            self._log(worker, f"still writes to a slow disk; waiting up to {limit_s:g} s for it")
        return busy_s < limit_s

    def _excuse_starved(self, worker: WorkerHandle) -> None:
        """Add the time in which the worker was ready to run but got no processor."""
        if worker.rung or not worker.pid or worker.deadline is None:
            return
        starved_s = processor_wait_s(worker.pid)
        more_s = starved_s - self._starved_s.get(worker.name, starved_s)
        self._starved_s[worker.name] = starved_s
        excused_s = self._excused_s.get(worker.name, 0.0) + more_s
        if more_s > 0 and excused_s < self._patience * self._grace_s:
            self._excused_s[worker.name] = excused_s
            worker.deadline += more_s
