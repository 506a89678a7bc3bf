"""Starting runs: `start` returns at once, `run` when the run has ended."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mlink.api.bench import load_bench
from mlink.api.run import Run
from mlink.api.watcher import LogLine
from mlink.bench import Bench, Time
from mlink.bench.virtual_time import refuse_wrong_times
from mlink.engine.options import RunOptions
from mlink.engine.status import RunResult, RunStatus
from mlink.errors import BenchError, StorageError
from mlink.storage.place import Storage

_PROGRESS_PERIOD_S = 0.25
"""How often `run` calls its callbacks; the engine makes snapshots at the same rate."""


def start(
    bench: Bench | str | os.PathLike[str],
    *,
    duration_s: float | None = None,
    out: str | os.PathLike[str] | None = None,
    name: str | None = None,
    record: bool = True,
    time: Time | None = None,
    seed: int | None = None,
    speed: float | None = None,
    paused: bool = False,
    replayable: bool = False,
    encode: bool = True,
    strict: bool = False,
    subject: str = "",
    experimenter: str = "",
    comment: str = "",
    order: Sequence[str] | None = None,
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
        out: Folder for recordings; None means ./recordings. Relative to where the program is now.
        name: Name of the recording; None takes the bench's.
        record: Whether to record.
        time: "real", or "virtual": devices, all simulated, and modules take turns, repeatably
            (docs/virtual-time.md). None takes the bench's, else "real".
        seed: In virtual time: gives the recording its id and date, so that two runs give the same
            files. None takes the bench's, else a new id.
        speed: In virtual time: speed relative to real time. None takes the bench's, else as fast
            as possible.
        paused: In virtual time: whether the run stands still at master time 0, for `Run.run_until`.
        replayable: Whether to record what scripts receive, for `mlink replay`.
        encode: Whether to encode after the run what it recorded raw, where its recorder asks so.
        strict: Whether any loss is a failure; `strict = true` in the bench does the same.
        subject: Subject, noted in the recording; "" takes the one under [subject] of the bench.
        experimenter: Name of the experimenter, noted in the recording.
        comment: A comment, noted in the recording.
        order: Folders of the recording below `out`, some of "subject-id", "time", "experiment-id".
            None takes the bench's; what else its `[storage]` sets counts in any case.
        debug: Whether `Failure.detail` has the traceback.
        check: Whether a `with` block raises RunFailedError when the run has failed.

    Returns:
        The run, on its way.

    Raises:
        BenchError: The bench or an argument is wrong; nothing was started. All that fails later
            is reported by the `with` block, `Run.wait` and `Run.result`.
    """
    _check_duration(duration_s)
    for argument, text in (
        ("name", "" if name is None else name),
        ("subject", subject),
        ("experimenter", experimenter),
        ("comment", comment),
    ):
        if not isinstance(text, str):
            raise BenchError(f"{argument} must be a text, not {text!r}")
    refuse_wrong_times(time, seed, speed)
    checked = (
        replace(bench, time=time or bench.time)
        if isinstance(bench, Bench)
        else load_bench(bench, time=time)
    )
    checked = replace(checked, subject=checked.subject_of(subject))
    options = RunOptions(
        duration_s=duration_s,
        out_dir=_absolute(out),
        name=name,
        record=record,
        debug=debug,
        encode=encode,
        journal=replayable,
        strict=strict,
        subject=checked.subject.id,
        experimenter=experimenter,
        comment=comment,
        storage=_storage(checked, order),
    ).in_time_of(checked, seed=seed, speed=speed)
    if paused and options.virtual is None:
        raise BenchError(
            "paused is for virtual time: a run in real time cannot stand still",
            remedy='Add time="virtual", or leave it out.',
        )
    return Run(checked, options, check=check, paused=paused)


def run(
    bench: Bench | str | os.PathLike[str],
    *,
    duration_s: float | None = None,
    out: str | os.PathLike[str] | None = None,
    name: str | None = None,
    record: bool = True,
    time: Time | None = None,
    seed: int | None = None,
    speed: float | None = None,
    replayable: bool = False,
    encode: bool = True,
    strict: bool = False,
    subject: str = "",
    experimenter: str = "",
    comment: str = "",
    order: Sequence[str] | None = None,
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
        time: "real" or "virtual".
        seed: In virtual time: gives the recording its id and date.
        speed: In virtual time: speed relative to real time.
        replayable: Whether to record what scripts receive.
        encode: Whether to encode after the run what it recorded raw.
        strict: Whether any loss is a failure.
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
    arguments = dict(locals())  # those of `start`, and the callbacks
    for argument in ("on_status", "on_log"):
        callback = arguments.pop(argument)
        if callback is not None and not callable(callback):
            raise BenchError(f"{argument} must be a function, not {callback!r}")
    this = start(**arguments)
    with ExitStack() as stack:
        stack.push(this)  # not entered: progress is shown before all modules have started
        while (result := this.wait(_PROGRESS_PERIOD_S)) is None:
            _show(this, on_status, on_log)
        _show(this, on_status, on_log)
    return result


def _check_duration(duration_s: float | None) -> None:
    try:
        fits = duration_s is None or (math.isfinite(duration_s) and duration_s > 0)
    except (TypeError, OverflowError):  # no number; an int beyond the largest float
        fits = False
    if not fits:
        raise BenchError(f"duration_s must be more than 0 s, not {duration_s!r}")


def _storage(bench: Bench, order: Sequence[str] | None) -> Storage:
    """Return where the run is recorded: as the bench sets it, in this order of folders."""
    if order is None:
        return bench.storage
    if isinstance(order, str) or not isinstance(order, Sequence):
        raise BenchError(f"order must be a list of names, not {order!r}")
    storage = bench.storage.but({"order": order})
    try:
        storage.refuse_wrong_order()
    except StorageError as error:
        raise BenchError(error.message, remedy=error.remedy) from None
    return storage


def _absolute(out: str | os.PathLike[str] | None) -> Path:
    """Return the folder for recordings; the program may change its working directory later."""
    path = Path("recordings" if out is None else out)
    if "\0" in str(path):
        raise BenchError(f"out cannot be a path: {str(path)!r}")
    try:
        return path.absolute()
    except FileNotFoundError:  # the working directory was deleted: the run fails with its path
        return path


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
