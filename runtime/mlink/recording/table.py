"""A recorded table: columns as NumPy arrays, or the whole as a pandas frame."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.recording.libraries import library
from mlink.recording.stream import Columns, RecordedStream, unique_titles
from mlink.storage.csv_rows import read_rows
from mlink.storage.tree import written_in
from mlink.storage.tsync.reader import in_usec

TIME_COLUMNS = {
    "time_usec": 1.0, "timestamp_usec": 1.0, "time_us": 1.0,
    "time_msec": 1e3, "timestamp_msec": 1e3, "time_ms": 1e3,
    "time_sec": 1e6, "timestamp_sec": 1e6, "time_s": 1e6,
    "time [µs]": 1.0, "time [us]": 1.0, "time [ms]": 1e3, "time [s]": 1e6,
}  # fmt: skip
"""Titles of columns that contain master times, and their units in µs."""
_LONGEST_NUMBER = 100
"""Characters of a cell that may be a number."""


class Table(RecordedStream):
    """Rows of text as they were recorded.

    The file is read at the first access, and kept. Several files of a dataset are one table.
    """

    @cached_property
    def rows(self) -> list[list[str]]:
        """All rows, without the header."""
        rows: list[list[str]] = []
        has_header = bool(self.attributes.get("has_header", True))
        written = written_in(self._unit, "row_count")
        for name in self._unit.part_names("data"):
            found = read_rows(self._unit.file(name), has_header=has_header, written=written)
            if has_header and found:
                self._header = found.pop(0)
            rows += found
        return rows

    _header: list[str] | None = None

    @property
    def header(self) -> list[str]:
        """The titles of the columns; "column-1", "column-2", … when the file has no header."""
        rows = self.rows
        if self._header is not None:
            return self._header
        width = max(map(len, rows), default=0)
        return [f"column-{number + 1}" for number in range(width)]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column: int64 or float64 if all cells are such numbers, else objects of text.

        Raises:
            StorageError: There is no such column.
        """
        if name not in self.header:
            raise StorageError(
                f"'{self.name}' has no column '{name}'", remedy=f"It has: {', '.join(self.header)}."
            )
        return self._column(self.header.index(name))

    def columns(self) -> Columns:
        """Return all columns by title; a second "a" is "a.1", one without a title "column-3"."""
        width = max(map(len, [self.header, *self.rows]), default=0)
        titles = [*self.header, *(f"column-{at + 1}" for at in range(len(self.header), width))]
        return {title: self._column(at) for at, title in enumerate(unique_titles(titles))}

    def _column(self, at: int) -> NDArray[Any]:
        cells = [row[at] if at < len(row) else "" for row in self.rows]
        # An array of texts takes the size of the longest one for each of them.
        may_be_numbers = all(len(cell) <= _LONGEST_NUMBER for cell in cells)
        for kind in (np.int64, np.float64) if may_be_numbers else ():
            try:
                return np.array(cells, dtype=str).astype(kind)
            except (ValueError, OverflowError):
                continue
        return np.array(cells, dtype=object)

    @cached_property
    def times_usec(self) -> NDArray[np.int64]:
        """The time of each row, from the first column with a title such as "time_usec".

        Raises:
            StorageError: No column has such a title and numbers; or one is too large for a time.
        """
        for title in self.header:
            scale = TIME_COLUMNS.get(title.strip().lower())
            if scale is not None and (times := self.column(title)).dtype != object:
                return in_usec(f"'{self.name}'", times, scale)
        raise StorageError(
            f"no column of '{self.name}' has a title that marks it as times",
            remedy="Title it time_usec, time_msec or time_sec in the script's table_header.",
        )

    def frame(self) -> Any:
        """Return a pandas DataFrame.

        Raises:
            StorageError: pandas is not installed.
        """
        return library("pandas", "this frame").DataFrame(self.columns())
