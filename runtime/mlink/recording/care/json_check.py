"""Checks of JSON data, and the rows of a file that a crash or damage left incomplete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlink.recording.care.checks import Checked, compare_counts, note_times, present
from mlink.recording.json_rows import (
    NotRowsError,
    bytes_behind,
    inflated,
    json_rows,
    refuse_constant,
)
from mlink.storage.inside import RecordingFile
from mlink.storage.limits import check_size, read_limit
from mlink.storage.tree import UnitFolder, written_in

_TEXT_SHARE = 4
_ROWS = '"data":['
"""What the rows of a JSON file follow."""
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"?')
_NEXT_ROW = re.compile(r"\]\s*,\s*\[|\n\s*\[")
_decoder = json.JSONDecoder(parse_constant=refuse_constant)


@dataclass(slots=True)
class JsonState:
    """Contents and condition of a JSON file."""

    content: dict[str, Any] = field(default_factory=dict)
    """The file's object with its complete rows, when the end is torn."""
    rows: int = 0
    """Its rows, when it is complete."""
    notes: list[str] = field(default_factory=list)
    torn: str = ""
    """Why the end is missing; "" if it is there."""
    damage: str = ""
    """What is wrong besides a torn end; "" if nothing is."""

    @property
    def has_rows(self) -> bool:
        """Whether the place for rows is there."""
        return "data" in self.content


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
    text, unreadable = _readable_text(file)
    start = text.find(_ROWS)
    if start < 0:
        if written is None:
            return JsonState(torn=problem)
        return JsonState(damage=f"is no JSON of a recorder: {problem}")
    at = start + len(_ROWS)
    try:
        content = _decoder.decode(text[:at] + "]}")
    except (ValueError, RecursionError) as error:
        return JsonState(damage=f"has a damaged head: {error}")
    rows: list[Any] = content["data"]
    state = JsonState(content)
    while True:
        begin = _skip(text, at, ",") if rows else _skip(text, at)
        try:
            row, at = _decoder.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            problem = str(error)
            break
        rows.append(row)
    closed = written is not None
    is_whole = closed and len(rows) >= (written or 0)
    tail = _STRING.sub("", text[begin:]).rstrip()
    if unreadable and closed:
        state.damage = f"cannot be decompressed behind row {len(rows)}: {unreadable}"
    elif is_whole or tail.endswith("]}") or _NEXT_ROW.search(tail):
        state.damage = f"is damaged in row {len(rows) + 1}, or behind it: {problem}"
    else:
        state.torn = unreadable or problem
    return state


def _skip(text: str, at: int, separator: str = "") -> int:
    """Return the place after white space, and one separator if it is there."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    if separator and text.startswith(separator, at):
        return _skip(text, at + 1)
    return at


def _readable_text(file: RecordingFile) -> tuple[str, str]:
    """Return the text up to what cannot be decompressed, and why it cannot, or ""."""
    # As Python's objects the rows need many times the bytes of their text.
    limit, text, problem = read_limit(file.stored()) // _TEXT_SHARE, bytearray(), ""
    try:
        for piece in inflated(file):
            text += piece
            check_size(f"the text of {file.name}, which is not complete JSON,", len(text), limit)
    except ValueError as error:
        problem = str(error)
    return text.decode(errors="ignore"), problem
