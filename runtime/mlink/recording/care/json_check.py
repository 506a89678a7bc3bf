"""Checks of JSON data, and the rows of a file that a crash or damage left incomplete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlink.recording.care.checks import Checked, compare_counts, note_times, present
from mlink.recording.json_rows import (
    NotRowsError,
    Reading,
    bytes_behind,
    json_rows,
    rows_one_by_one,
)
from mlink.storage.inside import RecordingFile
from mlink.storage.tree import UnitFolder, written_in

_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"?')
_NEXT_ROW = re.compile(r"\]\s*,\s*\[|\n[ \t\r]*\[")


@dataclass(slots=True)
class JsonState:
    """Contents and condition of a JSON file."""

    rows: int = 0
    """Its complete rows."""
    kept: int = 0
    """Bytes of its text up to the end of the last of them, when the end is torn; 0 without any
    place for rows."""
    notes: list[str] = field(default_factory=list)
    torn: str = ""
    """Why the end is missing; "" if it is there."""
    damage: str = ""
    """What is wrong besides a torn end; "" if nothing is."""


def examine_json(file: RecordingFile, written: int | None = None) -> JsonState:
    """Read a file; find out whether its end is missing, or something within it is damaged.

    Args:
        file: A .json or .json.zst file.
        written: Number of rows that were written, if the file was closed.

    Raises:
        StorageError: The file cannot be read from the disk, or has more than a file may give.
    """
    state, noted, other = JsonState(), Checked(), 0

    def times() -> Iterator[object]:
        nonlocal other
        for head, rows in json_rows(file):
            columns = head["columns"]
            state.rows += len(rows)
            other += sum(1 for row in rows if not isinstance(row, list) or len(row) != len(columns))
            if columns and columns[0].startswith("time"):
                yield from (row[0] for row in rows if isinstance(row, list) and row)

    try:
        note_times(noted, file.name, times())
    except NotRowsError as error:
        return JsonState(damage=f"is JSON, but not of a recorder: {error}")
    except ValueError as error:
        return _examine_text(file, str(error), written)
    if other:
        noted.notes.append(f"{file.name}: {other} row(s) do not have the width of the header")
    state.notes = noted.notes
    if surplus := bytes_behind(file):
        state.damage = f"goes on for {surplus} bytes after its end"
    return state


def check_json(unit: UnitFolder) -> Checked:
    """Parse the files as strict JSON and count their rows.

    The words NaN and Infinity are no JSON; recorders write null and ±1e999 for them.
    """
    found = Checked(items=0)
    for name in present(unit):
        state = examine_json(unit.file(name), written_in(unit, "row_count"))
        if state.damage:
            found.damage.append(f"{name} {state.damage}")
        if state.torn:
            found.unfinished.append(f"{name} is not complete JSON: {state.torn}")
        if not state.damage and not state.torn:
            found.items = (found.items or 0) + state.rows
            found.notes += state.notes
    if not found.damage:
        compare_counts(found, unit, "row_count", "rows")
    return found


def _examine_text(file: RecordingFile, problem: str, written: int | None) -> JsonState:
    """Examine a file that is not strict JSON."""
    try:
        reading = Reading(file)
    except ValueError as error:
        return JsonState(damage=f"has a damaged head: {error}")
    if reading.head is None:
        if written is None and reading.ended:
            return JsonState(torn=reading.unreadable or problem)
        return JsonState(damage=f"is no JSON of a recorder: {problem}")
    state = JsonState(kept=reading.used)
    for rows in reading.rows():
        state.rows += len(rows)
        state.kept = reading.used - 1  # without the comma behind them
    last, used = rows_one_by_one(reading.rest, followed=False)
    if last:
        state.rows += len(last)
        state.kept = reading.used + used
    tail = reading.rest[used:].decode(errors="replace").strip(", \t\r\n")
    tail = _STRING.sub("", tail).rstrip()
    is_whole = written is not None and state.rows >= written
    if reading.unreadable and written is not None:
        state.damage = f"cannot be decompressed behind row {state.rows}: {reading.unreadable}"
    elif is_whole or not reading.ended or tail.endswith("]}") or _NEXT_ROW.search(tail):
        state.damage = f"is damaged in row {state.rows + 1}, or behind it: {problem}"
    else:
        state.torn = reading.unreadable or problem
    return state
