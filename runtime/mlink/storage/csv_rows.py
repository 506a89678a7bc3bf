"""Reads CSV files of recordings: cells separated by `;`, RFC 4180 quotes, line feeds.

A recorder writes a quote only around a cell, or doubled inside one. So a quote in any other place
is damage, and what follows its line is read as usual: it does not make one row of all the rest.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlink.errors import StorageError
from mlink.storage.inside import RecordingFile, Source, as_file
from mlink.storage.limits import check_size, read_limit

LONGEST_CELL = 4_000_000
"""Characters of a cell that are read; a row is sent with at most 1,000,000 bytes."""
_ROW_BYTES, _CELL_BYTES = 64, 57
"""What Python needs for a row, and for a cell beside its text."""
_LONGEST_ROW = 2 * LONGEST_CELL
_MOST_NAMED = 5
"""Damaged rows that are named; more are counted."""

_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+'
_CELL = rb"(?:" + _QUOTED + rb'"|[^";\r\n]*+)'
_ROW = re.compile(_CELL + rb"(?:;" + _CELL + rb")*+\r?\n")
_TORN_ROW = re.compile(rb"(?:" + _CELL + rb";)*+(?:" + _CELL + rb"|" + _QUOTED + rb")\Z")


@dataclass(slots=True)
class TableState:
    """Contents and condition of a table's file."""

    rows: int = 0
    """Rows that end, with the header; damaged ones too."""
    whole_bytes: int = 0
    """Size of these rows."""
    torn_bytes: int = 0
    """Bytes of an unfinished last row after them."""
    damaged: int = 0
    """Rows that are damaged."""
    named: list[str] = field(default_factory=list)
    """The first of them, and what is wrong with each."""

    @property
    def damage(self) -> str:
        """What is damaged, row by row; "" if nothing is."""
        left = self.damaged - len(self.named)
        more = [f"and {left} more rows are damaged"] if left else []
        return "; ".join(self.named + more)


def examine_table(
    data: bytes, *, has_header: bool = True, written: int | None = None
) -> TableState:
    """Find the rows of a table, those that are damaged, and an unfinished last one.

    Args:
        data: Content of the file.
        has_header: Whether the first row has titles: the rows in texts are counted without it.
        written: Number of rows that were written without the header, if the file was closed. The
            end of a file that has as many, or that ends with a line feed, is not unfinished.
    """
    found, at, line, before = TableState(), 0, 1, 0
    simple = b'"' not in data and b"\r" not in data and b"\0" not in data and data.isascii()
    if simple:  # each line is a row
        found.rows, at = data.count(b"\n"), data.rfind(b"\n") + 1
        line += found.rows
    while at < len(data):
        match = _ROW.match(data, at)
        end, problem = 0, ""
        if match is not None:
            end = match.end()
            problem = _content_problem(data[at:end])
        else:
            all_there = written is not None and found.rows - has_header >= written
            is_closed = written is not None and data.endswith(b"\n")
            if not (all_there or is_closed) and _is_torn(data, at, before):
                break
            end = data.find(b"\n", at) + 1 or len(data)
            problem = _syntax_problem(data, at, end)
        found.rows += 1
        if problem:
            number = found.rows - has_header
            where = f"row {number} (line {line})" if number else "the header"
            found.damaged += 1
            if found.damaged <= _MOST_NAMED:
                found.named.append(f"{where} {problem}")
        line += data.count(b"\n", at, end)
        before, at = at, end
    found.whole_bytes, found.torn_bytes = at, len(data) - at
    return found


def _is_torn(data: bytes, at: int, before: int) -> bool:
    """Return whether the row at a place is one whose end is missing, and not a damaged one."""
    end = data.find(b"\n", at) + 1
    if not end:
        return True
    if _TORN_ROW.match(data, at) is None:
        return False
    # A cell may have line feeds: what follows is of this cell unless it looks like rows.
    widths = [_width_at(data, place) for place in (0, before, end, data.find(b"\n", end) + 1)]
    header, last, next_one, after = widths
    return next_one is None or (next_one not in (header, last) and not next_one == after != 1)


def _width_at(data: bytes, at: int) -> int | None:
    """Return the number of cells of the row at a place; None if there is none."""
    match = _ROW.match(data, at)
    return None if match is None else re.sub(_QUOTED + b'"', b"", match[0]).count(b";") + 1


def _content_problem(row: bytes) -> str:
    if b"\0" in row:
        return "has zero bytes, as a disk without power leaves"
    if len(row) > _LONGEST_ROW:
        return f"has {len(row)} bytes, more than any row that is sent"
    try:
        row.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8: {error.reason}"
    return ""


def _syntax_problem(data: bytes, at: int, end: int) -> str:
    row = data[at:end]
    if problem := _content_problem(row):
        return problem
    if b'"' in row:
        return "has a quote that neither begins nor ends a cell"
    if row.endswith(b"\n"):
        return "has a carriage return outside of quotes"
    return "has no end, behind the last row that was written"


def csv_rows(text: str) -> Iterator[list[str]]:
    """Yield the rows of a text; csv.Error where it is no CSV, or a cell is too long."""
    if csv.field_size_limit() < LONGEST_CELL:  # the module's own limit is 131,072
        csv.field_size_limit(LONGEST_CELL)
    return csv.reader(io.StringIO(text, newline=""), delimiter=";")


def read_rows(
    source: Source, *, has_header: bool = True, written: int | None = None
) -> list[list[str]]:
    """Return all rows of a file, without an unfinished last one.

    Args:
        source: The file.
        has_header: As in `examine_table`.
        written: As in `examine_table`.

    Raises:
        StorageError: It is not UTF-8, no CSV file, damaged, or needs too much memory.
    """
    file = as_file(source)
    data = file.content()
    state = examine_table(data, has_header=has_header, written=written)
    problem = state.damage
    try:
        if not problem:
            return _kept(csv_rows(data[: state.whole_bytes].decode()), file, len(data))
    except (UnicodeDecodeError, csv.Error) as error:
        problem = str(error)
    raise StorageError(
        f"{file} cannot be read as a table: {problem}",
        remedy="`mlink verify` shows where it is damaged.",
    )


def _kept(rows: Iterator[list[str]], file: RecordingFile, size: int) -> list[list[str]]:
    limit, used = 4 * read_limit(size), 0
    found = []
    for row in rows:
        used += _ROW_BYTES + sum(map(len, row)) + _CELL_BYTES * len(row)
        check_size(f"{file}, in memory,", used, limit)
        found.append(row)
    return found
