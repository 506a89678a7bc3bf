"""`mlink verify`: check that a recording is complete and intact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from mlink.cli.options import AsJson, RecordingFolder, ShowProgress
from mlink.cli.terminal.output import ExitCode, print_report, progress_lines, safe_console

if TYPE_CHECKING:
    from mlink.recording.care.verify import VerifyReport

_STYLES = {"damage": "red", "unfinished": "yellow", "incomplete": "red", "note": "dim"}


def verify(
    recording: RecordingFolder,
    decode: Annotated[
        bool, typer.Option("--decode", help="Also decode every picture (slow).")
    ] = False,
    json: AsJson = False,
    progress: ShowProgress = False,
) -> None:
    """Check a recording: files and counts. Exit code 1 if anything is wrong or missing."""
    from mlink.recording.care.repair import left_by_repair
    from mlink.recording.care.verify import verify_recording

    report = verify_recording(recording, decode=decode, progress=progress_lines(progress))
    if json:
        print_report(report)
    else:
        left = left_by_repair(recording)
        show(report, safe_console(), left=left)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


def show(
    report: VerifyReport, console: Console, *, repaired: bool = False, left: Sequence[str] = ()
) -> None:
    """Print the datasets, then the findings, then the remedy.

    Args:
        report: The result of a verification.
        console: Where it is printed.
        repaired: Whether it was made after a repair, which cannot do more.
        left: What a repair has left, and why.
    """
    for dataset in report.datasets:
        count = "" if dataset.items is None else f", {dataset.items} items"
        times = "" if dataset.times is None else f", {dataset.times} times"
        console.print(Text(f"{dataset.name}: {dataset.kind}{count}{times}"))
    for finding in report.findings:
        where = f"{finding.dataset}: " if finding.dataset else ""
        console.print(Text(f"{finding.level}: {where}{finding.text}", _STYLES[finding.level]))
    for hint in report.hints:
        console.print(Text(f"hint of the run: {hint}", "yellow"))
    if report.ok and report.account:
        console.print(Text("complete and intact", "green"))
    elif report.ok:
        console.print(Text("intact; whether it is complete is not known", "yellow"))
    elif report.intact:
        console.print(Text("intact, but not complete", "red"))
    elif repaired:
        text = "  → What is listed as damage or unfinished remains: restore it from a copy."
        console.print(text, markup=False)
    elif report.of_level("unfinished"):
        for text in left:
            console.print(Text(f"not repaired: {text}", "red"))
        first = "Restore what mlink repair has left from a copy; then: " if left else ""
        console.print(f"  → {first}mlink repair {report.path}", markup=False)
    else:
        console.print("  → Damage cannot be repaired: restore it from a copy.", markup=False)
