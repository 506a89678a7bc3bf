"""Checks of JSON data, and the rows of a file that a crash or damage left incomplete."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlink.recording.care.checks import Checked, compare_counts, note_times, present
from mlink.recording.signals import load_json, refuse_constant
from mlink.storage.failures import storage_errors
from mlink.storage.tree import UnitFolder, written_in

_ROWS = '"data":['
"""What the rows of a JSON file follow."""
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"?')
_NEXT_ROW = re.compile(r"\]\s*,\s*\[|\n\s*\[")
_decoder = json.JSONDecoder(parse_constant=refuse_constant)


@dataclass(slots=True)
class JsonState:
    """Contents and condition of a JSON file."""

    content: dict[str, Any] = field(default_factory=dict)
    """The file's object; with its complete rows only when the end is torn."""
    torn: str = ""
    """Why the end is missing; "" if it is there."""
    damage: str = ""
    """What is wrong besides a torn end; "" if nothing is."""

    @property
    def has_rows(self) -> bool:
        """Whether the place for rows is there."""
        return "data" in self.content


def examine_json(path: Path, written: int | None = None) -> JsonState:
    """Read a file; find out whether its end is missing, or something within it is damaged.

    Args:
        path: A .json or .json.zst file.
        written: Number of rows that were written, if the file was closed.

    Raises:
        StorageError: The file cannot be read from the disk.
    """
    try:
        content = load_json(path)
    except (ValueError, RecursionError) as error:
        return _examine_text(path, str(error), written)
    rows = content.get("data", []) if isinstance(content, dict) else None
    columns = content.get("columns", []) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not isinstance(columns, list):
        return JsonState(damage="is JSON, but not of a recorder: it has no list of rows")
    state = JsonState({"columns": columns, "data": rows} | content)
    if surplus := _surplus(path):
        state.damage = f"goes on for {surplus} bytes after its end"
    return state


def check_json(unit: UnitFolder) -> Checked:
    """Parse the files as strict JSON and count their rows.

    NaN and Infinity are no JSON; recorders write null for them.
    """
    found = Checked(items=0)
    for name in present(unit):
        state = examine_json(unit.path / name, written_in(unit, "row_count"))
        if state.damage:
            found.damage.append(f"{name} {state.damage}")
        if state.torn:
            found.unfinished.append(f"{name} is not complete JSON: {state.torn}")
        if state.damage or state.torn:
            continue
        rows, columns = state.content["data"], state.content["columns"]
        found.items = (found.items or 0) + len(rows)
        width = len(columns)
        other = sum(1 for row in rows if not isinstance(row, list) or len(row) != width)
        if other:
            found.notes.append(f"{name}: {other} row(s) do not have the width of the header")
        if columns and str(columns[0]).startswith("time"):
            note_times(found, name, (row[0] for row in rows if isinstance(row, list) and row))
    if not found.damage:
        compare_counts(found, unit, "row_count", "rows")
    return found


def _examine_text(path: Path, problem: str, written: int | None) -> JsonState:
    """Examine a file that is not strict JSON."""
    text, unreadable = _readable_text(path)
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


def _surplus(path: Path) -> int:
    """Return the number of bytes after the end of a compressed file's frame."""
    if not path.name.endswith(".zst"):
        return 0
    import zstandard

    with storage_errors(path, "read"):
        data = path.read_bytes()
    frame = zstandard.ZstdDecompressor().decompressobj()
    frame.decompress(data)
    return len(frame.unused_data)


def _readable_text(path: Path) -> tuple[str, str]:
    """Return the text up to what cannot be decompressed, and why it cannot, or ""."""
    with storage_errors(path, "read"):
        data = path.read_bytes()
    if not path.name.endswith(".zst"):
        return data.decode(errors="ignore"), ""
    import zstandard

    text, problem = bytearray(), ""
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
            while piece := reader.read(1 << 16):
                text += piece
    except zstandard.ZstdError as error:
        problem = str(error)
    return text.decode(errors="ignore"), problem
