"""The outcome of a run while it lasts: its failures, and the reason to end it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mlink import control
from mlink.engine.report import Reporter
from mlink.engine.status import Failure
from mlink.engine.workers import State, WorkerHandle
from mlink.errors import MlinkError

_LAST_REMEDY = (
    "The lines before it in the log may show why; run again with --debug (in Python: debug=True) "
    "for the place in the code."
)


_WHILE_IT_LASTS = ("run", "running")
"""Phases of failures that a module with `stop_on_failure = false` may have."""


class Outcome:
    """Collects failures and logs each one; the first failure or stop reason ends the run.

    The engine's phases poll `ending`; a run without failures is a success, whatever ended it.

    Args:
        reporter: Receives what is logged.
        tolerates: Whether the run goes on without a module that has `stop_on_failure = false`.
    """

    def __init__(self, reporter: Reporter, *, tolerates: bool = True) -> None:
        self.failures: list[Failure] = []
        self.error_messages: list[str] = []
        """Failures without which the run went on, each as "module: what"."""
        self._tolerates = tolerates
        self.stop_reason = ""
        """Why the run ends as a success; empty while nothing has requested its end."""
        self._reporter = reporter
        self._requests_wait = False
        self._requested = ""
        """What a module has requested while others were starting."""

    @property
    def ending(self) -> bool:
        """Whether the run has to stop."""
        return bool(self.failures or self.stop_reason)

    def stop(self, reason: str) -> None:
        """End the run as a success; only the first reason is kept."""
        self.stop_reason = self.stop_reason or reason

    def request(self, reason: str) -> None:
        """End the run as a success, as a module requests; while modules start, it waits."""
        if self._requests_wait:
            self._requested = self._requested or reason
        else:
            self.stop(reason)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Let requests of modules wait: late ones still take what a short source sends."""
        self._requests_wait = True
        try:
            yield
        finally:
            self._requests_wait = False
            if self._requested:
                self.stop(self._requested)

    def add(self, failure: Failure) -> None:
        """Add a failure of the run and log it as an error; one without a remedy gets the usual."""
        if not failure.remedy:
            failure = replace(failure, remedy=_LAST_REMEDY)
        self.failures.append(failure)
        self._reporter.log(failure.module, logging.ERROR, failure.message)

    def add_error(self, phase: str, error: MlinkError) -> None:
        """Add an error of the engine itself, or of what it uses: devices, companions, the disk.

        One that is known is not repeated.
        """
        failure = Failure("", phase, error.message, error.remedy)
        if failure not in self.failures:
            self.add(failure)

    def fail_worker(self, worker: WorkerHandle, phase: str, what: str, remedy: str) -> None:
        """Add a failure that the engine has found in a worker, unless the worker has failed before.

        Args:
            worker: The worker that failed.
            phase: Phase of the run, as `Failure.phase`.
            what: What happened, as a clause after the module's name.
            remedy: What the user can do about it.
        """
        if not worker.failed:
            self._add_of(worker, Failure(worker.name, phase, what, remedy))

    def _add_of(self, worker: WorkerHandle, failure: Failure) -> None:
        """Add a worker's failure, or note that the run goes on without it."""
        worker.failed = True
        goes_on = self._tolerates and not worker.config.stop_on_failure and not worker.rung
        if not (goes_on and worker.state >= State.STARTED and failure.phase in _WHILE_IT_LASTS):
            self.add(failure)
            return
        self.error_messages.append(f"{failure.module}: {failure.message}")
        self._reporter.log(failure.module, logging.ERROR, failure.message)
        text = f"it has failed, and the run went on without it: {failure.message}"
        self._reporter.hint(failure.module, text)

    def add_reported(self, worker: WorkerHandle, message: control.Failed) -> None:
        """Add a failure that a worker has reported.

        A worker that the stop ladder has interrupted reports where it was at that moment: its
        report replaces the failure that the ladder caused.
        """
        text = message.message
        if worker.rung:
            hung = next(f for f in self.failures if f.module == worker.name)
            self.failures.remove(hung)
            text = f"{hung.message}; it was at\n  {text}"
        failure = Failure(worker.name, message.phase, text, message.remedy, message.detail)
        self._add_of(worker, failure)
