"""A CSV file of a recording: cells separated by `;`, RFC 4180 quotes, line feeds, UTF-8."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mlink.modules.data.data_file import DataFile
from mlink.storage.failures import storage_error, storage_errors

SEPARATOR = ";"
_BUFFER_BYTES = 1 << 18


class CsvFile(DataFile):
    """An open CSV file.

    Raises:
        StorageError: By all methods, when the file exists already or the disk fails.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._failed = False
        with storage_errors(path, "create"):
            # A lone surrogate has no UTF-8 encoding: it is written as an escape, not raised.
            self._file = path.open(
                "x", _BUFFER_BYTES, encoding="utf-8", errors="backslashreplace", newline=""
            )
        self._csv = csv.writer(_LineFeeds(self._file.write), delimiter=SEPARATOR)

    def write_header(self, cells: Iterable[str]) -> None:
        """Write the first line."""
        self._write(cells)
        self.flush()

    def write_row(self, cells: Iterable[str]) -> None:
        """Write one row.

        Args:
            cells: Text of the cells; a row may have another width than the header.

        Raises:
            StorageError: The disk is full or gone.
        """
        self._write(cells)
        self.rows += 1

    def flush(self) -> None:
        """Pass all rows to the operating system."""
        self._changed_s = None
        try:
            self._file.flush()
        except OSError as error:
            self._failed = True
            raise storage_error(error, self.path) from error

    def close(self) -> None:
        """Flush, sync to the disk and close; calling it again does nothing.

        An error that `write_row` or `flush` has raised is not raised again.
        """
        if self._file.closed:
            return
        try:
            if not self._failed:
                self.flush()
                with storage_errors(self.path):
                    os.fsync(self._file.fileno())
        finally:
            try:
                self._file.close()
            except OSError:
                pass  # the rows whose flush failed before

    def _write(self, cells: Iterable[str]) -> None:
        self._mark_changed()
        try:
            self._csv.writerow(cells)
        except OSError as error:
            self._failed = True
            raise storage_error(error, self.path) from error


class _LineFeeds:
    """Replaces the line ends of the csv module (CR LF) by line feeds, and zero bytes by an escape.

    The csv module quotes a carriage return in a cell only if its own line end contains one, and
    an unquoted one would split the row. So it writes CR LF, and the CR is removed here.

    Many readers end a cell or a file at a zero byte, and `mlink verify` takes one for damage.
    """

    def __init__(self, write: Callable[[str], int]) -> None:
        self._write = write

    def write(self, line: str) -> int:
        """Write one line of the csv module."""
        return self._write(line[:-2].replace("\0", "\\x00") + "\n")
