"""Reconnection on a manual clock: when it searches, what it reports, and how it ends."""

from __future__ import annotations

import pytest

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.reconnect import LONGEST_PAUSE_S, LinkState, Reconnect

CONNECTED, LOST, REOPENING = LinkState.CONNECTED, LinkState.LOST, LinkState.REOPENING


class Bench:
    """A board that is there from `back_at_s` on; its thread runs only when a test calls `run`."""

    def __init__(self):
        self.now_s = 0.0
        self.waits = []
        self.back_at_s = 0.0
        self.refusals = []
        self.reopened = []
        self.states = []
        self.stop_at_s = 1e9
        self.threads = 0
        self.reconnect = Reconnect(
            self.find, self.reopen, self.on_state, wait=self.wait, start=self.start
        )

    def start(self, run, name):
        self.threads += 1
        self.run = run

    def wait(self, pause_s):
        self.waits.append(pause_s)
        self.now_s += pause_s
        return self.now_s >= self.stop_at_s

    def find(self):
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
    assert bench.threads == 1
    assert bench.states == [(LOST, "hang-up")]


def test_a_board_that_is_back_is_reopened_where_it_is(bench):
    bench.reconnect.lost("hang-up")
    bench.back_at_s = 5
    bench.run()
    assert bench.reopened == ["/dev/ttyACM1"]
    assert bench.states[1:] == [(REOPENING, "/dev/ttyACM1"), (CONNECTED, "/dev/ttyACM1")]
    assert bench.reconnect.state is CONNECTED


def test_it_looks_soon_at_first_and_then_about_once_a_second(bench):
    bench.reconnect.lost("hang-up")
    bench.back_at_s = 60
    bench.run()
    assert bench.waits[0] <= 0.2
    assert bench.waits == sorted(bench.waits)
    assert max(bench.waits) == LONGEST_PAUSE_S
    assert 60 <= bench.now_s < 60 + LONGEST_PAUSE_S


def test_a_board_that_cannot_be_opened_yet_is_tried_again_and_reported_once(bench):
    denied = DeviceError("no permission")  # udev sets it a moment after the node appears
    bench.refusals = [denied, denied, denied]
    bench.reconnect.lost("hang-up")
    bench.run()
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
    bench.run()
    assert (LOST, "fits 2 boards") in bench.states
    assert bench.reopened == ["/dev/ttyACM0"]


def test_a_fault_of_ours_is_logged_and_the_board_is_tried_again(bench, caplog):
    bench.refusals = [KeyError("oops")]
    bench.reconnect.lost("hang-up")
    bench.run()
    assert "reopening failed" in caplog.text
    assert bench.reconnect.state is CONNECTED


def test_a_board_that_is_lost_again_while_it_is_reopened_is_tried_again(bench):
    bench.refusals = [lambda: bench.reconnect.lost("hang-up again")]
    bench.reconnect.lost("hang-up")
    bench.run()
    assert len(bench.reopened) == 2
    assert bench.reconnect.state is CONNECTED
    assert bench.threads == 1


def test_every_loss_has_its_own_attempts(bench):
    for _ in range(3):
        bench.reconnect.lost("hang-up")
        bench.run()
    assert [state for state, _ in bench.states].count(LOST) == bench.threads == 3
    assert bench.waits == [bench.waits[0]] * 3


def test_closing_ends_the_search(bench):
    bench.back_at_s = 1e9
    bench.stop_at_s = 30
    bench.reconnect.lost("hang-up")
    bench.run()
    assert bench.reopened == []


def test_nothing_is_lost_after_closing(bench):
    bench.reconnect.close()
    bench.reconnect.lost("hang-up")
    assert (bench.states, bench.threads) == ([], 0)


def test_closing_interrupts_an_attempt_in_its_own_thread():
    import threading

    entered, interrupted = threading.Event(), threading.Event()

    def reopen(address):
        entered.set()
        assert interrupted.wait(5)
        raise DeviceError("closed while connecting")

    states = []
    reconnect = Reconnect(lambda: "x", reopen, lambda *state: states.append(state), name="uno")
    reconnect.lost("hang-up")
    assert entered.wait(5)
    assert any(thread.name == "reconnect uno" for thread in threading.enumerate())
    reconnect.close(interrupted.set)
    assert not any(thread.name == "reconnect uno" for thread in threading.enumerate())
    assert (LOST, "closed while connecting") not in states  # not reported after close
