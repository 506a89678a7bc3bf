"""The end of a run: every worker drains and finishes, then closes its files and exits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from mlink import control
from mlink.engine.end.stopping import StopLadder
from mlink.engine.interrupt import Interrupts
from mlink.engine.mailbox import RunMessages
from mlink.engine.outcome import Outcome
from mlink.engine.plan import Edge
from mlink.engine.report import Reporter
from mlink.engine.stalls.place import Place
from mlink.engine.status import Failure, Phase
from mlink.engine.virtual_time.turns import Turns
from mlink.engine.workers import State, WorkerHandle
from mlink.errors import DeviceError
from mlink.module import Category

_STEP_S = 0.1
_LATE_S = 0.2
"""Longest delay of the engine in a turn of its loop that still counts against a worker."""
_EXIT_CODE_S = 2.0
"""Longest wait for the exit codes of workers that have closed their files and the channel."""
_ABORT_GRACE_S = 2.0
"""Grace time after a second interrupt, to close files."""
_SCRIPT_REMEDY = (
    "Loops must ask `syl.is_running()` and wait with syl.wait() or syl.await_data(); what waits "
    "for something else needs a time limit. Catch no more than `Exception`, so that an interrupt "
    "ends the script."
)
_ABORTED_REMEDY = (
    "Interrupt once and wait: modules take what is left in their queues then. One that takes long "
    "for that is named in the log."
)
_MODULE_REMEDY = (
    "A device, a disk or a library did not return from a call: look for errors of the device in "
    "`dmesg`, and whether the disk is slow. Otherwise report it as a fault in the module."
)


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
    place: Callable[[WorkerHandle], Place]
    """Returns where a worker stands."""
    grace_s: float
    """How long a worker may make no progress before it is interrupted."""
    turns: Turns | None = None
    """Lets time pass for what waits at the stop, in virtual time; None in real time."""

    def stop(self) -> None:
        """Let every started module drain and finish; name and end the one that hangs.

        All workers are sent Stop at once. Each drains its inputs up to the counts that its sources
        declare, so modules finish in the order of the streams. A second interrupt ends the wait.
        """
        self.reporter.stop_clock()
        self.reporter.enter(Phase.STOP)
        ladder = StopLadder(self.edges, self.workers, self.grace_s, self._log, self.place)
        stop = control.Stop(bool(self.outcome.failures), self.messages.virtual_usec)
        for worker in self.workers.values():
            if worker.state < State.STARTING:
                self.messages.end_streams(worker, {})
                worker.advance(State.FINISHED)  # it has nothing to drain
            worker.send(stop)
        turns = None if self.outcome.failures else self.turns
        if turns is not None:
            turns.begin_stop(lambda: self.interrupts.aborted)
        what = f"did not finish within {self.grace_s:g} s"
        self._wait("stop", _is_draining, ladder, what, lambda: self.interrupts.aborted, turns)
        if turns is not None:
            self._pass_time(turns, turns.simulate_the_rest)
        if (
            any(_is_draining(worker) for worker in self.workers.values())
            and self.interrupts.aborted
        ):
            self._give_up(ladder)

    def _give_up(self, ladder: StopLadder) -> None:
        """End the drain: close what is drained now, and let those behind take what is left.

        The run has failed then; the failure has the account of what was not taken.
        """
        text = "gives up the wait for modules; a third interrupt also for their files"
        self.reporter.log("", logging.WARNING, text)
        for worker in self.workers.values():
            if _is_draining(worker) and not ladder.waits_for_others(worker):
                worker.send(control.Close())
        until_s = monotonic() + _ABORT_GRACE_S
        while any(_is_draining(worker) for worker in self.workers.values()):
            if monotonic() >= until_s or self.interrupts.forced:
                break
            self.pump(_STEP_S)
        left = self.reporter.not_taken(self.workers)
        account = f"; not taken: {', '.join(left)}" if left else ""
        text = f"aborted by a second interrupt{account}"
        self.outcome.add(Failure("", "stop", text, _ABORTED_REMEDY))

    def close(self) -> None:
        """Let every worker close its files and exit.

        Workers that finish late at the stop get new time here: their files may still be saved.
        """
        self.reporter.enter(Phase.CLOSE)
        for worker in self.workers.values():
            worker.send(control.Close())
            worker.allow(self.grace_s)
            worker.rung = 0
        ladder = StopLadder([], self.workers, self.grace_s, self._log, self.place)

        def given_up() -> bool:
            if self.interrupts.aborted:
                ladder.hurry(_ABORT_GRACE_S)
            return self.interrupts.forced

        what = "did not close its files in time"
        self._wait("close", _is_open, ladder, what, given_up)
        until_s = monotonic() + _EXIT_CODE_S
        while any(worker.runs and not worker.rung for worker in self.workers.values()):
            if monotonic() >= until_s or self.interrupts.forced:
                text = "not all processes have reported their end"
                self.reporter.log("", logging.WARNING, text, of_wall_clock=True)
                return
            self.pump(_STEP_S)

    def _wait(
        self,
        phase: str,
        is_waited_for: Callable[[WorkerHandle], bool],
        ladder: StopLadder,
        failure: str,
        given_up: Callable[[], bool],
        turns: Turns | None = None,
    ) -> None:
        """Wait for workers; fail those that the ladder finds overdue.

        Args:
            phase: Phase of the failures.
            is_waited_for: Whether a worker has to be waited for, by its state.
            ladder: Ends workers without progress.
            failure: What a worker that is overdue did not do.
            given_up: Whether the wait ends at once.
            turns: Lets time pass for workers that wait for that, when all others have finished
                or wait for their streams; None without.
        """
        turn_s = monotonic()
        while waiting := self._waiting(is_waited_for, ladder):
            if turns is not None:
                names = [each.name for each in waiting if not ladder.waits_for_others(each)]
                self._pass_time(turns, partial(turns.go_on_at_stop, names))
            self.pump(_STEP_S)
            late_s = monotonic() - turn_s - _STEP_S
            turn_s = monotonic()
            if late_s > _LATE_S:
                ladder.excuse(late_s)  # the engine itself was starved or stopped
            # Those whose last message the pump has just read are no longer waited for.
            for worker in ladder.overdue(self._waiting(is_waited_for, ladder)):
                self.outcome.fail_worker(worker, phase, failure + worker.place, _remedy(worker))
            if given_up():
                return

    def _pass_time(self, turns: Turns, pass_time: Callable[[], None]) -> None:
        """Let virtual time pass; without devices from then on if they fail."""
        try:
            pass_time()
        except (DeviceError, OSError) as error:
            turns.abandon_devices()
            what = (
                error
                if isinstance(error, DeviceError)
                else DeviceError(
                    f"the simulation of the devices has ended: {error.strerror}",
                    remedy="Its last lines are in the log; start the run again.",
                )
            )
            self.outcome.add_error("stop", what)

    def _waiting(
        self, is_waited_for: Callable[[WorkerHandle], bool], ladder: StopLadder
    ) -> list[WorkerHandle]:
        return [
            worker
            for worker in self.workers.values()
            if is_waited_for(worker) and not ladder.exhausted(worker)
        ]

    def _log(self, worker: WorkerHandle, text: str) -> None:
        self.reporter.log(worker.name, logging.WARNING, text, of_wall_clock=True)


def _remedy(worker: WorkerHandle) -> str:
    """Return what to do about a worker that stands still; a script's own report replaces it."""
    if worker.remedy:
        return worker.remedy
    if worker.config.type.category is Category.SCRIPT:
        return _SCRIPT_REMEDY
    return _MODULE_REMEDY


def _is_draining(worker: WorkerHandle) -> bool:
    return State.STARTING <= worker.state < State.FINISHED


def _is_open(worker: WorkerHandle) -> bool:
    return worker.runs and not (worker.closed and worker.hung_up)
