"""Runs of benches from Python: blocking, or beside the program that started them.

A run has one thread, in which the engine polls its workers. The program's own threads only look at
it, ask it to stop and wait for it, so nothing that they do can delay it. Signals stay the
program's: Ctrl-C raises KeyboardInterrupt in its main thread, as it does anywhere else.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, overload

from mlink.api.bench import load_bench
from mlink.api.watcher import LogLine, Watcher
from mlink.bench import Bench
from mlink.engine.encode import encode_raw_videos
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import Failure, RunResult, RunStatus
from mlink.errors import BenchError, MlinkError
from mlink.storage.naming import DEFAULT_ORDER

_PROGRESS_PERIOD_S = 0.25
"""How often `run` calls its callbacks; the engine makes snapshots at the same rate."""


class RunFailedError(MlinkError):
    """A run failed. Its recording, if there is one, is closed and holds what came before.

    Attributes:
        result: How the run ended, with all its failures, counts, and the recording's folder.
    """

    def __init__(self, name: str, result: RunResult) -> None:
        failures = "".join(f"\n  {failure}" for failure in result.failures)
        remedy = next((each.remedy for each in result.failures if each.remedy), "")
        super().__init__(f"the run of {name} failed:{failures}", remedy=remedy)
        self.result = result


class Run:
    """A run that `mlink.start` has started. Its methods may be called from any thread.

    As a context manager it is entered when every module has started, and when the block is left,
    for whatever reason, the run is stopped and its files are closed.
    """

    def __init__(self, bench: Bench, options: RunOptions, *, check: bool = True) -> None:
        """Prepare a run; `mlink.start` makes one, and starts its thread."""
        self.bench = bench
        self._options = options
        self._check = check
        self._watcher = Watcher()
        self._engine = Engine(bench, options, self._watcher)
        self._aborted = False
        self._ended = threading.Event()
        self._result: RunResult | None = None
        self._error: BaseException | None = None
        # A daemon, so that a program that forgot its run can end; then atexit closes the files.
        self._thread = threading.Thread(target=self._run, name="mlink run", daemon=True)

    def _start(self) -> None:
        atexit.register(self._stop_at_exit)
        self._thread.start()

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
        """
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
        """
        return self.result if self._ended.wait(timeout_s) else None

    def stop(self, reason: str = "stopped by the program") -> None:
        """Ask the run to end as a success; returns at once, `wait` waits for the end.

        Sources stop, what is under way is delivered, then files are closed. A run that has ended
        is left as it is.

        Args:
            reason: Why; noted as `stop_reason` in the result and the recording.
        """
        self._engine.request_stop(reason)

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
        self._leave(error)

    def _leave(self, error: BaseException | None = None) -> None:
        """End the run, as a `with` block does that `error` leaves; it gets failures as a note."""
        if error is None:
            self._end("the with block was left")
            self._raise_failure()
            return
        self._end(f"stopped by {type(error).__name__}")
        try:
            self._raise_failure()
        except BaseException as own:  # noqa: BLE001 - whatever it is, the block's error goes first
            if own is not error:
                error.add_note(f"besides: {own}")

    def __repr__(self) -> str:
        state = "ended" if self.ended else self.status.phase.value
        return f"<mlink.Run of {self.bench.name}: {state}, {self.status.elapsed_s:.1f} s>"

    def _end(self, reason: str) -> None:
        """Stop the run and wait for its end; Ctrl-C meanwhile gives it up without waiting."""
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
        self.stop("the program ended")
        self._ended.wait()

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


def start(
    bench: Bench | str | os.PathLike[str],
    *,
    duration_s: float | None = None,
    out: str | os.PathLike[str] | None = None,
    name: str | None = None,
    record: bool = True,
    replayable: bool = False,
    encode: bool = True,
    subject: str = "",
    experimenter: str = "",
    comment: str = "",
    order: Sequence[str] = DEFAULT_ORDER,
    debug: bool = False,
    check: bool = True,
) -> Run:
    """Start a run, which lasts beside the calling program; returns at once.

        with mlink.start("bench.toml") as run:      # entered when every module has started
            while run.wait(1.0) is None:
                print(run.status.elapsed_s)

    Leaving the block stops the run and closes its files, also when an exception leaves it. A second
    Ctrl-C during that kills the modules at once. Without `with`, call `stop` and `wait`; a program
    that ends stops its runs. Several runs may last at once, each with devices of its own.

    Args:
        bench: A bench, or the path of one.
        duration_s: Length of the run in s; None lasts until it is stopped or ends by itself.
        out: Folder for recordings; None means ./recordings.
        name: Name of the recording; None takes the bench's.
        record: Whether to record.
        replayable: Whether to record what scripts receive, for `mlink replay`.
        encode: Whether to encode after the run what it recorded raw, where its recorder asks so.
        subject: Subject, noted in the recording.
        experimenter: Name of the experimenter, noted in the recording.
        comment: A comment, noted in the recording.
        order: Folders of the recording below `out`, some of "subject-id", "time", "experiment-id".
        debug: Whether `Failure.detail` has the traceback.
        check: Whether a `with` block raises RunFailedError when the run has failed.

    Returns:
        The run, on its way.

    Raises:
        BenchError: The bench or an argument is wrong; nothing was started. All that fails later
            is reported by the `with` block, `Run.wait` and `Run.result`.
    """
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise BenchError(f"duration_s must be more than 0 s, not {duration_s}")
    options = RunOptions(
        duration_s=duration_s,
        out_dir=None if out is None else Path(out),
        name=name,
        record=record,
        debug=debug,
        encode=encode,
        journal=replayable,
        subject=subject,
        experimenter=experimenter,
        comment=comment,
        directory_order=tuple(order),
    )
    this = Run(bench if isinstance(bench, Bench) else load_bench(bench), options, check=check)
    this._start()
    return this


def run(
    bench: Bench | str | os.PathLike[str],
    *,
    duration_s: float | None = None,
    out: str | os.PathLike[str] | None = None,
    name: str | None = None,
    record: bool = True,
    replayable: bool = False,
    encode: bool = True,
    subject: str = "",
    experimenter: str = "",
    comment: str = "",
    order: Sequence[str] = DEFAULT_ORDER,
    debug: bool = False,
    check: bool = True,
    on_status: Callable[[RunStatus], object] | None = None,
    on_log: Callable[[LogLine], object] | None = None,
) -> RunResult:
    """Run a bench to its end and return how it went.

    Ctrl-C (in a notebook: interrupting the kernel) stops the run, closes its files and raises
    KeyboardInterrupt. To end a run by hand and go on with its result, use `start`.

    Args:
        bench: As for `start`, like all arguments down to `debug`.
        duration_s: Length in s; None lasts until the bench ends by itself.
        out: Folder for recordings.
        name: Name of the recording.
        record: Whether to record.
        replayable: Whether to record what scripts receive.
        encode: Whether to encode after the run what it recorded raw.
        subject: Subject.
        experimenter: Name of the experimenter.
        comment: A comment.
        order: Folders of the recording below `out`.
        debug: Whether `Failure.detail` has the traceback.
        check: Whether to raise RunFailedError when the run has failed; else look at
            `RunResult.success`.
        on_status: Called with the newest snapshot, about four times a second and at the end.
        on_log: Called with each line that a module logs or a script prints.

    The callbacks are called in the calling thread. One that is slow misses snapshots and does not
    delay the run; one that raises stops the run, and `run` raises its exception.

    Returns:
        The result: failures, length, counts of all streams, figures, the recording's folder.

    Raises:
        BenchError: The bench or an argument is wrong; nothing was started.
        RunFailedError: The run failed, and `check` is true; its `result` has everything.
        StorageError: The run could not be set up.
    """
    this = start(
        bench,
        duration_s=duration_s,
        out=out,
        name=name,
        record=record,
        replayable=replayable,
        encode=encode,
        subject=subject,
        experimenter=experimenter,
        comment=comment,
        order=order,
        debug=debug,
        check=check,
    )
    try:
        result = this.wait(_PROGRESS_PERIOD_S)
        while result is None:
            _show(this, on_status, on_log)
            result = this.wait(_PROGRESS_PERIOD_S)
        _show(this, on_status, on_log)
    except BaseException as error:
        this._leave(error)
        raise
    this._leave()
    return result


def _show(
    this: Run,
    on_status: Callable[[RunStatus], object] | None,
    on_log: Callable[[LogLine], object] | None,
) -> None:
    for line in this.take_log():
        if on_log is not None:
            on_log(line)
    if on_status is not None:
        on_status(this.status)
