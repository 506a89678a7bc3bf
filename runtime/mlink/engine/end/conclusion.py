"""Puts a run's recording onto the disk, and closes it with the run's result."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from queue import SimpleQueue

from mlink.engine.account.gaps import losses_as_failures
from mlink.engine.outcome import Outcome
from mlink.engine.recording import Recording
from mlink.engine.report import Reporter
from mlink.engine.status import Phase, RunResult
from mlink.engine.workers import WorkerHandle
from mlink.errors import MlinkError, StorageError
from mlink.storage.disk_sync import DiskSync


class Conclusion:
    """Keeps a run's recording on the disk while it lasts, and closes it at its end.

    Args:
        outcome: Receives the errors of the disk.
        reporter: Gives the result.
        strict: Whether a run fails if any subscription has not got all that was sent to it, or a
            module has lost something else.
    """

    def __init__(self, outcome: Outcome, reporter: Reporter, *, strict: bool) -> None:
        self._outcome = outcome
        self._reporter = reporter
        self._strict = strict
        self._recording: Recording | None = None
        self._disk: DiskSync | None = None
        self._errors: SimpleQueue[StorageError] = SimpleQueue()

    def keep(self, recording: Recording, stack: ExitStack) -> None:
        """Force a recording onto the disk from now on; the stack ends that."""
        self._recording = recording
        self._disk = stack.enter_context(DiskSync(recording.path, self._errors.put))

    def take_errors(self) -> None:
        """Pass on what the disk has refused: a failure of the run."""
        while not self._errors.empty():
            self._outcome.add_error("record", self._errors.get())

    def result(self, workers: Mapping[str, WorkerHandle], *, started: bool) -> RunResult:
        """Return the run's result; its recording is closed, and on the disk, then.

        Args:
            workers: All workers by module name, whose processes have ended.
            started: Whether the run has begun.
        """
        outcome, recording = self._outcome, self._recording
        self._finish_disk()
        result = self._reporter.result(outcome.failures, outcome.stop_reason, workers)
        result.error_messages = outcome.error_messages
        if self._strict:
            for failure in (*losses_as_failures(result.streams), *self._reporter.losses):
                outcome.add(failure)
            result.success = not outcome.failures
            if not result.success:
                result.hints = []  # losses were among them
        # What a module that was killed has sent and received is not known.
        known = not started or all(worker.closed for worker in workers.values())
        if recording is not None and known and recording.discard_if_empty(result):
            text = f"the run failed before anything was sent: {recording.path} is not kept"
            self._reporter.log("", logging.WARNING, text)
        elif recording is not None:
            result.recording_dir = recording.path
            result.unrecorded = self._reporter.unrecorded()
            for name, worker in workers.items():
                recording.note_handler_times(name, worker.handled)
            for finish in (recording.note_losses, recording.close):
                try:
                    finish(result)
                except MlinkError as error:
                    outcome.add_error("close", error)
                    result.success = False
            self._finish_disk()  # the log and the attributes
            result.success = not outcome.failures
        self._reporter.enter(Phase.DONE)
        return result

    def _finish_disk(self) -> None:
        """Wait until all files are on the disk: until then the run has not ended."""
        if self._disk is not None:
            self._disk.finish()
        self.take_errors()
