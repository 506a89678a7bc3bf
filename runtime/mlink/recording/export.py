"""Export of a recording: CSV by Python, Parquet, NWB and Rerun by their own libraries."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.sync_points import SyncPoints
from mlink.recording.table import Table
from mlink.recording.video import Video
from mlink.storage.failures import UNEXPECTED, damage_of, storage_errors

_PACKAGES = {"pyarrow": "pyarrow", "pynwb": "pynwb", "rerun": "rerun-sdk"}

Columns = dict[str, NDArray[Any]]


def export_recording(
    recording: Recording, form: str, out: Path, *, failed: list[str] | None = None
) -> list[Path]:
    """Write a recording in another format. No existing file is overwritten.

    Videos are not converted, since other programs can play them: their frame times are exported,
    and Rerun files contain their pictures.

    Args:
        recording: The recording.
        form: "csv", "parquet", "nwb" or "rrd".
        out: Folder for the files; created if it is missing.
        failed: Gets a text for each dataset that cannot be read, and the others are exported;
            without it, that is an exception.

    Returns:
        The files written.

    Raises:
        StorageError: A file exists already or cannot be written, a library is missing, or (without
            `failed`) a dataset cannot be read.
    """
    with storage_errors(out, "create"):
        out.mkdir(parents=True, exist_ok=True)
    return EXPORTERS[form](recording, out, failed)


def columns_of(stream: RecordedStream) -> Columns:
    """Return a stream as columns by title; `time_usec` is µs of the master timer.

    Videos give frame numbers and times, tables and signals their columns, pairs of a clock
    synchroniser `device_time` and `master_time`. Other streams give no columns.
    """
    if isinstance(stream, Video):
        return {"frame": np.arange(len(stream)), "time_usec": stream.times_usec}
    if isinstance(stream, Table):
        return {title: stream.column(title) for title in stream.header}
    if isinstance(stream, Signals):
        found: Columns = {}
        try:
            found["time_usec"] = stream.times_usec
        except StorageError:
            pass  # rows of a table without times
        return found | {name: stream.values[:, at] for at, name in enumerate(stream.names)}
    if isinstance(stream, SyncPoints):
        return {"device_time": stream.pairs[:, 0], "master_time": stream.pairs[:, 1]}
    return {}


def _each(
    recording: Recording, failed: list[str] | None
) -> Iterator[tuple[str, RecordedStream, Columns]]:
    for name in recording:
        with apart(name, failed):
            if columns := columns_of(recording[name]):
                yield name, recording[name], columns


@contextmanager
def apart(name: str, failed: list[str] | None) -> Iterator[None]:
    """Note what is wrong with a dataset, so that others are exported all the same.

    Args:
        name: The dataset.
        failed: Gets the text; None raises the error.

    Raises:
        StorageError: The dataset cannot be exported, and `failed` is None.
    """
    try:
        yield
    except UNEXPECTED as error:
        if failed is None:
            raise (
                error
                if isinstance(error, StorageError)
                else StorageError(f"'{name}' cannot be exported: {damage_of(error)}")
            ) from error
        failed.append(f"{name}: {damage_of(error)}")


def new_file(out: Path, name: str, suffix: str) -> Path:
    """Return the path of a new file for a stream.

    Raises:
        StorageError: It exists already.
    """
    path = out / f"{name.replace('/', '-')}.{suffix}"
    if path.exists():
        raise StorageError(f"{path} exists already", remedy="Choose another folder with --out.")
    return path


def _to_csv(recording: Recording, out: Path, failed: list[str] | None) -> list[Path]:
    made = []
    for name, _, columns in _each(recording, failed):
        with apart(name, failed):
            path = new_file(out, name, "csv")
            with (
                storage_errors(path),
                path.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file,
            ):
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                cells = (column.tolist() for column in columns.values())
                writer.writerows(zip(*cells, strict=True))
            made.append(path)
    return made


def _to_parquet(recording: Recording, out: Path, failed: list[str] | None) -> list[Path]:
    arrow, parquet = _library("pyarrow"), _library("pyarrow.parquet")
    made = []
    for name, stream, columns in _each(recording, failed):
        with apart(name, failed):
            path = new_file(out, name, "parquet")
            table = arrow.table(
                {title: arrow.array(column.tolist()) for title, column in columns.items()}
            )
            about = {
                "collection_id": recording.collection_id,
                "timestamp_source": stream.timestamp_source,
                "uncertainty_usec": str(stream.uncertainty_usec or ""),
                "items_lost": str(stream.lost),
                "time": str(recording.attributes.get("time", "real")),
            }
            with storage_errors(path):
                parquet.write_table(table.replace_schema_metadata(about), path)
            made.append(path)
    return made


def _to_nwb(recording: Recording, out: Path, failed: list[str] | None) -> list[Path]:
    nwb = _library("pynwb")
    path = new_file(out, recording.path.resolve().name, "nwb")
    subject = str(recording.attributes.get("subject_id", ""))
    file = nwb.NWBFile(
        session_description=str(recording.attributes.get("user_comment") or recording.path.name)
        + (" (in virtual time)" if recording.attributes.get("time") == "virtual" else ""),
        identifier=recording.collection_id,
        session_start_time=_time_created(recording),
        experimenter=[str(author["name"]) for author in recording.manifest.get("authors", [])]
        or None,
        subject=nwb.file.Subject(subject_id=subject, species="unknown") if subject else None,
    )
    for name, stream, columns in _each(recording, failed):
        with apart(name, failed):
            title = name.replace("/", "-")
            if isinstance(stream, Video):
                files = [str(stream.path / part) for part in stream.part_names]
                file.add_acquisition(
                    nwb.image.ImageSeries(
                        name=title,
                        external_file=files,
                        format="external",
                        unit="n.a.",
                        starting_frame=stream.part_starts,
                        timestamps=stream.times_usec / 1e6,
                    )
                )
            elif isinstance(stream, Signals) and "time_usec" in columns:
                file.add_acquisition(
                    nwb.TimeSeries(
                        name=title,
                        data=stream.values,
                        timestamps=stream.times_usec / 1e6,
                        unit=stream.unit or "n.a.",
                        conversion=float(stream.attributes.get("data_scale", 1.0)),
                        offset=float(stream.attributes.get("data_offset", 0.0)),
                        comments=", ".join(stream.names) or "no channels",
                    )
                )
            elif isinstance(stream, Table):
                made = [
                    nwb.core.VectorData(name=heading, description=heading, data=_nwb_data(column))
                    for heading, column in columns.items()
                ]
                about = f"table {name}"
                file.add_acquisition(
                    nwb.core.DynamicTable(name=title, description=about, columns=made)
                )
    with storage_errors(path), nwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return [path]


def _time_created(recording: Recording) -> datetime:
    created: datetime | None = recording.manifest.get("time_created")
    if created is None:
        raise StorageError(
            "the recording's manifest has no time_created, which NWB requires",
            remedy="Restore manifest.toml from a copy.",
        )
    return created


def _nwb_data(column: NDArray[Any]) -> Any:
    """Return a column as a list, from which HDF5 infers the type; an empty one as float64."""
    return column.tolist() if len(column) else np.empty(0)


def _to_rrd(recording: Recording, out: Path, failed: list[str] | None) -> list[Path]:
    rerun = _library("rerun")
    path = new_file(out, recording.path.resolve().name, "rrd")
    stream_out = rerun.RecordingStream("mlink", recording_id=recording.collection_id)
    stream_out.save(str(path))
    for name, stream, _ in _each(recording, failed):
        with apart(name, failed):
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


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = _PACKAGES[name.partition(".")[0]]
        raise StorageError(
            f"this export needs {package}, which is not installed",
            remedy=f"pip install {package}   (or all: pip install 'mlink-hil[export]')",
        ) from error


EXPORTERS: dict[str, Callable[[Recording, Path, list[str] | None], list[Path]]] = {
    "csv": _to_csv,
    "parquet": _to_parquet,
    "nwb": _to_nwb,
    "rrd": _to_rrd,
}
