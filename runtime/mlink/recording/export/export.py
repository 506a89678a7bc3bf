"""Export of a recording: CSV by Python, the other formats by their own libraries."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.recording.export.mat_file import export_mat
from mlink.recording.export.nwb_file import export_nwb
from mlink.recording.export.parts import Export, utf8
from mlink.recording.libraries import library
from mlink.recording.progress import Progress, quiet
from mlink.recording.signals import Signals
from mlink.recording.table import Table
from mlink.recording.video import Video
from mlink.storage.failures import storage_errors

_ROWS = 1 << 16
"""Rows of a CSV file that are made at once."""
_library = functools.partial(library, what="this export", extra="export")


def export_recording(
    recording: Recording,
    form: str,
    out: Path,
    *,
    failed: list[str] | None = None,
    subject: Mapping[str, str] | None = None,
    progress: Progress = quiet,
) -> list[Path]:
    """Write a recording in another format. No existing file is overwritten.

    Videos are not converted, since other programs can play them: their frame times are exported,
    and Rerun files contain their pictures.

    Args:
        recording: The recording.
        form: "csv", "parquet", "nwb", "mat" or "rrd".
        out: Folder for the files; created if it is missing.
        failed: Gets a text for each dataset that cannot be read, and the others are exported;
            without it, that is an exception.
        subject: Facts about the subject for NWB, which replace those of the recording.
        progress: Called for each dataset before it is read.

    Returns:
        The files written.

    Raises:
        StorageError: A file exists already or cannot be written, a library is missing, or (without
            `failed`) a dataset cannot be read.
    """
    return EXPORTERS[form](Export(recording, out, failed, subject or {}, progress))


def _to_csv(export: Export) -> list[Path]:
    made = []
    for name, _, columns in export.each():
        with export.apart(name):
            path = export.new_file(name, "csv")
            with (
                storage_errors(path),
                path.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file,
            ):
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                for at in range(0, max(map(len, columns.values())), _ROWS):
                    cells = (column[at : at + _ROWS].tolist() for column in columns.values())
                    writer.writerows(zip(*cells, strict=True))
            made.append(path)
    return made


def _to_parquet(export: Export) -> list[Path]:
    arrow, parquet = _library("pyarrow"), _library("pyarrow.parquet")
    made = []
    for name, stream, columns in export.each():
        with export.apart(name):
            path = export.new_file(name, "parquet")
            table = arrow.table(
                {utf8(title): _for_arrow(arrow, column) for title, column in columns.items()}
            )
            about = {
                "collection_id": export.recording.collection_id,
                "timestamp_source": stream.timestamp_source,
                "uncertainty_usec": str(stream.uncertainty_usec or ""),
                "items_lost": str(stream.lost),
                "time": str(export.recording.attributes.get("time", "real")),
            }
            with storage_errors(path):
                parquet.write_table(table.replace_schema_metadata(about), path)
            made.append(path)
    return made


def _for_arrow(arrow: Any, column: NDArray[Any]) -> Any:
    """Return a column of one type, which is text where the cells have several."""
    if column.dtype in (np.int64, np.float64):
        return arrow.array(column)
    cells = column.tolist()
    try:
        return arrow.array(cells)
    except (ValueError, TypeError, OverflowError):
        return arrow.array([None if cell is None else utf8(cell) for cell in cells])


def _to_rrd(export: Export) -> list[Path]:
    rerun = _library("rerun")
    path = export.whole("rrd")
    stream_out = rerun.RecordingStream("mlink", recording_id=export.recording.collection_id)
    stream_out.save(str(path))
    for name, stream, _ in export.each():
        with export.apart(name):
            if isinstance(stream, Video):
                for frame in stream:
                    stream_out.set_time("master", duration=frame.time_usec / 1e6)
                    mat = frame.mat[..., :3] if frame.mat.ndim == 3 else frame.mat
                    kind = "BGR" if frame.mat.ndim == 3 else "L"
                    stream_out.log(name, rerun.Image(mat, color_model=kind).compress(85))
            elif isinstance(stream, Signals) and stream.names:
                for at, channel in enumerate(stream.names):
                    stream_out.send_columns(
                        f"{name}/{channel}",
                        indexes=[rerun.TimeColumn("master", duration=stream.times_usec / 1e6)],
                        columns=rerun.Scalars.columns(scalars=stream.values[:, at]),
                    )
            elif isinstance(stream, Table):
                _rows_to_rerun(rerun, stream_out, name, stream)
    stream_out.flush()
    return [path]


def _rows_to_rerun(rerun: Any, stream_out: Any, name: str, table: Table) -> None:
    try:
        times = table.times_usec
    except StorageError:  # rows without times are logged as one text
        text = "\n".join("; ".join(row) for row in [table.header, *table.rows])
        stream_out.log(name, rerun.TextDocument(text), static=True)
        return
    for time_usec, row in zip(times, table.rows, strict=True):
        stream_out.set_time("master", duration=int(time_usec) / 1e6)
        stream_out.log(name, rerun.TextLog("; ".join(row)))


EXPORTERS: dict[str, Callable[[Export], list[Path]]] = {
    "csv": _to_csv,
    "parquet": _to_parquet,
    "nwb": export_nwb,
    "mat": export_mat,
    "rrd": _to_rrd,
}
