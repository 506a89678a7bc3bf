"""What of a stream has arrived, and what may be missing where."""

from __future__ import annotations

import pytest

from mlink.tap import account as tap_account
from mlink.tap.account import StreamAccount


@pytest.fixture
def rows():
    """An account of which item n was at n ms, ± 10 µs."""
    return StreamAccount("loop.rows")


def note(account, *numbers):
    return [account.note(n, n * 1000 - 10, n * 1000 + 10) for n in numbers]


def test_nothing_is_missing_of_items_in_a_row(rows):
    assert note(rows, 0, 1, 2) == [True, True, True]
    rows.note_taken(3, 9000, doubtful=False)
    assert rows.lost == rows.repeated == 0
    assert rows.unseen(-(10**9), 10**9) is None


@pytest.mark.parametrize(
    ("from_usec", "to_usec", "missing"),
    [(0, 989, False), (0, 990, True), (4010, 9000, True), (4011, 9000, False), (2000, 3000, True)],
)
def test_missing_items_were_between_their_neighbours(rows, from_usec, to_usec, missing):
    note(rows, 0, 1, 4)
    assert rows.lost == 2
    found = rows.unseen(from_usec, to_usec)
    text = "2 item(s) of loop.rows were lost on their way to this test"
    assert found == ((990, text) if missing else None)


def test_before_the_first_item_anything_may_be_missing(rows):
    note(rows, 1)
    assert rows.unseen(-(10**9), -(10**9)) is not None


def test_what_was_taken_and_has_not_come_is_lost_up_to_that_time(rows):
    note(rows, 0, 1)
    rows.note_taken(5, 7000, doubtful=False)
    assert rows.lost == 3
    assert rows.unseen(6999, 7000) is not None
    assert rows.unseen(7001, 9000) is None


def test_an_item_again_or_after_later_ones_is_refused_and_stays_lost(rows):
    assert note(rows, 0, 2, 1, 2, 3) == [True, True, False, False, True]
    assert (rows.lost, rows.repeated) == (1, 2)
    assert rows.unseen(500, 600) is not None


def test_a_doubt_lasts_until_the_next_item(rows):
    note(rows, 0, 1)
    rows.note_taken(2, 7000, doubtful=True)
    assert rows.unseen(0, 900) is None
    assert "may have been lost" in rows.unseen(8000, 9000)[1]
    note(rows, 2)
    assert rows.unseen(8000, 9000) is None


def test_where_times_go_back_a_gap_is_as_much_wider(rows):
    note(rows, 0, 1)
    assert rows.note(2, 700, 700)  # 290 µs before the earliest time of the one before
    note(rows, 4)
    assert rows.unseen(0, 699) is None
    assert rows.unseen(0, 700) is not None
    assert rows.unseen(4300, 9000) is not None
    assert rows.unseen(4301, 9000) is None
    assert rows.in_order_from(9000) == 8710


def test_the_oldest_gaps_become_one(rows, monkeypatch):
    monkeypatch.setattr(tap_account, "_KEPT_GAPS", 2)
    note(rows, 0, 2, 10, 12, 13, 15)
    assert [(gap.from_usec, gap.to_usec, gap.count) for gap in rows.gaps] == [
        (-10, 12_010, 9),
        (12_990, 15_010, 1),
    ]
    assert rows.lost == 10
