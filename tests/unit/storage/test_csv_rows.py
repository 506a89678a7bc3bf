"""Rows of recorded tables: long cells are legal, what is no table is an error in words."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest

from mlink.errors import StorageError
from mlink.storage import csv_rows
from mlink.storage.csv_rows import (
    LONGEST_ROW,
    TableState,
    examine_table,
    read_rows,
    whole_rows,
)


def test_a_cell_of_the_longest_row_that_can_be_sent_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time;text\n1;" + "x" * 1_000_000 + "\n")
    assert [len(cell) for cell in read_rows(path)[1]] == [1, 1_000_000]


def test_a_cell_that_no_row_can_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x" * (LONGEST_ROW + 1) + "\n")
    with pytest.raises(StorageError, match=r"t\.csv cannot be read as a table"):
        read_rows(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"time;text\n1;\xff\n")
    with pytest.raises(StorageError, match="cannot be read as a table") as refused:
        read_rows(path)
    assert refused.value.remedy


TABLES = [
    b"a;b\n" + b"1;2\n" * 50,
    b'a;b\n1;"x\n;""y"\n' * 20,
    b"a;b\n" + b'1;"cell\n' * 3 + b"3;4\n" * 30,
    b'a;b\n1;2\n3;"torn',
    b'a;b\n1;2\n3;4;5;"torn\n6',
    b"a;b\n1;2\n3;4\r5\n6;7\n",
    b"\xc2\xb5s;b\n" + b"1;\xff\n" + b"2;\xc3\xa9\n" * 30,
    b"a;b\n1;2\n" + bytes(40),
    b"a" * 500,
    b"\n" * 20,
    b"",
]


@pytest.mark.parametrize("window", [1, 2, 3, 7, 64, 1 << 22])
@pytest.mark.parametrize("data", TABLES, ids=range(len(TABLES)))
def test_a_table_is_the_same_whatever_part_of_it_is_in_memory(monkeypatch, window, data):
    def examined():
        state = TableState()
        intact = b"".join(whole_rows(io.BytesIO(data), state))
        assert state.whole_bytes + state.torn_bytes == len(data)
        if not state.damaged:
            assert intact == data[: state.whole_bytes]
        return state, intact

    expected = examined()
    monkeypatch.setattr(csv_rows, "_WINDOW", window)
    assert examined() == expected


@pytest.mark.parametrize("data", TABLES, ids=range(len(TABLES)))
def test_rows_longer_than_any_that_is_sent_end_the_search(monkeypatch, data):
    """The bound of what is read to find a row's end."""
    monkeypatch.setattr(csv_rows, "_WINDOW", 3)
    monkeypatch.setattr(csv_rows, "LONGEST_ROW", 4)
    state = TableState()
    for _ in whole_rows(io.BytesIO(data), state):
        pass
    assert state.whole_bytes + state.torn_bytes == len(data)


def test_a_long_table_takes_no_more_memory_than_a_short_one(tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.write(b"time_usec;x\n")
        for _ in range(60):
            file.write(b"1234567890;0.123456789\n" * 50_000)
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            assert examine_table(file).rows == 3_000_001
        assert tracemalloc.get_traced_memory()[1] < 30 << 20  # of 69 MB
    finally:
        tracemalloc.stop()
