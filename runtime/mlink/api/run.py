"""A run of a bench that lasts beside the program that started it.

A run has one thread, in which the engine polls its workers. Threads of the program read its state,
request a stop and wait for its end; nothing that they do can delay it. No signal handlers are
installed: Ctrl-C raises KeyboardInterrupt in the program's main thread, as usual.
"""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import replace
from typing import Self, overload

from mlink.api.watcher import LogLine, Watcher
from mlink.bench import Bench
from mlink.devices import SimulatedChip
from mlink.engine.encode import encode_raw_videos
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import Failure, RunResult, RunStatus
from mlink.engine.virtual_time.participant import Participant
from mlink.engine.virtual_time.stepping import LIMIT_USEC, EdgeOf, Moment, Stepping
from mlink.errors import BenchError, ControlError, MlinkError


class RunFailedError(MlinkError):
    """A run failed. Its recording, if there is one, is closed and holds what came before.

    Attributes:
        result: How the run ended, with all its failures, counts, and the recording's folder.
    """

    def __init__(self, name: str, result: RunResult) -> None:
        failures = "".join(f"\n  {failure}" for failure in result.failures)
        remedy = next((each.remedy for each in result.failures if each.remedy), "")
        super().__init__(f"the run of {name} failed:{failures}", remedy=remedy)
        self._name = name
        self.result = result

    def __reduce__(self) -> tuple[type[RunFailedError], tuple[str, RunResult]]:
        return type(self), (self._name, self.result)  # so that a process pool can pass it on


