"""Settling: a test's end waits until lines are at rest, and cameras have shown that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.settling import settle

STREAM = "cam.video"


class Run:
    """A run on a clock that only sleeping moves; `during` acts while it sleeps.

    Args:
        during: Called before each sleep with the run.
        boards: Virtual boards by name.
        testers: Tester boards.
    """

    def __init__(self, during=None, *, boards=(), testers=(), slow=1.0) -> None:
        self.slow = slow
        self.history = History()
        self.alive = True
        self.sleeps: list[float] = []
        self.time_sec = 0.0
        self.starved: dict[str, int] = {}
        self.bytes_in = dict.fromkeys(boards, 0)
        self.bytes_out = dict.fromkeys(boards, 0)
        self.boards = {name: SimpleNamespace(stats=self._stats(name)) for name in boards}
        self.names = SimpleNamespace(
            testers=lambda: set(testers), line_streams=lambda: {"board.fmdata"}
        )
        self._during = during or (lambda _run: None)

    def _stats(self, name):
        return lambda: SimpleNamespace(
            uart_bytes_in=self.bytes_in[name], uart_bytes_out=self.bytes_out[name]
        )

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time_sec += seconds
        self._during(self)

    def now_usec(self) -> int:
        return round(self.time_sec * 1e6)

    def processor_times(self):
        self.starved = {}
        return self.starved

    def starved_usec(self, _since):
        return self.starved

    def let_run(self) -> None:
        pass


def test_where_nothing_reports_traffic_there_is_no_wait():
    run = Run()
    settle(run)
    assert run.sleeps == []


def test_a_virtual_board_is_at_rest_after_30_ms_without_a_byte():
    def three_more_bytes(run) -> None:
        run.bytes_in["uno"] = min(3, len(run.sleeps))

    run = Run(three_more_bytes, boards=["uno"])
    settle(run)
    assert run.sleeps == [0.03] * 4


def test_all_virtual_boards_have_to_be_at_rest():
    def right_sends(run) -> None:
        run.bytes_out["right"] = min(1, len(run.sleeps))

    run = Run(right_sends, boards=["left", "right"])
    settle(run)
    assert len(run.sleeps) == 2


@pytest.mark.parametrize(("starved_usec", "turns"), [(2999, 1), (3000, 3)])
def test_a_silence_in_which_the_loop_waited_for_a_processor_does_not_count(starved_usec, turns):
    def starved_twice(run) -> None:
        if len(run.sleeps) <= 2:
            run.starved["ml:loop"] = starved_usec

    run = Run(starved_twice, boards=["uno"])
    settle(run)
    assert len(run.sleeps) == turns


def chatty(run) -> None:
    run.bytes_in["uno"] = len(run.sleeps)


def test_a_virtual_board_that_never_rests_is_waited_for_5_s():
    run = Run(chatty, boards=["uno"])
    settle(run)
    assert run.time_sec == pytest.approx(5, abs=0.031)


def test_the_end_of_the_run_ends_the_wait():
    def ends(run) -> None:
        chatty(run)
        run.alive = len(run.sleeps) < 3

    run = Run(ends, boards=["uno"])
    settle(run)
    assert len(run.sleeps) == 3


def reports_until(last):
    def during(run) -> None:
        at = run.now_usec()
        run.history.add([Event("cam.video", at, noted_ns=at * 1000)])  # no line
        if len(run.sleeps) <= last:
            run.history.add([Event("board.fmdata.7", at, noted_ns=at * 1000)])

    return during


def test_real_boards_are_at_rest_when_no_line_has_reported():
    run = Run(reports_until(2), testers=["tester"])
    settle(run)
    assert run.sleeps == [0.03] * 3


def test_real_boards_without_testers_are_not_waited_for():
    run = Run(reports_until(2))
    settle(run)
    assert run.sleeps == []


def test_on_a_slow_host_real_boards_are_waited_for_longer():
    run = Run(reports_until(1000), testers=["tester"], slow=10)
    settle(run)
    assert run.sleeps[0] == pytest.approx(0.3)
    assert run.time_sec == pytest.approx(3, abs=0.31)


def test_a_watched_camera_has_shown_the_rest_with_two_frames_exposed_after_it():
    run = Run(boards=["uno"])
    seen = []

    def wait(done, timeout_sec) -> bool:
        for time_usec in (-100, 100, 10_000, 20_000):
            run.history.add([Event(STREAM, time_usec, early_usec=1000)])
            seen.append((time_usec, done()))
        assert timeout_sec == 1
        return True

    run.history.wait = wait
    settle(run, [STREAM])
    # at 100 µs the exposure may have begun before the rest, at 0
    assert seen == [(-100, False), (100, False), (10_000, False), (20_000, True)]


# the board is at rest since 30 ms
@pytest.mark.parametrize(
    ("last_frames", "enough"),
    [((10_000, 20_000, 30_000), False), ((10_000, 20_000, 30_000, 40_000), True)],
)
def test_frames_exposed_before_the_last_traffic_show_nothing(last_frames, enough):
    def one_byte(run) -> None:
        run.bytes_in["uno"] = min(1, len(run.sleeps))

    run = Run(one_byte, boards=["uno"])
    run.history.add([Event(STREAM, time_usec) for time_usec in last_frames])
    shown = []
    run.history.wait = lambda done, _timeout: shown.append(done())
    settle(run, [STREAM])
    assert shown == [enough]
