"""Handles what a run's workers send: progress, counts, logs, failures, and their exit codes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping

from mlink import control
from mlink.ctrl_c import name_of
from mlink.engine.fleet import UNKNOWN_EXIT, Event
from mlink.engine.outcome import Outcome
from mlink.engine.report import Reporter
from mlink.engine.streams import Streams
from mlink.engine.virtual_time.conductor import Conductor
from mlink.engine.workers import State, WorkerHandle
from mlink.refusals import crash_remedy
from mlink.worker.forking.forkserver import FAULT

_UNKNOWN_COUNT = -1
"""Sent count of a stream whose worker died: how many items are missing is unknown."""
_NO_DISPLAY = "platform plugin"
"""In what Qt prints before it aborts the program."""
_WINDOW = "it opened a window (cv2.imshow, Qt), and there is no display"
_WINDOW_REMEDY = (
    "Run it where DISPLAY or WAYLAND_DISPLAY is set, or leave the window out; modules of type "
    "canvas and `mlink run --view` show pictures too."
)
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


class RunMessages:
    """Updates the engine's view of a run from its workers' messages, and answers them.

    Args:
        workers: The run's workers by module name; may still grow.
        streams: Receives metadata, and gives the plans that workers are sent.
        reporter: Receives logs, printed lines and figures.
        outcome: Receives failures and requests to stop.
        conductor: Gives turns in virtual time; None in real time.
        crash: Returns where a worker has crashed, as a clause; "" if that is not known.
    """

    def __init__(
        self,
        workers: Mapping[str, WorkerHandle],
        streams: Streams,
        reporter: Reporter,
        outcome: Outcome,
        conductor: Conductor | None,
        crash: Callable[[WorkerHandle], str],
    ) -> None:
        self._workers = workers
        self._streams = streams
        self._reporter = reporter
        self._outcome = outcome
        self._conductor = conductor
        self._crash = crash

    @property
    def virtual_usec(self) -> int:
        """Virtual time in µs; 0 in real time."""
        return self._conductor.now_usec if self._conductor is not None else 0

    def handle(self, event: Event) -> None:
        """Handle one message or exit code."""
        worker, message = event
        match message:
            case int():
                self._worker_exited(worker, message)
            case control.Loaded():
                worker.nice = message.nice
                worker.advance(State.LOADED)
            case control.Prepared():
                worker.pending_acks += 1
                plans = self._streams.lay_out(worker.config, message.metadata)
                worker.send(control.OpenOutputs(plans))
                worker.advance(State.PREPARED)
            case control.Acknowledged():
                worker.pending_acks -= 1
            case control.Started():
                for edge, packed in self._streams.changed(worker.name, message.metadata):
                    # a subscriber has not started yet, unless the edge is a feedback edge, or it is
                    # a device that receives commands
                    self._workers[edge.target].send(
                        control.UpdateMetadata(edge.target_port, packed)
                    )
                worker.advance(State.STARTED)
            case control.Waits():
                assert self._conductor is not None
                self._conductor.note(worker.name, message)
            case control.Status():
                worker.sent, worker.received = message.sent, message.received
                before = worker.lost, worker.skipped
                worker.lost, worker.skipped = message.lost, message.skipped
                if self._conductor is not None and before != (worker.lost, worker.skipped):
                    self._reporter.note_losses(self._workers)
                worker.counted_s = time.monotonic()
                worker.text = message.text
                worker.slowest_item_s = message.slowest_item_s
            case control.OutputsEnded():
                worker.sent = message.sent
                worker.lost, worker.skipped = message.lost, message.skipped
                self.end_streams(worker, message.sent)
            case control.Finished():
                worker.sent, worker.received = message.sent, message.received
                worker.lost, worker.skipped = message.lost, message.skipped
                worker.handled = message.handled
                worker.advance(State.FINISHED)
            case control.Closed():
                worker.closed = True
                worker.advance(State.CLOSED)
            case control.Failed():
                self._outcome.add_reported(worker, message)
            case control.StopRequest():
                self._outcome.request(f"{worker.name}: {message.reason}")
            case control.Log():
                self._reporter.log(worker.name, message.level, message.text, by_module=True)
            case control.Output():
                self._reporter.output(worker.name, message.text)
            case control.Report():
                self._reporter.report(worker.name, message.key, message.value)
            case control.Hint():
                self._reporter.hint(worker.name, message.text)
            case control.Rests():
                worker.rests_until = time.monotonic() + message.left_s
            case control.Loss():
                self._reporter.note_loss(worker.name, message.what, message.remedy)

    def end_streams(self, worker: WorkerHandle, sent: Mapping[str, int]) -> None:
        """Send the end of a worker's streams to their subscribers.

        Args:
            worker: The publisher of the streams.
            sent: Number of items sent, by output port; 0 for a port that is absent.
        """
        worker.advance(State.ENDED)
        for edge in self._streams.out_of(worker.name):
            self._workers[edge.target].send(
                control.StreamEnded(edge.target_port, sent.get(edge.source_port, 0))
            )

    def _worker_exited(self, worker: WorkerHandle, code: int) -> None:
        never_forked = code == UNKNOWN_EXIT and not worker.pid  # the failure is the fork server's
        if (code not in (0, UNKNOWN_EXIT) or not worker.closed) and not never_forked:
            what, remedy = f"its process {_how(code)}", _remedy(code)
            lines = self._reporter.last_lines(worker.name)
            if code == -signal.SIGABRT and any(_NO_DISPLAY in line for line in lines):
                what, remedy, lines = _WINDOW, _WINDOW_REMEDY, []
            if place := self._crash(worker):
                what += f": {place}"
            if lines:
                what += "; its last lines:" + "".join(f"\n  {line}" for line in lines)
            self._outcome.fail_worker(worker, "run", what, remedy)
        counts = {port.id: _UNKNOWN_COUNT for port in worker.config.outputs}
        self.end_streams(worker, counts)


def _how(code: int) -> str:
    if code == UNKNOWN_EXIT:
        return "ended"
    if code < 0:
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"ended with exit code {code}"


def _remedy(code: int) -> str:
    """Return what to do about a process that ended without a report of its module."""
    if code == UNKNOWN_EXIT:
        return "Why it ended was not seen, as the fork server had ended: begin with that failure."
    if code == FAULT:
        return crash_remedy(
            "It ended before its module began, and could not report why: files or memory may have "
            f"run short (ulimit -a, `dmesg`). Or its own code has ended it with exit code {FAULT}."
        )
    if -code in _CRASHES:
        return crash_remedy(
            "Compiled code that it uses has crashed: update that library, or report it there."
        )
    if -code == signal.SIGKILL:
        return "If no one has killed it: `dmesg` shows whether the system did, short of memory."
    if code < 0:
        name = name_of(-code)
        return (
            f"{name} was sent to it, by a person or program (kill, timeout, a batch system), or by "
            "its own code or a library (os.kill, signal.alarm, a limit of ulimit). A script that "
            f"is to survive it needs a handler for {name}."
        )
    return (
        "If no one has ended it, its own code has: by an exception, which its last lines have, by "
        "reaching its end (a program waits in link.await_data_forever()), or by exit() and "
        "os._exit()."
    )
