"""Summary of a recording, for `mlink info` and others.

Videos are not decoded, and checksums other than those of tsync files are not computed, so that it
is fast for large recordings. `mlink verify` checks everything.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.storage.account import read_account, recorded_by
from mlink.storage.csv_rows import examine_table
from mlink.storage.edl import UNCLOSED
from mlink.storage.failures import storage_errors
from mlink.storage.manifest import ATTRIBUTES, FORMAT_VERSION, MANIFEST, read_toml
from mlink.storage.tree import data_kind, not_a_file
from mlink.storage.tsync_reader import read_tsync


class FileSummary(msgspec.Struct, kw_only=True):
    """One file of a dataset."""

    name: str
    role: str
    """"data" or "aux"."""
    size: int
    """In bytes; -1 when the manifest lists the file but it does not exist."""


class DatasetSummary(msgspec.Struct, kw_only=True):
    """One dataset; values that do not apply or are unknown are None."""

    name: str
    """Path below the collection: "events/table"."""
    kind: str
    """"video", "table", "json", "tsync", "zarr", "journal", "other" or "empty"."""
    files: list[FileSummary] = []
    entries: int | None = None
    """Frames, rows, or records."""
    blocks: int | None = None
    """Signal blocks that the entries came in; None for other data."""
    first_usec: int | None = None
    last_usec: int | None = None
    rate_hz: float | None = None
    """Mean rate between first and last time."""
    interval_max_usec: int | None = None
    """Longest interval between two times in succession."""
    lost: int | None = None
    """Items that the recorder missed, by the run's account, after a kill by its own count.

    An item is an entry, or a block if `blocks` is not None; `not_taken` likewise.
    """
    not_taken: int | None = None
    """Items that the recorder left in its queue; None if that is not known."""
    gaps: int | None = None
    """Gaps in which these items were lost, by the recorder's own count."""
    attributes: dict[str, Any] = {}
    problems: list[str] = []

    @property
    def size(self) -> int:
        """Size of all its files in bytes."""
        return sum(max(0, file.size) for file in self.files)

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first to the last time."""
        if self.first_usec is None or self.last_usec is None:
            return None
        return (self.last_usec - self.first_usec) / 1e6


class RecordingSummary(msgspec.Struct, kw_only=True):
    """A recording with all its datasets."""

    path: str
    name: str
    collection_id: str
    time_created: str
    generator: str
    authors: list[str] = []
    closed: bool = True
    """Whether the run's end was recorded; False during the run and after a kill."""
    success: bool | None = None
    failure_reason: str = ""
    length_s: float | None = None
    datasets: list[DatasetSummary] = []
    attributes: dict[str, Any] = {}
    problems: list[str] = []
    """What is wrong with its own manifest, and datasets that cannot be read."""

    @property
    def size(self) -> int:
        """Size of all data files in bytes."""
        return sum(dataset.size for dataset in self.datasets)


def inspect_recording(path: Path) -> RecordingSummary:
    """Summarise the recording in a folder; damaged parts are listed as problems.

    Raises:
        StorageError: The folder is not a recording, or its manifest is damaged.
    """
    if not (path / MANIFEST).is_file():
        what = "does not exist" if not path.exists() else "is not a recording: it has no manifest"
        raise StorageError(
            f"{path} {what}", remedy="Name the folder that `mlink run` printed at its end."
        )
    manifest = read_toml(path / MANIFEST)
    if manifest.get("type") != "collection":
        raise StorageError(
            f"{path} is a {manifest.get('type', 'folder')} of a recording, not the recording",
            remedy=f"Name the recording's own folder: {_collection_above(path) or path.parent}",
        )
    problems: list[str] = []
    if str(manifest.get("format_version")) != FORMAT_VERSION:
        problems.append(f"format version {manifest.get('format_version')} is unknown to this mlink")
    attributes = _attributes(path, problems)
    reason = str(attributes.get("failure_reason", ""))
    length_msec = attributes.get("recording_length_msec")
    summary = RecordingSummary(
        path=str(path.resolve()),
        name=path.resolve().name,
        collection_id=str(manifest.get("collection_id", "")),
        time_created=str(manifest.get("time_created", "")),
        generator=str(manifest.get("generator", "")),
        authors=[_person(author) for author in manifest.get("authors", [])],
        closed=reason != UNCLOSED and "success" in attributes,
        success=attributes.get("success"),
        failure_reason=reason,
        length_s=length_msec / 1000 if isinstance(length_msec, int) else None,
        attributes=attributes,
        problems=problems,
    )
    summary.datasets = _datasets_below(path, path, problems)
    account = read_account(attributes)
    for dataset in summary.datasets:
        source = recorded_by(dataset.attributes)
        if source is not None and (sent := account.get((source.module, source.port))):
            dataset.lost, dataset.not_taken = sent.lost, sent.not_taken
    return summary


