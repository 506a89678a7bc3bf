"""`mlink export`: write a recording in the formats of other programs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mlink.cli.options import RecordingFolder, ShowProgress, SubjectFile
from mlink.cli.terminal.output import ExitCode, progress_lines, safe_console


class Format(enum.StrEnum):
    """Formats of `mlink export`."""

    csv = "csv"
    parquet = "parquet"
    nwb = "nwb"
    mat = "mat"
    rrd = "rrd"
    mp4 = "mp4"


def export(
    recording: RecordingFolder,
    to: Annotated[Format, typer.Option("--to", help="Format of the files.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the files.", show_default="./NAME-FORMAT"),
    ] = None,
    subject_file: SubjectFile = None,
    progress: ShowProgress = False,
) -> None:
    """Write a recording as CSV, Parquet, NWB, MATLAB or Rerun files, or its videos as MP4."""
    import mlink.recording
    from mlink.bench.subject import read_subject
    from mlink.recording.export.export import export_recording
    from mlink.recording.export.nwb_file import missing_facts, subject_facts

    with mlink.recording.open(recording) as opened:
        target = out or Path(f"{recording.resolve().name}-{to.value}")
        failed: list[str] = []
        tell = progress_lines(progress)
        subject = {} if subject_file is None else read_subject(subject_file).facts
        if to is Format.mp4:
            from mlink.encoding.mp4 import export_mp4

            made = export_mp4(opened, target, failed=failed, progress=tell)
        else:
            files = export_recording(
                opened, to.value, target, failed=failed, subject=subject, progress=tell
            )
            made = [(path, "") for path in files]
        unknown = missing_facts(subject_facts(opened, subject)) if to is Format.nwb else []
    console, errors = safe_console(), safe_console(stderr=True)
    for path, changes in made:
        console.print(Text(f"{path} ({changes})" if changes else str(path)))
    if unknown:
        typer.echo(
            f"not known of the subject: {', '.join(unknown)}. Archives refuse the file without it "
            "(nwbinspector: CRITICAL), other programs read it: give it by --subject-file, or under "
            "[subject] of the bench.",
            err=True,
        )
    for text in failed:
        errors.print(Text(f"not exported: {text}"))
    if failed:
        raise typer.Exit(ExitCode.FAILED)
    if not made:
        typer.echo("the recording has nothing to export")
