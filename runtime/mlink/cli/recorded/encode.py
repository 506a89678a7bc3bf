"""`mlink encode`: encode videos that were recorded raw; `mlink run` calls it at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mlink.cli.options import RecordingFolder
from mlink.cli.terminal.output import ExitCode, print_report, safe_console

if TYPE_CHECKING:
    from mlink.encoding.recording import EncodeReport
    from mlink.encoding.recording import Progress as FileProgress

Show: TypeAlias = Callable[["FileProgress"], None]


def encode(
    recording: RecordingFolder,
    parallel: Annotated[
        int | None,
        typer.Option(
            min=1, help="Files encoded at the same time.", show_default="the recorders' setting"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; progress to stderr.")] = False,
) -> None:
    """Encode videos that were recorded raw. Their recorders have deferred_encode_enabled = true."""
    console = safe_console(stderr=json)
    report = _encode(recording, parallel, console)
    if json:
        print_report(report)
    elif not report.encoded and not report.failed:
        console.print("nothing to encode")
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


def encode_after_run(recording: Path, console: Console, *, success: bool) -> bool:
    """Encode the raw videos that are due now; return False when one of them failed."""
    from mlink.encoding.after_run import is_due

    due = is_due(recording, success=success)
    if due is None:
        return True
    if not due:
        console.print(Text(f"to encode its raw videos: mlink encode {recording}"))
        return True
    console.print(Text("encoding the raw videos; `mlink encode` continues after a Ctrl-C"))
    return _encode(recording, None, console).ok


def _encode(recording: Path, parallel: int | None, console: Console) -> EncodeReport:
    from mlink.encoding.recording import encode_recording

    view = _bars if console.is_terminal else _lines
    with view(console) as show:
        report = encode_recording(recording, parallel=parallel, on_progress=show)
    for text in report.failed:
        console.print(Text(f"not encoded: {text}", "red"))
    return report


@contextmanager
def _bars(console: Console) -> Iterator[Show]:
    """Show a progress bar for each file, for a terminal."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
        console=console,
    )
    tasks: dict[str, TaskID] = {}

    def show(file: FileProgress) -> None:
        if file.label not in tasks:
            tasks[file.label] = progress.add_task(file.label, total=file.total)
        progress.update(tasks[file.label], completed=file.frames)

    with progress:
        yield show


@contextmanager
def _lines(console: Console) -> Iterator[Show]:
    """Print a line at a file's start, after each tenth of it and at its end, for a log."""
    printed: dict[str, int] = {}

    def show(file: FileProgress) -> None:
        tenth = 11 if file.done else 10 * file.frames // max(1, file.total)
        if file.error or printed.get(file.label, -1) >= tenth:
            return
        printed[file.label] = tenth
        how = "done" if file.done else f"{file.frames} of {file.total} frames"
        console.print(Text(f"encoding {file.label}: {how}"))

    yield show
