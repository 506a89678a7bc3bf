"""Leads workers to a state in order; names those that take long, fails those that are too late."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from mlink.engine.outcome import Outcome
from mlink.engine.report import Reporter
from mlink.engine.stalls.disk_wait import processor_wait_s
from mlink.engine.stalls.place import Place
from mlink.engine.workers import State, WorkerHandle

_STEP_S = 0.25
_SHOWN_AFTER_S = 5.0
"""Time from which on a module that is not ready is named in the log."""
_LATE_REMEDY = (
    "What it waits for there is missing or takes too long: check that device, file or server, and "
    "give the wait a time limit. On an overloaded machine, run less beside it."
)
STARVED_S = 120.0
"""Most time without a processor that is added to a time-out."""
_PHASES = {State.PREPARED: "prepare", State.STARTED: "start"}
_DOING = {State.LOADED: "loading", State.PREPARED: "preparing", State.STARTED: "starting"}


@dataclass(frozen=True, slots=True)
class Reaching:
    """Waits for workers before the run; no wait is without a limit."""

    workers: Mapping[str, WorkerHandle]
    outcome: Outcome
    reporter: Reporter
    pump: Callable[[float], None]
    """Handles what the workers send, for at most so many seconds."""
    place: Callable[[WorkerHandle], Place]
    """Returns where a worker stands."""

    def in_order(
        self,
        before: Mapping[str, Collection[str]],
        send: Callable[[WorkerHandle], None],
        reached: State,
        timeout_s: float,
    ) -> None:
        """Send to each module when all before it have reached a state; wait until all have.

        Args:
            before: Module → the modules that have to reach the state before it.
            send: Sends the message that leads a worker to the state.
            reached: The state to wait for.
            timeout_s: Time for all modules together; modules that are late have failed.
        """
        pending = list(before)

        def send_to_ready() -> bool:
            for name in list(pending):
                if all(self.workers[other].state >= reached for other in before[name]):
                    pending.remove(name)
                    send(self.workers[name])
            return not pending and self.all_have(reached)

        self.wait(send_to_ready, timeout_s, _PHASES[reached], reached, lambda name: name in pending)

    def all_have(self, state: State) -> bool:
        """Whether all workers have reached a state."""
        return all(worker.state >= state for worker in self.workers.values())

    def wait(
        self,
        done: Callable[[], bool],
        timeout_s: float,
        phase: str,
        reached: State,
        waits_for_others: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Handle messages until `done()`, the timeout, or the run has to end.

        Args:
            done: Whether the wait is over.
            timeout_s: Longest wait, without the time in which a module got no processor; those that
                are not ready then have failed.
            phase: Phase of the failures.
            reached: State that all modules have to reach.
            waits_for_others: Whether a module has not been asked yet: it is not to blame.
        """
        deadline = time.monotonic() + timeout_s
        late_since: dict[str, float] = {}
        shown: set[str] = set()
        while not self.outcome.ending and not done():  # after a failure nothing more is sent
            self.pump(_STEP_S)
            now = time.monotonic()
            late = [
                worker
                for worker in self.workers.values()
                if (worker.state < reached or worker.pending_acks)
                and not waits_for_others(worker.name)
            ]
            if now > deadline and now > deadline + _starved_s(late):
                for worker in late:
                    place = self.place(worker)
                    what = f"was not ready within {timeout_s:g} s{place.clause}"
                    self.outcome.fail_worker(worker, phase, what, place.remedy or _LATE_REMEDY)
                return
            for worker in late:
                since = late_since.setdefault(worker.name, now)
                if now - since >= _SHOWN_AFTER_S and worker.name not in shown:
                    shown.add(worker.name)
                    doing = _DOING.get(reached, "connecting")
                    text = f"still {doing} after {_SHOWN_AFTER_S:g} s{self.place(worker).clause}"
                    self.reporter.log(worker.name, logging.WARNING, text, of_wall_clock=True)


def _starved_s(late: Collection[WorkerHandle]) -> float:
    """Return for how long one of these modules was ready to run but got no processor."""
    waited_s = [processor_wait_s(worker.pid) for worker in late if worker.pid]
    return min(max(waited_s, default=0.0), STARVED_S)
