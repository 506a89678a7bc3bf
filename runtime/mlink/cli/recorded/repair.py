"""`mlink repair`: close a recording that a crash left open."""

from __future__ import annotations

import typer
from rich.text import Text

from mlink.cli.options import AsJson, RecordingFolder, ShowProgress
from mlink.cli.terminal.output import ExitCode, print_report, progress_lines, safe_console


def repair(
    recording: RecordingFolder,
    json: AsJson = False,
    progress: ShowProgress = False,
) -> None:
    """Close a recording that a crash left open. Intact data is never changed."""
    from mlink.cli.recorded.verify import show
    from mlink.recording.care.repair import repair_recording

    report = repair_recording(recording, progress=progress_lines(progress))
    if json:
        print_report(report)
    else:
        console = safe_console()
        for text in report.done:
            console.print(Text(f"done: {text}"))
        for text in report.failed:
            console.print(Text(f"not repaired: {text}", "red"))
        if not report.done and report.ok:
            console.print("nothing to repair")
        if report.after is not None:
            show(report.after, console, repaired=True)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)
