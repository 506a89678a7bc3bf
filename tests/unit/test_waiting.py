"""What a driver waits for, in real time: one thread makes all its calls."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from mlink.waiting import ServiceLoop
from tests.support.boards.scripted_board import open_descriptors


@pytest.fixture
def loop():
    with ServiceLoop("waits") as loop:
        yield loop


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def test_without_a_registration_there_is_no_thread_and_no_descriptor():
    before = open_descriptors(), threading.active_count()
    loop = ServiceLoop("idle")
    assert (open_descriptors(), threading.active_count()) == before
    loop.close()


def test_a_call_is_made_when_bytes_are_there_with_the_time(loop, pair):
    near, far = pair
    got = []
    began_ns = time.monotonic_ns()
    loop.on_readable(near.fileno(), lambda now_ns: got.append((near.recv(10), now_ns)))
    far.send(b"one")
    assert loop.until(lambda: len(got) == 1, 5)
    far.send(b"two")
    assert loop.until(lambda: len(got) == 2, 5)
    assert [data for data, _ in got] == [b"one", b"two"]
    assert began_ns <= got[0][1] <= got[1][1] <= time.monotonic_ns()


def test_calls_at_moments_are_made_in_their_order_and_not_before(loop):
    made = []
    now_ns = loop.now_ns()
    for after_ms in (30, 5, 12):
        at_ns = now_ns + after_ms * 1_000_000
        loop.at(at_ns, lambda at_ns=at_ns, ms=after_ms: made.append((ms, loop.now_ns() >= at_ns)))
    assert loop.until(lambda: len(made) == 3, 5)
    assert made == [(5, True), (12, True), (30, True)]


def test_calls_of_one_moment_are_made_in_the_order_of_their_registration(loop):
    made = []
    at_ns = loop.now_ns() + 20_000_000
    for number in range(10):
        loop.at(at_ns, lambda number=number: made.append(number))
    assert loop.until(lambda: len(made) == 10, 5)
    assert made == list(range(10))


def test_a_cancelled_call_is_not_made(loop, pair):
    near, far = pair
    made = []
    loop.at(loop.now_ns() + 5_000_000, lambda: made.append("moment")).cancel()
    watch = loop.on_readable(near.fileno(), lambda _now_ns: made.append("bytes"))
    watch.cancel()
    far.send(b"late")
    loop.at(loop.now_ns() + 20_000_000, lambda: made.append("end"))
    assert loop.until(lambda: "end" in made, 5)
    assert made == ["end"]


def test_after_a_cancel_no_call_runs_and_the_file_is_waited_for_no_more(loop, pair):
    near, far = pair
    entered, leave, left = threading.Event(), threading.Event(), []

    def slow(_now_ns):
        entered.set()
        assert leave.wait(60)
        near.recv(10)
        left.append(True)

    watch = loop.on_readable(near.fileno(), slow)
    far.send(b"x")
    assert entered.wait(60)
    threading.Timer(0.05, leave.set).start()
    watch.cancel()
    assert left == [True]
    # a file that another thread polls stays open behind its closed descriptor
    near.close()
    assert far.recv(1) == b""


def test_an_exception_of_a_call_is_reported_and_the_others_are_made():
    errors, made = [], []
    with ServiceLoop("fails", errors.append) as loop:
        now_ns = loop.now_ns()
        loop.at(now_ns, lambda: 1 // 0)
        loop.at(now_ns + 1_000_000, lambda: made.append(1))
        assert loop.until(lambda: bool(made), 5)
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_waiting_within_a_call_makes_the_others(loop):
    made = []
    now_ns = loop.now_ns()

    def waits():
        made.append(("waited", loop.until(lambda: "other" in made, 5)))

    loop.at(now_ns, waits)
    loop.at(now_ns + 5_000_000, lambda: made.append("other"))
    assert loop.until(lambda: len(made) == 2, 5)
    assert made == ["other", ("waited", True)]


def test_a_wait_ends_at_its_limit_and_sees_a_change_from_outside(loop):
    assert not loop.until(lambda: False, 0.02)
    changed = []
    loop.at(loop.now_ns() + 60_000_000_000, lambda: None)  # so that there is a thread
    threading.Timer(0.05, lambda: (changed.append(1), loop.look_again())).start()
    assert loop.until(lambda: bool(changed), 5)


def test_closing_ends_the_thread_and_frees_its_descriptor(pair):
    before = open_descriptors()
    loop = ServiceLoop("ends")
    loop.on_readable(pair[0].fileno(), lambda _now_ns: None)
    assert "ends" in [thread.name for thread in threading.enumerate()]
    loop.close()
    loop.close()
    assert "ends" not in [thread.name for thread in threading.enumerate()]
    assert open_descriptors() == before


def test_a_closed_loop_can_be_used_again(pair):
    near, far = pair
    loop = ServiceLoop("again")
    loop.at(loop.now_ns(), lambda: None)
    loop.close()
    got = []
    with loop:
        loop.on_readable(near.fileno(), lambda _now_ns: got.append(near.recv(10)))
        far.send(b"x")
        assert loop.until(lambda: bool(got), 5)


def test_a_descriptor_beyond_the_reach_of_select_is_served(loop, pair):
    near, far = pair
    high = os.dup2(near.fileno(), 1500, inheritable=False)
    got = []
    try:
        watch = loop.on_readable(high, lambda _now_ns: got.append(os.read(high, 10)))
        loop.at(loop.now_ns() + 1_000_000, lambda: far.send(b"x"))
        assert loop.until(lambda: bool(got), 5)
        watch.cancel()
    finally:
        os.close(high)
