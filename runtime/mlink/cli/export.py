"""`mlink export`: write a recording in the formats of other programs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from mlink.cli.options import RecordingFolder
from mlink.cli.output import ExitCode


class Format(enum.StrEnum):
    """Formats of `mlink export`."""

    csv = "csv"
    parquet = "parquet"
    nwb = "nwb"
    rrd = "rrd"
    mp4 = "mp4"


def export(
    recording: RecordingFolder,
    to: Annotated[Format, typer.Option("--to", help="Format of the files.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the files.", show_default="./NAME-FORMAT"),
    ] = None,
) -> None:
    """Write a recording as CSV, Parquet, NWB or Rerun files, or its videos as MP4 (H.264)."""
    import mlink.recording
    from mlink.recording.export import export_recording

    with mlink.recording.open(recording) as opened:
        target = out or Path(f"{recording.resolve().name}-{to.value}")
        failed: list[str] = []
        if to is Format.mp4:
            from mlink.encoding.mp4 import export_mp4

            made = export_mp4(opened, target, failed=failed)
        else:
            files = export_recording(opened, to.value, target, failed=failed)
            made = [(path, "") for path in files]
    for path, changes in made:
        typer.echo(f"{path} ({changes})" if changes else str(path))
    for text in failed:
        typer.echo(f"not exported: {text}", err=True)
    if failed:
        raise typer.Exit(ExitCode.FAILED)
    if not made:
        typer.echo("the recording has nothing to export")