def _datasets_below(root: Path, folder: Path, problems: list[str]) -> list[DatasetSummary]:
    found: list[DatasetSummary] = []
    with storage_errors(folder, "read"):
        children = sorted(child for child in folder.iterdir() if child.is_dir())
    for child in children:
        if not (child / MANIFEST).is_file():
            continue
        try:
            manifest = read_toml(child / MANIFEST)
        except StorageError as error:
            problems.append(error.message)
            continue
        if manifest.get("type") == "group":
            found += _datasets_below(root, child, problems)
        elif manifest.get("type") == "dataset":
            found.append(_dataset(root, child, manifest))
        else:
            problems.append(f"{child} is of unknown type '{manifest.get('type')}'")
    return found


def _dataset(root: Path, path: Path, manifest: dict[str, Any]) -> DatasetSummary:
    problems: list[str] = []
    data = manifest.get("data", {})
    aux = manifest.get("data_aux", [])
    tables = [aux] if isinstance(aux, dict) else list(aux)
    summary = DatasetSummary(
        name=path.relative_to(root).as_posix(),
        kind=data_kind(data),
        attributes=_attributes(path, problems),
        problems=problems,
    )
    summary.files = _files(path, data, "data")
    for table in tables:
        summary.files += _files(path, table, "aux")
    wrong = {file.name: not_a_file(path, file.name) for file in summary.files}
    problems += [text for text in wrong.values() if text]
    summary.files = [file for file in summary.files if not wrong[file.name]]
    problems += [f"{file.name} is missing" for file in summary.files if file.size < 0]
    summary.lost = summary.attributes.get("items_lost")
    summary.gaps = summary.attributes.get("gap_count", 0 if summary.lost == 0 else None)
    blocks = summary.attributes.get("block_count")
    summary.blocks = blocks if isinstance(blocks, int) else None
    present = [file for file in summary.files if file.size >= 0]
    tsync = [path / file.name for file in present if file.name.endswith(".tsync")]
    if tsync:
        _add_times(summary, tsync)
    if summary.kind in {"json", "zarr"}:
        count = summary.attributes.get("row_count", summary.attributes.get("sample_count"))
        summary.entries = count if isinstance(count, int) else None
    if summary.kind == "table":
        parts = [path / file.name for file in present if file.role == "data"]
        _add_rows(summary, parts)
    return summary


def _files(path: Path, table: dict[str, Any], role: str) -> list[FileSummary]:
    parts = sorted(table.get("parts", []), key=lambda part: part.get("index", -1))
    files = []
    for part in parts:
        name = str(part.get("fname", ""))
        file = path / name
        size = _size(file)
        files.append(FileSummary(name=name, role=role, size=size))
    return files


def _size(path: Path) -> int:
    if path.is_dir():  # a Zarr store
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else -1


def _add_times(summary: DatasetSummary, paths: list[Path]) -> None:
    arrays: list[NDArray[np.int64]] = []
    scale = 1.0
    for path in paths:
        try:
            tsync = read_tsync(path, salvage=True)
        except StorageError as error:
            summary.problems.append(error.message)
            continue
        if tsync.problem:
            summary.problems.append(f"{path.name} is damaged: {tsync.problem}")
        scale = tsync.header.columns[1].unit.usec
        arrays.append(tsync.times[:, 1])
    times = np.concatenate(arrays) if arrays else np.empty(0, np.int64)
    summary.entries = len(times)
    if not len(times):
        return
    summary.first_usec = round(float(times[0]) * scale)
    summary.last_usec = round(float(times[-1]) * scale)
    if len(times) > 1:
        steps = np.diff(times)
        summary.interval_max_usec = round(float(steps.max()) * scale)
        if (steps <= 0).any():
            summary.problems.append(f"{int((steps <= 0).sum())} times do not increase")
        if summary.duration_s:
            summary.rate_hz = (len(times) - 1) / summary.duration_s


def _add_rows(summary: DatasetSummary, paths: list[Path]) -> None:
    has_header = bool(summary.attributes.get("has_header", True))
    written = summary.attributes.get("row_count")
    closed = written if isinstance(written, int) and len(paths) == 1 else None
    summary.entries = 0
    for path in paths:
        try:
            with storage_errors(path, "read"):
                state = examine_table(path.read_bytes(), has_header=has_header, written=closed)
        except StorageError as error:
            summary.problems.append(f"{path.name} cannot be read: {error}")
            continue
        summary.entries += max(0, state.rows - has_header)
        if state.damaged:
            summary.problems.append(f"{path.name} is damaged: {state.damage}")
        if state.torn_bytes:
            text = f"{path.name} ends within a row, after {state.torn_bytes} bytes of it"
            summary.problems.append(text)
    if isinstance(written, int) and written != summary.entries:
        summary.problems.append(f"{summary.entries} rows are there, {written} were written")


def _attributes(path: Path, problems: list[str]) -> dict[str, Any]:
    if not (path / ATTRIBUTES).exists():
        return {}
    try:
        return read_toml(path / ATTRIBUTES)
    except StorageError as error:
        problems.append(error.message)
        return {}


def _person(author: dict[str, Any]) -> str:
    email = author.get("email")
    return f"{author.get('name', '')} <{email}>" if email else str(author.get("name", ""))


def _collection_above(path: Path) -> Path | None:
    for folder in itertools.islice(path.resolve().parents, 16):
        manifest = folder / MANIFEST
        if manifest.is_file() and read_toml(manifest).get("type") == "collection":
            return folder
    return None