class Run:
    """A run that `mlink.start` has started. Its methods may be called from any thread.

    As a context manager it is entered when every module has started, and when the block is left,
    for whatever reason, the run is stopped and its files are closed. A forked child cannot use the
    runs of its parent, and does not end them.
    """

    def __init__(
        self, bench: Bench, options: RunOptions, *, check: bool = True, paused: bool = False
    ) -> None:
        """Start a run; programs call `mlink.start`."""
        self.bench = bench
        self._participant: Participant | None = None
        if options.virtual is not None:
            self._participant = Participant()
            if not paused:
                self._participant.go_on()
            options = replace(options, participant=self._participant)
        self._options = options
        self._check = check
        self._watcher = Watcher()
        self._engine = Engine(bench, options, self._watcher)
        self._aborted = False
        self._pid = os.getpid()
        self._ended = threading.Event()
        self._result: RunResult | None = None
        self._error: BaseException | None = None
        atexit.register(self._stop_at_exit)
        # A daemon, so that a program that forgot its run can end; then atexit closes the files.
        threading.Thread(target=self._run, name="mlink run", daemon=True).start()

    # what a program sees --------------------------------------------------------------------

    @property
    def status(self) -> RunStatus:
        """The newest snapshot: phase, elapsed time, counts and rates of all streams.

        The engine makes one four times a second. A snapshot does not change afterwards.
        """
        return self._watcher.status

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What has failed so far."""
        return tuple(self._engine.failures)

    @property
    def ended(self) -> bool:
        """Whether the run is over and its files are closed."""
        return self._ended.is_set()

    @property
    def result(self) -> RunResult:
        """How the run ended.

        Raises:
            MlinkError: The run has not ended; `wait` for it first.
            StorageError: The run could not be set up, for example without a place to record to.
        """
        if not self.ended:
            raise MlinkError("the run has not ended", remedy="Call its wait() or stop() first.")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def take_log(self) -> list[LogLine]:
        """Return what modules logged and scripts printed since the last call.

        When nothing takes them, the oldest lines beyond 10,000 are dropped, and the next call
        reports how many. The recording's `run.log` has all of them.
        """
        return self._watcher.take_log()

    # waiting and stopping ---------------------------------------------------------------------

    def wait_running(self, timeout_s: float | None = None) -> bool:
        """Wait until every module has started, or the run has ended before that.

        Args:
            timeout_s: How long to wait, in s; None means as long as it takes.

        Returns:
            Whether every module has started.

        Raises:
            MlinkError: This is a forked child of the process that started the run.
        """
        self._check_process()
        self._watcher.moved.wait(timeout_s)
        return self._watcher.has_run

    @overload
    def wait(self) -> RunResult: ...
    @overload
    def wait(self, timeout_s: float) -> RunResult | None: ...
    def wait(self, timeout_s: float | None = None) -> RunResult | None:
        """Wait until the run has ended and its files are closed.

        Args:
            timeout_s: How long to wait, in s; None means as long as it takes.

        Returns:
            How the run ended, also when it failed (`RunResult.success`); None after the timeout.

        Raises:
            StorageError: The run could not be set up.
            MlinkError: This is a forked child of the process that started the run.
            ControlError: The run stands still in virtual time, and there is no timeout.
        """
        self._check_process()
        stands = self._participant is not None and self._participant.has_turn
        if timeout_s is None and stands and not self.ended:
            raise ControlError(
                f"the run of {self.bench.name} stands still: waiting for its end has no end",
                remedy="Call its go_on() or stop() before.",
            )
        return self.result if self._ended.wait(timeout_s) else None

    def stop(self, reason: str = "stopped by the program") -> None:
        """Ask the run to end as a success; returns at once, `wait` waits for the end.

        Sources stop, what is under way is delivered, then files are closed. A run that has ended
        is left as it is.

        Args:
            reason: Why; noted as `stop_reason` in the result and the recording.

        Raises:
            MlinkError: The reason is not a text, or empty.
        """
        if not isinstance(reason, str) or not reason:
            raise MlinkError(
                f"the reason of a stop must be a text, not {reason!r}",
                remedy='For example run.stop("enough trials").',
            )
        if self._is_of_this_process():
            self._engine.request_stop(reason)

    # stepping through virtual time --------------------------------------------------------------

    def run_until(
        self,
        time_usec: int | None = None,
        *,
        edge: EdgeOf | None = None,
        limit_usec: int = LIMIT_USEC,
    ) -> Moment:
        """Let virtual time pass up to a moment or an edge; there the run stands still.

        Nothing that the run records depends on where it stands.

        Args:
            time_usec: Master time at which to stand, µs.
            edge: (board or chip, pin, "rising", "falling" or "any"): to stand at the next such
                edge, right after the instruction that caused it.
            limit_usec: Longest virtual time that is waited for the edge, µs.

        Returns:
            Where the run stands.

        Raises:
            BenchError: The run is in real time, or an argument is wrong.
            DeviceError: There is no such board, chip or pin.
            ControlError: The edge did not come in time, or the run has ended before.
        """
        stepping = self._stepping("run_until")
        if self._participant is not None and not self._participant.has_turn:
            self.pause()
        return stepping.run_until(time_usec, edge=edge, limit_usec=limit_usec)

    def pause(self) -> Moment:
        """Let the run stand still where it is, in virtual time; return where that is.

        Raises:
            BenchError: The run is in real time.
            ControlError: The run has ended.
        """
        return self._stepping("pause").pause()

    def go_on(self) -> None:
        """Let the run go on without standing, in virtual time.

        Raises:
            BenchError: The run is in real time.
        """
        self._stepping("go_on").go_on()

    def chip(self, name: str, elf: str | os.PathLike[str] | None = None) -> SimulatedChip:
        """Return a simulated board or chip, to look into it while the run stands still.

        Args:
            name: Its key in [devices], or its name in [virtual].
            elf: ELF file of its firmware, for its symbols; None takes its firmware if that is one.

        Raises:
            BenchError: The run is in real time, or its bench has no simulated devices.
            DeviceError: There is no such chip.
            ControlError: The run does not stand still.
        """
        return self._stepping("chip").chip(name, elf)

    def _stepping(self, what: str) -> Stepping:
        self._check_process()
        if self._participant is None:
            raise BenchError(
                f"{what}() is for runs in virtual time; this one is in real time",
                remedy='Start it with mlink.start(…, time="virtual").',
            )
        self.wait_running()
        return Stepping(self._participant, lambda: self._engine.simulation)

    def __enter__(self) -> Self:
        try:
            self.wait_running()
        except BaseException:
            self._end("interrupted while it started")
            raise
        if self.ended:
            self._raise_failure()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not self._is_of_this_process():
            return
        if error is None:
            self._end("the with block was left")
            self._raise_failure()
            return
        self._end(f"stopped by {type(error).__name__}")
        try:
            self._raise_failure()
        except BaseException as own:  # noqa: BLE001 - the exception of the block takes precedence
            if own is not error:
                error.add_note(f"besides: {own}")

    def __repr__(self) -> str:
        state = "ended" if self.ended else self.status.phase.value
        return f"<mlink.Run of {self.bench.name}: {state}, {self.status.elapsed_s:.1f} s>"

    def _end(self, reason: str) -> None:
        """Stop the run and wait for its end; with Ctrl-C meanwhile the modules are killed."""
        self.stop(reason)
        try:
            self._ended.wait()
        except KeyboardInterrupt:
            self._aborted = True
            self._engine.abort("aborted by Ctrl-C")
            self._ended.wait()
            raise

    def _raise_failure(self) -> None:
        """Raise what went wrong, if something did and the caller wants to know by an exception."""
        if not self.result.success and self._check:
            raise RunFailedError(self.bench.name, self.result)

    def _stop_at_exit(self) -> None:
        if self._is_of_this_process():
            self.stop("the program ended")
            self._ended.wait()

    def _is_of_this_process(self) -> bool:
        """Return whether the run's thread is here: False in a forked child."""
        return os.getpid() == self._pid

    def _check_process(self) -> None:
        if not self._is_of_this_process():
            raise MlinkError(
                f"the run of {self.bench.name} belongs to process {self._pid}",
                remedy="Use it there; start another one in this process.",
            )

    # the run's thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._result = self._engine.run()
            if self._options.encode:
                self._encode(self._result)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error
        finally:
            atexit.unregister(self._stop_at_exit)
            if self._participant is not None:
                self._participant.end()
            self._ended.set()
            self._watcher.moved.set()

    def _encode(self, result: RunResult) -> None:
        def check(_progress: object) -> None:
            if self._aborted:
                raise _EncodingAbortedError

        try:
            encode_raw_videos(result, check)
        except _EncodingAbortedError:
            result.stop_reason = "interrupted while its videos were encoded"


class _EncodingAbortedError(Exception):
    """Ends the encoding of raw videos, which `mlink encode` can go on with."""
