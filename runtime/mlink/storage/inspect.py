"""Summary of a recording, for `mlink info` and others.

Videos are not decoded, and checksums other than those of tsync files are not computed, so that it
is fast for large recordings. `mlink verify` checks everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlink.errors import StorageError
from mlink.storage.account import read_account, recorded_by
from mlink.storage.csv_rows import examine_table
from mlink.storage.edl import UNCLOSED
from mlink.storage.inside import RecordingFile
from mlink.storage.manifest import FORMAT_VERSION
from mlink.storage.tree import UnitFolder, collection_folder, not_a_file, store_size, units_below
from mlink.storage.tsync.layout import TsyncHeader
from mlink.storage.tsync.reader import Pairs, scan_tsync, second_usec


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
    root = collection_folder(path)
    manifest, attributes = root.manifest, root.attributes
    problems = [root.problem] if root.problem else []
    if str(manifest.get("format_version")) != FORMAT_VERSION:
        problems.append(f"format version {manifest.get('format_version')} is unknown to this mlink")
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
        length_s=None if length_msec is None else length_msec / 1000,
        attributes=attributes,
        problems=problems,
    )
    for unit in units_below(path):
        if unit.type == "dataset" and not unit.refused:
            summary.datasets.append(_dataset(unit))
        elif unit.type != "group" or unit.refused:
            problems.append(unit.problem or f"{unit.path} is of unknown type '{unit.type}'")
    account = read_account(attributes)
    for dataset in summary.datasets:
        source = recorded_by(dataset.attributes)
        if source is not None and (sent := account.get((source.module, source.port))):
            dataset.lost, dataset.not_taken = sent.lost, sent.not_taken
    return summary


def _dataset(unit: UnitFolder) -> DatasetSummary:
    summary = DatasetSummary(
        name=unit.name,
        kind=unit.kind,
        attributes=unit.attributes,
        problems=[unit.problem] if unit.problem else [],
    )
    present: dict[str, list[RecordingFile]] = {"data": [], "aux": []}
    for role, key in (("data", "data"), ("aux", "data_aux")):
        for name in unit.part_names(key):
            file = unit.file(name)
            if problem := not_a_file(file):
                summary.problems.append(problem)
                continue
            size = store_size(file) if name.endswith(".zarr") else file.size()
            summary.files.append(FileSummary(name=name, role=role, size=size))
            if size < 0:
                summary.problems.append(f"{name} is missing")
            else:
                present[role].append(file)
    summary.lost = summary.attributes.get("items_lost")
    summary.gaps = summary.attributes.get("gap_count", 0 if summary.lost == 0 else None)
    summary.blocks = summary.attributes.get("block_count")
    tsync = [file for files in present.values() for file in files if file.name.endswith(".tsync")]
    if tsync:
        _add_times(summary, tsync)
    if summary.kind in {"json", "zarr"}:
        summary.entries = summary.attributes.get(
            "row_count", summary.attributes.get("sample_count")
        )
    if summary.kind == "table":
        _add_rows(summary, present["data"])
    return summary


def _add_times(summary: DatasetSummary, files: list[RecordingFile]) -> None:
    found = _Times()
    for file in files:
        try:
            more = replace(found)  # a file with a time that is none adds nothing
            tsync = scan_tsync(file, more.add, salvage=True)
            found = more
        except StorageError as error:
            summary.problems.append(error.message)
            continue
        if tsync.problem:
            summary.problems.append(f"{file.name} is damaged: {tsync.problem}")
    summary.entries = found.count
    summary.first_usec, summary.last_usec = found.first, found.last
    summary.interval_max_usec = found.longest
    if found.not_later:
        summary.problems.append(f"{found.not_later} times do not increase")
    if found.count > 1 and summary.duration_s:
        summary.rate_hz = (found.count - 1) / summary.duration_s


@dataclass(slots=True)
class _Times:
    """Figures of times in µs, which are read in parts."""

    count: int = 0
    first: int | None = None
    last: int | None = None
    longest: int | None = None
    not_later: int = 0

    def add(self, header: TsyncHeader, pairs: Pairs) -> None:
        times = second_usec(header, pairs)
        steps = np.diff(times, prepend=times[:0] if self.last is None else [self.last])
        if len(steps):
            longest = int(steps.max())
            self.longest = longest if self.longest is None else max(self.longest, longest)
            self.not_later += int((steps <= 0).sum())
        self.count += len(times)
        self.first = int(times[0]) if self.first is None else self.first
        self.last = int(times[-1])


def _add_rows(summary: DatasetSummary, files: list[RecordingFile]) -> None:
    has_header = bool(summary.attributes.get("has_header", True))
    written = summary.attributes.get("row_count")
    closed = written if len(files) == 1 else None
    summary.entries = 0
    for file in files:
        try:
            with file.opened() as opened:
                state = examine_table(opened, has_header=has_header, written=closed)
        except StorageError as error:
            summary.problems.append(error.message)
            continue
        summary.entries += max(0, state.rows - has_header)
        if state.damaged:
            summary.problems.append(f"{file.name} is damaged: {state.damage}")
        if state.torn_bytes:
            text = f"{file.name} ends within a row, after {state.torn_bytes} bytes of it"
            summary.problems.append(text)
    if isinstance(written, int) and written != summary.entries:
        summary.problems.append(f"{summary.entries} rows are there, {written} were written")


def _person(author: dict[str, Any]) -> str:
    email = author.get("email")
    return f"{author.get('name', '')} <{email}>" if email else str(author.get("name", ""))
