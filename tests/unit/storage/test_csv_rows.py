"""Rows of recorded tables: long cells are legal, what is no table is an error in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.errors import StorageError
from mlink.storage.csv_rows import LONGEST_CELL, read_rows


def test_a_cell_of_the_longest_row_that_can_be_sent_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time;text\n1;" + "x" * 1_000_000 + "\n")
    assert [len(cell) for cell in read_rows(path)[1]] == [1, 1_000_000]


def test_a_cell_that_no_row_can_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x" * (LONGEST_CELL + 1) + "\n")
    with pytest.raises(StorageError, match=r"t\.csv cannot be read as a table"):
        read_rows(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"time;text\n1;\xff\n")
    with pytest.raises(StorageError, match="cannot be read as a table") as refused:
        read_rows(path)
    assert refused.value.remedy
