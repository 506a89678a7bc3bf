"""Checks of tables, JSON and Zarr data. Each returns counts and findings, it does not raise."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from mlink.recording.signals import load_json
from mlink.storage.csv_rows import csv_rows
from mlink.storage.failures import storage_errors
from mlink.storage.tree import UnitFolder
from mlink.storage.tsync_reader import TsyncData

_EMPTY_STORE = {"zarr.json", "timestamps/zarr.json", "data/zarr.json"}
"""The files of a new Zarr store."""
UNREADABLE_STORE = (OSError, ValueError, KeyError, TypeError)
"""Errors of the zarr library, when the files of a store are damaged."""


@dataclass(slots=True)
class Checked:
    """Counts of a dataset, and the texts of its findings by level.

    Damage is missing or wrong data, unfinished parts can be closed by `mlink repair`, notes are not
    errors.
    """

    items: int | None = None
    times: int | None = None
    first_usec: int | None = None
    last_usec: int | None = None
    stop_usec: int | None = None
    """Master time at which a journal's module was asked to stop."""
    damage: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_times(self, tsync: TsyncData) -> None:
        """Add the times of a tsync file to the counts."""
        self.times = (self.times or 0) + len(tsync.times)
        if len(tsync.times):
            scale = tsync.header.columns[1].unit.usec
            if self.first_usec is None:
                self.first_usec = round(int(tsync.times[0, 1]) * scale)
            self.last_usec = round(int(tsync.times[-1, 1]) * scale)


def present(unit: UnitFolder) -> list[str]:
    """Return the names of a dataset's data files that exist, in order."""
    return [name for name in unit.part_names("data") if (unit.path / name).exists()]


def check_table(unit: UnitFolder) -> Checked:
    """Count the rows of a table; find a torn last row and files that are not CSV."""
    found = Checked(items=0)
    for name in present(unit):
        rows, torn, problem = count_rows(unit.path / name)
        has_header = bool(unit.attributes.get("has_header", True))
        found.items = (found.items or 0) + max(0, rows - has_header)
        if problem:
            found.damage.append(f"{name} cannot be read to its end: {problem}")
        if torn:
            found.unfinished.append(f"{name} ends within a row, after {torn} bytes of it")
    _compare_counts(found, unit, "row_count", "rows")
    return found


def count_rows(path: Path) -> tuple[int, int, str]:
    """Return (complete rows with the header, bytes of a torn last row, error or "").

    Raises:
        StorageError: The file cannot be read from the disk.
    """
    with storage_errors(path, "read"):
        data = path.read_bytes()
    whole = whole_rows_size(data)
    if (at := data.find(b"\0", 0, whole)) >= 0:
        row = data.count(b"\n", 0, at) + 1
        return 0, len(data) - whole, f"line {row} has zero bytes, as a disk without power leaves"
    try:
        text = data[:whole].decode()
        rows = sum(1 for _ in csv_rows(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        return 0, len(data) - whole, str(error)
    return rows, len(data) - whole, ""


def whole_rows_size(data: bytes) -> int:
    """Return the bytes of all complete rows: up to the last line feed outside quotes.

    Args:
        data: Content of a CSV file with RFC 4180 quotes.
    """
    end = len(data)
    while (end := data.rfind(b"\n", 0, end) + 1) > 0:
        if data.count(b'"', 0, end) % 2 == 0:  # RFC 4180: a quote inside a cell is doubled
            return end
        end -= 1
    return 0


def check_json(unit: UnitFolder) -> Checked:
    """Parse the files as strict JSON and count their rows.

    NaN and Infinity are no JSON; recorders write null for them.
    """
    found = Checked(items=0)
    for name in present(unit):
        try:
            content = load_json(unit.path / name)
            content = content if isinstance(content, dict) else {"data": None}
        except (ValueError, RecursionError) as error:
            found.unfinished.append(f"{name} is not complete JSON: {error}")
            continue
        rows, columns = content.get("data", []), content.get("columns", [])
        if not isinstance(rows, list) or not isinstance(columns, list):
            found.damage.append(f"{name} is JSON, but not of a recorder: it has no list of rows")
            continue
        found.items = (found.items or 0) + len(rows)
        width = len(columns)
        other = sum(1 for row in rows if not isinstance(row, list) or len(row) != width)
        if other:
            found.notes.append(f"{name}: {other} row(s) do not have the width of the header")
    _compare_counts(found, unit, "row_count", "rows")
    return found


def check_zarr(unit: UnitFolder) -> Checked:
    """Compare the lengths of a store's arrays; skipped without the zarr library.

    The attribute `sample_count` of the store is written last: longer arrays are unfinished, shorter
    ones are damaged.
    """
    found = Checked()
    try:
        import zarr
    except ImportError:
        found.notes.append("the zarr library is not installed: arrays were not checked")
        return found
    for name in present(unit):
        if is_half_made(unit.path / name):
            found.unfinished.append(f"{name} contains no samples: it was not created to its end")
            continue
        try:
            group = zarr.open_group(str(unit.path / name), mode="r")
            lengths = {key: int(array.shape[0]) for key, array in group.arrays()}
            count = int(group.attrs.get("sample_count", min(lengths.values(), default=0)))
        except UNREADABLE_STORE as error:
            found.damage.append(f"{name} cannot be opened: {error}")
            continue
        found.items = (found.items or 0) + count
        if min(lengths.values(), default=0) < count:
            found.damage.append(
                f"{name}: {count} samples were written, but its arrays contain {lengths}"
            )
        elif max(lengths.values(), default=0) > count:
            found.unfinished.append(
                f"{name}: {count} samples are complete, but its arrays contain {lengths}"
            )
    _compare_counts(found, unit, "sample_count", "samples")
    return found


def is_half_made(store: Path) -> bool:
    """Return whether a kill came while a Zarr store was created: it lacks arrays and samples."""
    files = (path for path in store.rglob("*") if path.is_file() and path.suffix != ".partial")
    return {path.relative_to(store).as_posix() for path in files} < _EMPTY_STORE


def _compare_counts(found: Checked, unit: UnitFolder, key: str, what: str) -> None:
    written = unit.attributes.get(key)
    if written is None:
        if found.items is not None and unit.manifest.get("data"):
            found.unfinished.append(f"the attribute {key} is missing")
    elif written != found.items and found.items is not None and not found.unfinished:
        found.damage.append(f"{found.items} {what} are there, {written} were written")
