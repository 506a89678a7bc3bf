"""A board that goes silent is noticed after four looks; one that answers is never."""

from __future__ import annotations

import pytest

from mlink_drivers.firmata.link.silence import Signs, SilenceWatch
from tests.support.manual_waiting import ManualWaiting


class Quiet:
    """A board with a count of signs; `answers` is whether a query is answered."""

    def __init__(self):
        self.waiting = ManualWaiting()
        self.signs, self.answers = 0, True
        self.queries, self.silent_at_s = [], []
        self.backlog_s = 0
        """For how long a query waits behind commands."""
        self.watch = SilenceWatch(
            self.waiting,
            count_signs=lambda: self.signs,
            query=self.query,
            sent_ns=self.sent_ns,
            on_silence=lambda: self.silent_at_s.append(self.waiting.now_ns() / 1e9 - 1),
        )

    def query(self, repeat):
        self.queries.append(repeat)
        if self.answers:
            self.waiting.at(self.sent_ns(), self.answer)

    def answer(self):
        self.signs += 1

    def sent_ns(self):
        return self.waiting.now_ns() + self.backlog_s * 1_000_000_000


@pytest.fixture
def board():
    return Quiet()


def test_a_quiet_board_that_answers_is_queried_about_once_a_second(board):
    board.watch.start()
    board.waiting.advance(10)
    assert 8 <= len(board.queries) <= 12
    assert not any(board.queries)
    assert board.silent_at_s == []


def test_a_board_that_answers_nothing_is_silent_once_after_two_seconds(board):
    board.answers = False
    board.watch.start()
    board.waiting.advance(10)
    assert board.silent_at_s == [pytest.approx(2.0)]
    assert board.queries == [False, True]
    board.watch.start()  # it is back, and silent again
    board.waiting.advance(10)
    assert len(board.silent_at_s) == 2


def test_after_close_nothing_is_asked(board):
    board.watch.start()
    board.watch.close()
    board.waiting.advance(10)
    assert board.queries == []
    assert board.waiting.pending == 0


def test_a_query_behind_commands_has_time_until_it_has_left(board):
    board.backlog_s = 5
    board.watch.start()
    board.waiting.advance(20)
    assert board.silent_at_s == []


def test_a_board_that_hangs_behind_commands_is_silent_when_they_have_left(board):
    board.answers = False
    board.backlog_s = 5
    board.watch.start()
    board.waiting.advance(30)
    assert board.silent_at_s == [pytest.approx(12, abs=1.5)]


def test_a_backlog_that_never_ends_delays_the_verdict_by_a_bounded_time(board):
    board.answers = False
    board.backlog_s = 1_000_000
    board.watch.start()
    board.waiting.advance(60)
    assert len(board.silent_at_s) == 1


def test_the_last_sign_of_life_is_known_also_before_that_of_a_restart():
    signs = Signs()
    assert signs.last_ns() == 0
    for msec in (100, 500, 504, 1500, 1503):
        signs.note(msec * 1_000_000)
    assert signs.last_ns() == 1500 * 1_000_000  # 3 ms later is the same sign
    assert signs.last_ns(before_ns=1499 * 1_000_000) == 500 * 1_000_000
    assert signs.last_ns(before_ns=0) == 100 * 1_000_000
