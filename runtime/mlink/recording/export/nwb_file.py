"""Export as Neurodata Without Borders (NWB 2), by pynwb."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.recording.export.parts import HDF5_COLUMNS, Export, utf8
from mlink.recording.libraries import library
from mlink.recording.signals import Signals
from mlink.recording.stream import Columns, RecordedStream, unique_titles
from mlink.recording.video import Video
from mlink.storage.failures import storage_errors

_OF_SUBJECT = ("age", "description", "genotype", "species", "strain", "weight")
_NEEDED = ("id", "age", "sex", "species")


def subject_facts(recording: Recording, given: Mapping[str, str]) -> dict[str, str]:
    """Return what the run recorded about its subject, and what is given instead or besides."""
    attributes = recording.attributes
    known = {key: _text(value) for key, value in attributes.get("subject", {}).items()}
    if attributes.get("subject_id"):
        known["id"] = _text(attributes["subject_id"])
    return {**known, **given}


def missing_facts(facts: Mapping[str, str]) -> list[str]:
    """Return the names of those facts about a subject that archives need and that are not known."""
    known = {name for name, value in facts.items() if value}
    if "date_of_birth" in known:
        known.add("age")
    return [name for name in _NEEDED if name not in known]


def export_nwb(export: Export) -> list[Path]:
    """Write one NWB file; it refers to the videos by paths relative to itself.

    Raises:
        StorageError: As `export_recording`.
    """
    nwb = library("pynwb", "this export", extra="export")
    path = export.whole("nwb")
    file = _begun(nwb, export)
    names: list[str] = []
    for name, stream, columns in export.each(HDF5_COLUMNS):
        if not any(map(len, columns.values())):
            continue  # nwbinspector has errors of its own for tables without rows
        with export.apart(name):
            (title,) = unique_titles([_in_nwb(name)], *names)
            names.append(title)
            file.add_acquisition(_container(nwb, title, stream, columns, export.out))
    with storage_errors(path), nwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return [path]


def _begun(nwb: Any, export: Export) -> Any:
    """Return a file with what is known about the session and its subject."""
    recording = export.recording
    attributes = recording.attributes
    facts = subject_facts(recording, export.subject)
    created: datetime | None = recording.manifest.get("time_created")
    if created is None:
        raise StorageError(
            "the recording's manifest has no time_created, which NWB requires",
            remedy="Restore manifest.toml from a copy.",
        )
    authors = [_text(author["name"]) for author in recording.manifest.get("authors", [])]
    virtual = " (in virtual time)" if attributes.get("time") == "virtual" else ""
    return nwb.NWBFile(
        session_description=_text(attributes.get("user_comment") or recording.path.name) + virtual,
        identifier=_text(recording.collection_id),
        session_start_time=created,
        experimenter=authors or None,
        experiment_description=_text(attributes.get("bench_name", "")) or None,
        institution=facts.get("institution") or None,
        lab=facts.get("lab") or None,
        subject=_subject(nwb, facts) if facts else None,
    )


def _subject(nwb: Any, facts: Mapping[str, str]) -> Any:
    born = facts.get("date_of_birth")
    try:
        return nwb.file.Subject(
            subject_id=facts.get("id"),
            sex=facts.get("sex") or "U",  # unknown
            date_of_birth=datetime.fromisoformat(born).replace(tzinfo=UTC) if born else None,
            **{name: facts.get(name) or None for name in _OF_SUBJECT},
        )
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"what is recorded about the subject does not fit NWB: {error}",
            remedy="Give it by --subject-file.",
        ) from error


def _container(nwb: Any, title: str, stream: RecordedStream, columns: Columns, out: Path) -> Any:
    """Return a dataset as NWB's object for its kind."""
    if isinstance(stream, Video):
        files = [stream.path.resolve() / part for part in stream.part_names]
        return nwb.image.ImageSeries(
            name=title,
            description=_text(f"video {stream.name} of the recording"),
            external_file=[os.path.relpath(file, out.resolve()) for file in files],
            format="external",
            unit="n.a.",
            starting_frame=stream.part_starts,
            **_times(stream.times_usec, _beside_rate(nwb, len(stream))),
        )
    # nwbinspector takes what has more channels than samples for transposed: that is a table.
    if (
        isinstance(stream, Signals)
        and len(stream.values) >= len(stream.names)
        and "time_usec" in columns
        and stream.values.dtype != object
    ):
        return nwb.TimeSeries(
            name=title,
            description=_text(f"channels: {', '.join(stream.names) or 'none'}"),
            data=stream.values,
            **_times(stream.times_usec, {}),
            unit=_text(stream.unit) or "n.a.",
            conversion=float(stream.attributes.get("data_scale", 1.0)),
            offset=float(stream.attributes.get("data_offset", 0.0)),
        )
    headings = unique_titles(map(_in_nwb, columns), "id")  # NWB numbers the rows itself
    return nwb.core.DynamicTable(
        name=title,
        description=_text(f"{stream.name} of the recording"),
        columns=[
            nwb.core.VectorData(
                name=heading, description=_text(given) or heading, data=_data(column)
            )
            for heading, (given, column) in zip(headings, columns.items(), strict=True)
        ],
    )


def _times(times_usec: NDArray[np.int64], beside_rate: dict[str, int] | None) -> dict[str, Any]:
    """Return the times of a series: begin and rate if all intervals are equal, else each.

    Args:
        times_usec: The times.
        beside_rate: What else a series with a rate has to have; None if it cannot have one.
    """
    if len(times_usec) > 1 and beside_rate is not None:
        step, *others = np.unique(np.diff(times_usec)).tolist()
        if not others and step > 0:
            return {"starting_time": times_usec[0] / 1e6, "rate": 1e6 / step, **beside_rate}
    return {"timestamps": times_usec / 1e6}


def _beside_rate(nwb: Any, count: int) -> dict[str, int] | None:
    """Return what pictures in files of their own need beside a rate: their number.

    Older versions of pynwb have no place for it: then their times are written, of which
    nwbinspector reports that they are regular.
    """
    known = "num_samples" in nwb.image.ImageSeries.__nwbfields__
    return {"num_samples": count} if known else None


def _in_nwb(name: str) -> str:
    """Return a name without the characters that have a meaning in paths of NWB."""
    return _text(name).replace("/", "-").replace(":", "-") or "untitled"


def _text(value: object) -> str:
    """Return a value as a text of HDF5, which would end at a zero character."""
    return utf8(value).replace("\0", "\\0")


def _data(column: NDArray[Any]) -> Any:
    """Return a column as a list, from which HDF5 infers the type; an empty one as float64."""
    if not len(column):
        return np.empty(0)
    if column.dtype == object:  # HDF5 has no null
        return ["" if cell is None else _text(cell) for cell in column]
    return column.tolist()
