"""Reads CSV files of recordings: cells separated by `;`, RFC 4180 quotes, line feeds.

A recorder writes a quote only around a cell, or doubled inside one. So a quote in any other place
is damage, and what follows its line is read as usual: it does not make one row of all the rest.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from mlink.errors import StorageError
from mlink.storage.inside import Source, as_file
from mlink.storage.limits import check_memory

_ROW_BYTES, _CELL_BYTES = 64, 57
"""What Python needs for a row, and for a cell beside its text."""
LONGEST_ROW = 8_000_000
"""Bytes of a row that are read; one is sent with at most 1,000,000, and its quotes are doubled."""
_WINDOW = 4 << 20
"""Bytes of a table that are looked at at once."""
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
    file: BinaryIO, *, has_header: bool = True, written: int | None = None
) -> TableState:
    """Find the rows of a table, those that are damaged, and an unfinished last one.

    Args:
        file: The table, from its beginning.
        has_header: Whether the first row has titles: the rows in texts are counted without it.
        written: Number of rows that were written without the header, if the file was closed. The
            end of a file that has as many, or that ends with a line feed, is not unfinished.
    """
    state = TableState()
    for _ in whole_rows(file, state, has_header=has_header, written=written):
        pass
    return state


def whole_rows(
    file: BinaryIO, state: TableState, *, has_header: bool = True, written: int | None = None
) -> Iterator[bytes]:
    """Yield the intact rows of a table, many at once, while the state is filled in.

    However long the table is, only its part of _WINDOW bytes is in memory, or one row.

    Args:
        file: As of `examine_table`, like the next two.
        state: A new one; it is complete after the last rows.
        has_header: Whether the first row has titles.
        written: Number of rows that were written.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    is_closed = written is not None and file.read(1) == b"\n"
    file.seek(0)
    window, line = _Window(file), 1
    first = last = None
    """Widths of the header, and of the row before."""
    while window.fill():
        data = window.data
        end = data.rfind(b"\n") + 1
        if 0 < end <= LONGEST_ROW and _is_simple(data[:end]):  # each line is a row
            first = _width_at(data, 0) if state.rows == 0 else first
            last = _width_at(data, data.rfind(b"\n", 0, end - 1) + 1)
            state.rows += (lines := data.count(b"\n", 0, end))
            line += lines
            yield window.take(end)
            continue
        at, begin, before = 0, 0, -1
        while at < len(data):
            match = _ROW.match(data, at)
            end, problem = 0, ""
            if match is not None:
                end = match.end()
                problem = _content_problem(data[at:end])
            elif not window.is_enough(at):
                break
            else:
                all_there = written is not None and state.rows - has_header >= written
                last = _width_at(data, before) if before >= 0 else last
                if not (all_there or is_closed) and _is_torn(data, at, first, last):
                    state.torn_bytes = max(len(data), size - window.start) - at
                    break
                end = data.find(b"\n", at) + 1 or len(data)
                problem = _syntax_problem(data, at, end)
            state.rows += 1
            if state.rows == 1:
                first = _width_at(data, 0)
            if problem:
                number = state.rows - has_header
                where = f"row {number} (line {line})" if number else "the header"
                state.damaged += 1
                if state.damaged <= _MOST_NAMED:
                    state.named.append(f"{where} {problem}")
                yield data[begin:at]
                begin = end
            line += data.count(b"\n", at, end)
            before, at = at, end
        last = _width_at(data, before) if before >= 0 else last
        yield data[begin:at]
        window.take(at)
        if state.torn_bytes:
            break
    state.whole_bytes = window.start


class _Window:
    """The part of a file that is looked at, from the beginning of a row."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ended = False
        self._wanted = _WINDOW
        self.data = b""
        self.start = 0
        """Place of `data` in the file."""

    def fill(self) -> bool:
        """Read on; return whether there is something to look at."""
        while not self._ended and len(self.data) < self._wanted:
            piece = self._file.read(max(_WINDOW, self._wanted - len(self.data)))
            self._ended = not piece
            self.data += piece
        self._wanted = _WINDOW
        return bool(self.data)

    def is_enough(self, at: int) -> bool:
        """Return whether a row that does not end here is no row; else `fill` reads more of it."""
        left = len(self.data) - at
        if self._ended or (left > 2 * LONGEST_ROW and self.data.find(b"\n", at) >= 0):
            return True
        self._wanted = left + max(_WINDOW, left)
        return False

    def take(self, count: int) -> bytes:
        """Remove bytes from the beginning, and return them."""
        taken, self.data = self.data[:count], self.data[count:]
        self.start += count
        return taken


def _is_simple(data: bytes) -> bool:
    return b'"' not in data and b"\r" not in data and b"\0" not in data and data.isascii()


def _is_torn(data: bytes, at: int, first: int | None, last: int | None) -> bool:
    """Return whether the row at a place is one whose end is missing, and not a damaged one.

    Args:
        data: What is there, up to the end of the file or of more than a row.
        at: The place.
        first: Width of the header.
        last: Width of the row before.
    """
    end = data.find(b"\n", at) + 1
    if not end:
        return True
    if _TORN_ROW.match(data, at) is None:
        return False
    # A cell may have line feeds: what follows is of this cell unless it looks like rows.
    next_one, after = (_width_at(data, place) for place in (end, data.find(b"\n", end) + 1))
    return next_one is None or (next_one not in (first, last) and not next_one == after != 1)


def _width_at(data: bytes, at: int) -> int | None:
    """Return the number of cells of the row at a place; None if there is none."""
    match = _ROW.match(data, at)
    return None if match is None else re.sub(_QUOTED + b'"', b"", match[0]).count(b";") + 1


def _content_problem(row: bytes) -> str:
    if b"\0" in row:
        return "has zero bytes, as a disk without power leaves"
    if len(row) > LONGEST_ROW:
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
    """Yield the rows of a text; csv.Error where it is no CSV, or a cell is longer than any row."""
    if csv.field_size_limit() < LONGEST_ROW:  # the module's own limit is 131,072
        csv.field_size_limit(LONGEST_ROW)
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
    state, rows = TableState(), []
    used, problem = 0, ""
    try:
        with file.opened() as table:
            for piece in whole_rows(table, state, has_header=has_header, written=written):
                for row in csv_rows(piece.decode()):
                    used += _ROW_BYTES + sum(map(len, row)) + _CELL_BYTES * len(row)
                    check_memory(str(file), used)
                    rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        problem = str(error)
    if not (problem := state.damage or problem):
        return rows
    raise StorageError(
        f"{file} cannot be read as a table: {problem}",
        remedy="`mlink verify` shows where it is damaged.",
    )
