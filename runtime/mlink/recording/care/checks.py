"""Checks of tables and Zarr data. Each returns counts and findings, it does not raise."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.recording.table import TIME_COLUMNS
from mlink.recording.zarr_file import UNREADABLE_STORE, opened_store
from mlink.storage.csv_rows import TableState, csv_rows, whole_rows
from mlink.storage.failures import reason_of
from mlink.storage.inside import all_below
from mlink.storage.tree import UnitFolder, written_in

_ARRAYS = {"timestamps", "data"}
_EMPTY_STORE = {"zarr.json", *(f"{name}/zarr.json" for name in _ARRAYS)}
"""The files of a new Zarr store."""
_BLOCK_BYTES = 4 << 20


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

    def add_times(self, times: NDArray[np.int64]) -> None:
        """Add times in µs, at least one, to the counts."""
        self.times = (self.times or 0) + len(times)
        if self.first_usec is None:
            self.first_usec = int(times[0])
        self.last_usec = int(times[-1])


def present(unit: UnitFolder) -> list[str]:
    """Return the names of a dataset's data files that exist, in order."""
    lacking = set(missing(unit))
    return [name for name in unit.part_names("data") if name not in lacking]


def missing(unit: UnitFolder) -> list[str]:
    """Return the listed names of a dataset's files that are not there."""
    lacking = unit.registered - set(unit.entries)
    return sorted(name for name in lacking if name and "/" not in name)


def check_table(unit: UnitFolder) -> Checked:
    """Count the rows of a table; find damaged rows, a torn last one, and times that go back."""
    found = Checked(items=0)
    for name in present(unit):
        has_header = bool(unit.attributes.get("has_header", True))
        noted = Checked()
        state = table_state(unit, name, noted)
        found.items = (found.items or 0) + max(0, state.rows - has_header)
        if state.damaged:
            found.damage.append(f"{name} is damaged: {state.damage}")
        else:
            found.notes += noted.notes
        if state.torn_bytes:
            found.unfinished.append(
                f"{name} ends within a row, after {state.torn_bytes} bytes of it"
            )
    compare_counts(found, unit, "row_count", "rows")
    return found


def table_state(unit: UnitFolder, name: str, noted: Checked | None = None) -> TableState:
    """Return the condition of a table's file.

    Args:
        unit: Its dataset.
        name: Of the file.
        noted: Gets a note of times that go back: a script may write so.

    Raises:
        StorageError: The file cannot be read from the disk.
    """
    has_header = bool(unit.attributes.get("has_header", True))
    written = written_in(unit, "row_count")
    state = TableState()
    with unit.file(name).opened() as file:
        pieces = whole_rows(file, state, has_header=has_header, written=written)
        if noted is not None and has_header:
            note_times(noted, name, _times(pieces))
        for _ in pieces:
            pass
    return state


def _times(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the cells of a table's first column of times; none where it has no such column."""
    rows = (row for piece in pieces for row in csv_rows(piece.decode()))
    titles = enumerate(next(rows, []))
    column = next((at for at, title in titles if title.strip().lower() in TIME_COLUMNS), None)
    if column is not None:
        yield from (row[column] for row in rows if len(row) > column)


def note_times(found: Checked, name: str, times: Iterable[object]) -> None:
    """Note how many times are earlier than the one before; what is no number is left out."""
    last, back, first_row = -math.inf, 0, 0
    for row, cell in enumerate(times, 1):
        try:
            time = float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if time < last:
            back, first_row = back + 1, first_row or row
        last = time
    if back:
        found.notes.append(
            f"{name}: {back} time(s) are earlier than the one before, the first in row {first_row}"
        )


def check_zarr(unit: UnitFolder) -> Checked:
    """Read a store's arrays, and compare their lengths; skipped without the zarr library.

    The attribute `sample_count` of the store is written last: longer arrays are unfinished, shorter
    ones are damaged.
    """
    found = Checked()
    for name in present(unit):
        if is_half_made(unit, name):
            found.unfinished.append(f"{name} contains no samples: it was not created to its end")
            continue
        try:
            with opened_store(unit.file(name)) as (group, arrays):
                lengths = {key: int(array.shape[0]) for key, array in arrays.items()}
                count = int(group.attrs.get("sample_count", min(lengths.values(), default=0)))
        except ImportError:
            found.notes.append("the zarr library is not installed: arrays were not checked")
            return found
        except UNREADABLE_STORE as error:
            found.damage.append(f"{name} cannot be opened: {reason_of(error)}")
            continue
        found.items = (found.items or 0) + count
        if lacking := sorted(_ARRAYS - set(lengths)):
            found.damage.append(f"{name}: {' and '.join(lacking)} are missing")
        if min(lengths.values(), default=0) < count:
            found.damage.append(
                f"{name}: {count} samples were written, but its arrays contain {lengths}"
            )
        elif max(lengths.values(), default=0) > count:
            closed = written_in(unit, "sample_count") == count
            (found.damage if closed else found.unfinished).append(
                f"{name}: {count} samples are complete, but its arrays contain {lengths}"
            )
        try:
            with opened_store(unit.file(name), read=True) as (group, arrays):
                if group.attrs.get("every_file"):
                    found.damage += _lost_files(unit, name, arrays, count)
                if "timestamps" in arrays and arrays["timestamps"].ndim == 1:
                    parts = _parts(arrays["timestamps"], count)
                    note_times(found, name, (time for part in parts for time in part.tolist()))
                for _ in _parts(arrays["data"], count) if "data" in arrays else ():
                    pass
        except UNREADABLE_STORE as error:
            found.damage.append(f"{name}: its samples cannot be read: {reason_of(error)}")
    compare_counts(found, unit, "sample_count", "samples")
    return found


def _lost_files(
    unit: UnitFolder, name: str, arrays: Mapping[str, Any], count: int
) -> Iterator[str]:
    """Yield which files of arrays are lost: the library reads zeros in their place."""
    for key, array in arrays.items():
        wanted = -(-min(count, array.shape[0]) // (array.shards or array.chunks)[0])
        files = unit.folder.folder(name).folder(key).folder("c")
        there = sum(
            (files.file(str(at)) if array.ndim == 1 else files.folder(str(at)).file("0")).exists()
            for at in range(wanted)
        )
        if there < wanted:
            yield f"{name}: {wanted - there} of {wanted} file(s) of {key} are missing"


def _parts(array: Any, count: int) -> Iterator[Any]:
    """Yield the samples of an array, a part at a time; raise what the library raises."""
    row_bytes = array.dtype.itemsize * math.prod(array.shape[1:])
    rows = (array.shards or array.chunks)[0]
    step = max(_BLOCK_BYTES // max(rows * row_bytes, 1), 1) * rows
    for at in range(0, min(count, array.shape[0]), step):
        yield array[at : min(at + step, count)]


def is_half_made(unit: UnitFolder, name: str) -> bool:
    """Return whether a kill came while a Zarr store was created: it lacks arrays and samples."""
    with unit.folder.folder(name).opened() as fd:
        found = {
            path
            for path, state, _ in all_below(fd)
            if stat.S_ISREG(state.st_mode) and not path.endswith(".partial")
        }
    return found < _EMPTY_STORE


def compare_counts(found: Checked, unit: UnitFolder, key: str, what: str) -> None:
    """Compare the number of items that are there with what the dataset's attribute states."""
    written = unit.attributes.get(key)
    if written is None:
        if found.items is not None and unit.manifest.get("data"):
            found.unfinished.append(f"the attribute {key} is missing")
    elif written != found.items and found.items is not None and not found.unfinished:
        found.damage.append(f"{found.items} {what} are there, {written} were written")
