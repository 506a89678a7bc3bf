"""Reads the rows of CSV files of recordings: cells separated by `;`, RFC 4180 quotes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlink.errors import StorageError

LONGEST_CELL = 4_000_000
"""Characters of a cell that are read; a row is sent with at most 1,000,000 bytes."""


def csv_rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the rows of a file; csv.Error where it is no CSV, or a cell is too long."""
    if csv.field_size_limit() < LONGEST_CELL:  # the module's own limit is 131,072
        csv.field_size_limit(LONGEST_CELL)
    return csv.reader(lines, delimiter=";")


def read_rows(path: Path) -> list[list[str]]:
    """Return all rows of a file.

    Raises:
        StorageError: It is not UTF-8, or no CSV file.
        OSError: The disk does not give it.
    """
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return list(csv_rows(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise StorageError(
                f"{path} cannot be read as a table: {error}",
                remedy="`mlink verify` shows where it is damaged.",
            ) from error
