"""The end of a run: every worker drains and finishes, then closes its files and exits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlink import control
from mlink.engine.interrupt import Interrupts
from mlink.engine.mailbox import RunMessages
from mlink.engine.outcome import Outcome
from mlink.engine.plan import Edge
from mlink.engine.report import Reporter
from mlink.engine.status import Failure, Phase
from mlink.engine.stopping import StopLadder
from mlink.engine.workers import State, WorkerHandle

_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class RunEnding:
    """Leads a run's workers through stop and close; a worker that hangs is ended by force.

    `stop` comes first, then `close`; both return when no worker is left to wait for.
    """

    workers: Mapping[str, WorkerHandle]
    edges: Sequence[Edge]
    messages: RunMessages
    outcome: Outcome
    reporter: Reporter
    interrupts: Interrupts
    pump: Callable[[float], None]
    """Handles what the workers send, for at most so many seconds."""
    grace_s: float
    """How long a worker may make no progress before it is interrupted."""

    def stop(self) -> None:
        """Let every started module drain and finish; name and end the one that hangs.

        All workers are sent Stop at once. Each drains its inputs up to the counts that its sources
        declare, so modules finish in the order of the streams. A second interrupt ends the wait.
        """
        self.reporter.stop_clock()
        self.reporter.enter(Phase.STOP)
        ladder = StopLadder(self.edges, self.workers, self.grace_s, self._log)
        for worker in self.workers.values():
            if worker.state < State.STARTING:
                self.messages.end_streams(worker, {})
                worker.advance(State.FINISHED)  # it has nothing to drain
            worker.send(control.Stop(failed=bool(self.outcome.failures)))
        what = f"did not finish within {self.grace_s:g} s"
        if not self._wait("stop", _is_draining, ladder, what):
            self.outcome.add(Failure("", "stop", "aborted by a second interrupt"))

    def close(self) -> None:
        """Let every worker close its files and exit.

        Workers that finish late at the stop get new time here: their files may still be saved.
        """
        self.reporter.enter(Phase.CLOSE)
        for worker in self.workers.values():
            worker.send(control.Close())
            worker.allow(self.grace_s)
            worker.rung = 0
        ladder = StopLadder([], self.workers, self.grace_s, self._log)
        self._wait("close", _is_alive, ladder, "did not close its files in time")

    def _wait(
        self,
        phase: str,
        is_waited_for: Callable[[WorkerHandle], bool],
        ladder: StopLadder,
        failure: str,
    ) -> bool:
        """Wait for workers; fail those that the ladder finds overdue. False after an abort."""
        while waiting := [worker for worker in self.workers.values() if is_waited_for(worker)]:
            self.pump(_STEP_S)
            for worker in ladder.overdue(waiting):
                self.outcome.fail_worker(worker, phase, failure)
            if self.interrupts.aborted:
                return False
        return True

    def _log(self, worker: WorkerHandle, text: str) -> None:
        self.reporter.log(worker.name, logging.WARNING, text)


def _is_draining(worker: WorkerHandle) -> bool:
    return State.STARTING <= worker.state < State.FINISHED


def _is_alive(worker: WorkerHandle) -> bool:
    return worker.alive
