"""Reconnection on a manual clock: when it searches, what it reports, and how it ends."""

from __future__ import annotations

import threading

import pytest

from mlink.errors import DeviceError
from mlink.waiting import ServiceLoop
from mlink_drivers.firmata.link.reconnect import LONGEST_PAUSE_S, LinkState, Reconnect
from tests.support.manual_waiting import ManualWaiting

CONNECTED, LOST, REOPENING = LinkState.CONNECTED, LinkState.LOST, LinkState.REOPENING


class Bench:
    """A board that is there from `back_at_s` on; time passes only in `advance`."""

    def __init__(self):
        self.waiting = ManualWaiting()
        self.searched_at_s = []
        self.back_at_s = 0.0
        self.refusals = []
        self.reopened = []
        self.states = []
        self.reconnect = Reconnect(self.find, self.reopen, self.on_state, waiting=self.waiting)

    @property
    def now_s(self):
        return self.waiting.now_ns() / 1e9 - 1

    def advance(self, seconds=10.0):
        self.waiting.advance(seconds)

    def find(self):
        self.searched_at_s.append(self.now_s)
        return "/dev/ttyACM1" if self.now_s >= self.back_at_s else None

    def reopen(self, address):
        self.reopened.append(address)
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            refusal()

    def on_state(self, state, detail):
        self.states.append((state, detail))


@pytest.fixture
def bench():
    return Bench()


def test_a_link_begins_connected(bench):
    assert bench.reconnect.state is CONNECTED
    assert bench.states == []


def test_a_loss_is_reported_at_once_with_its_reason(bench):
    bench.reconnect.lost("hang-up")
    assert bench.states == [(LOST, "hang-up")]
    assert bench.reconnect.state is LOST


def test_a_loss_that_is_noticed_twice_is_one_loss(bench):
    bench.reconnect.lost("hang-up")
    bench.reconnect.lost("write failed")
    assert bench.waiting.pending == 1
    assert bench.states == [(LOST, "hang-up")]


def test_a_board_that_is_back_is_reopened_where_it_is(bench):
    bench.reconnect.lost("hang-up")
    bench.back_at_s = 5
    bench.advance()
    assert bench.reopened == ["/dev/ttyACM1"]
    assert bench.states[1:] == [(REOPENING, "/dev/ttyACM1"), (CONNECTED, "/dev/ttyACM1")]
    assert bench.reconnect.state is CONNECTED


def test_it_looks_soon_at_first_and_then_about_once_a_second(bench):
    bench.reconnect.lost("hang-up")
    bench.back_at_s = 60
    bench.advance(70)
    searched = bench.searched_at_s
    pauses = [round(b - a, 6) for a, b in zip([0.0, *searched], searched, strict=False)]
    assert pauses[0] <= 0.2
    assert pauses == sorted(pauses)
    assert max(pauses) == LONGEST_PAUSE_S
    assert 60 <= searched[-1] < 60 + LONGEST_PAUSE_S
    assert bench.waiting.pending == 0


def test_a_board_that_cannot_be_opened_yet_is_tried_again_and_reported_once(bench):
    denied = DeviceError("no permission")  # udev sets it a moment after the node appears
    bench.refusals = [denied, denied, denied]
    bench.reconnect.lost("hang-up")
    bench.advance()
    assert [detail for state, detail in bench.states if state is LOST] == [
        "hang-up",
        "no permission",
    ]
    assert bench.states[-1] == (CONNECTED, "/dev/ttyACM1")


def test_several_boards_that_fit_are_no_reason_to_give_up(bench):
    answers = [DeviceError("fits 2 boards"), None, "/dev/ttyACM0"]

    def find():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench.reconnect._find = find
    bench.reconnect.lost("hang-up")
    bench.advance()
    assert (LOST, "fits 2 boards") in bench.states
    assert bench.reopened == ["/dev/ttyACM0"]


def test_a_fault_of_ours_is_logged_and_the_board_is_tried_again(bench, caplog):
    bench.refusals = [KeyError("oops")]
    bench.reconnect.lost("hang-up")
    bench.advance()
    assert "reopening failed" in caplog.text
    assert bench.reconnect.state is CONNECTED


def test_a_board_that_is_lost_again_while_it_is_reopened_is_tried_again(bench):
    bench.refusals = [lambda: bench.reconnect.lost("hang-up again")]
    bench.reconnect.lost("hang-up")
    bench.advance()
    assert len(bench.reopened) == 2
    assert bench.reconnect.state is CONNECTED
    assert bench.waiting.pending == 0


def test_every_loss_has_its_own_attempts(bench):
    first_s = []
    for _ in range(3):
        lost_s = bench.now_s
        bench.reconnect.lost("hang-up")
        bench.advance()
        first_s.append(round(bench.searched_at_s[-1] - lost_s, 6))
    assert [state for state, _ in bench.states].count(LOST) == 3
    assert first_s == [first_s[0]] * 3


def test_closing_ends_the_search(bench):
    bench.back_at_s = 30
    bench.reconnect.lost("hang-up")
    bench.advance(20)
    bench.reconnect.close()
    bench.advance(20)
    assert bench.reopened == []
    assert bench.waiting.pending == 0


def test_nothing_is_lost_after_closing(bench):
    bench.reconnect.close()
    bench.reconnect.lost("hang-up")
    assert (bench.states, bench.waiting.pending) == ([], 0)


def test_closing_within_an_attempt_does_not_wait_for_it(bench):
    bench.refusals = [bench.reconnect.close]
    bench.reconnect.lost("hang-up")
    bench.advance()
    assert len(bench.reopened) == 1
    assert bench.waiting.pending == 0


def test_closing_interrupts_an_attempt_in_another_thread():
    entered, interrupted = threading.Event(), threading.Event()

    def reopen(address):
        entered.set()
        assert interrupted.wait(60)
        raise DeviceError("closed while connecting")

    states = []
    with ServiceLoop("uno") as waiting:
        reconnect = Reconnect(
            lambda: "x", reopen, lambda *state: states.append(state), waiting=waiting
        )
        reconnect.lost("hang-up")
        assert entered.wait(60)
        reconnect.close(interrupted.set)
        waiting.settle()
    assert (LOST, "closed while connecting") not in states  # not reported after close


def test_a_loss_while_the_return_is_reported_is_reported_after_it(bench):
    seen = []

    def on_state(state, detail):
        if state is CONNECTED and CONNECTED not in seen:
            bench.reconnect.lost("cable out again")  # as the reader of the new connection does
        seen.append(state)

    bench.reconnect._on_state = on_state
    bench.reconnect.lost("cable out")
    bench.advance()
    assert seen == [LOST, REOPENING, CONNECTED, LOST, REOPENING, CONNECTED]
