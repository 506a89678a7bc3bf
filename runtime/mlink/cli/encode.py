"""`mlink encode`: encode what a run recorded raw, and how `mlink run` does so at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

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

if TYPE_CHECKING:
    from mlink.encoding.recording import EncodeReport
    from mlink.encoding.recording import Progress as FileProgress


def encode(
    recording: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Files at a time.", show_default="the recorders' setting"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; progress to stderr.")] = False,
) -> None:
    """Encode the videos that a run recorded raw (deferred_encode_enabled)."""
    console = Console(stderr=json, soft_wrap=True, highlight=False)
    report = _encode(recording, parallel, console)
    if json:
        import msgspec

        plain = msgspec.to_builtins(report) | {"ok": report.ok}
        typer.echo(msgspec.json.format(msgspec.json.encode(plain)).decode())
    elif not report.encoded and not report.failed:
        console.print("there was nothing to encode")
    if not report.ok:
        raise typer.Exit(1)


def encode_after_run(recording: Path, console: Console, *, success: bool) -> bool:
    """Encode what is to be encoded at once; return whether that went well."""
    from mlink.encoding.after_run import is_due

    due = is_due(recording, success=success)
    if due is None:
        return True
    if not due:
        console.print(Text(f"to encode its raw videos: mlink encode {recording}"))
        return True
    console.print(Text("encoding the raw videos; Ctrl-C leaves them for `mlink encode`"))
    return _encode(recording, None, console).ok


def _encode(recording: Path, parallel: int | None, console: Console) -> EncodeReport:
    from mlink.encoding.recording import encode_recording

    view = _Bars(console) if console.is_terminal else _Lines(console)
    with view:
        report = encode_recording(recording, parallel=parallel, tell=view.show)
    for text in report.failed:
        console.print(Text(f"not encoded: {text}", "red"))
    return report


class _Bars:
    """A bar for each file, for a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, file: FileProgress) -> None:
        """Move a file's bar."""
        if file.label not in self._tasks:
            self._tasks[file.label] = self._progress.add_task(file.label, total=file.total)
        self._progress.update(self._tasks[file.label], completed=file.frames)


class _Lines:
    """A line at a file's beginning, each tenth of it, and its end, for a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, file: FileProgress) -> None:
        """Tell when there is news."""
        tenth = 11 if file.done else 10 * file.frames // max(1, file.total)
        if file.error or self._told.get(file.label, -1) >= tenth:
            return
        self._told[file.label] = tenth
        how = "done" if file.done else f"{file.frames} of {file.total} frames"
        self._console.print(Text(f"encoding {file.label}: {how}"))
