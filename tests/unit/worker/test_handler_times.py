"""Times of handlers: by input, and without the waits in them."""

from __future__ import annotations

import pytest

from mlink.worker import handler_times
from mlink.worker.handler_times import HandlerTimes


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        usec = 0

    monkeypatch.setattr(handler_times, "monotonic_ns", lambda: Clock.usec * 1000)
    return Clock


def test_each_input_has_its_own(clock):
    def takes(usec):
        clock.usec += usec

    times = HandlerTimes()
    first, second = times.of("a"), times.of("b")
    for usec in (10, 30, 30):
        first(takes, usec)
    second(takes, 1000)
    assert times.counts() == {"a": {10: 1, 30: 2}, "b": {992: 1}}  # to 3 %
    assert times.figures() == {
        "handler_p50_usec": 30,
        "handler_p99_usec": 992,
        "handler_max_usec": 1000,
    }


def test_nothing_handled_has_no_figures(clock):
    times = HandlerTimes()
    times.of("a")
    assert times.counts() == times.figures() == {}


def test_a_wait_in_a_handler_and_what_is_handled_meanwhile_are_no_part_of_it(clock):
    times = HandlerTimes()
    outer, inner = times.of("outer"), times.of("inner")

    def pass_(usec):
        clock.usec += usec

    def innermost(usec):
        pass_(usec)
        times.wait(lambda: pass_(500))

    def wait():
        pass_(1000)
        inner(innermost, 7)

    def handle(usec):
        pass_(usec)
        times.wait(wait)
        times.wait(lambda: pass_(2000))
        pass_(usec)

    outer(handle, 20)
    assert times.counts() == {"outer": {40: 1}, "inner": {7: 1}}


def test_a_handler_that_fails_is_not_counted(clock):
    times = HandlerTimes()
    with pytest.raises(ZeroDivisionError):
        times.of("a")(lambda _: 1 // 0, None)
    assert times.counts() == {}
