"""A failed real-time test is skipped on a busy computer; every other failure stays one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.busy_host import BUSY_SHARE, WINDOW_SEC, BusyHost


class Machine:
    """A clock and the time in which tasks waited for a processor, moved by hand."""

    def __init__(self) -> None:
        self.now_sec = 100.0
        self.waited_sec: float | None = 50.0

    def pass_time(self, seconds: float, busy: float) -> None:
        self.now_sec += seconds
        self.waited_sec += seconds * busy

    def host(self) -> BusyHost:
        return BusyHost(lambda: self.waited_sec, lambda: self.now_sec)


def failure(outcome: str = "failed") -> SimpleNamespace:
    return SimpleNamespace(outcome=outcome, failed=outcome == "failed", longrepr="E  12 ms late")


def item_with(*marks: str) -> SimpleNamespace:
    return SimpleNamespace(
        path=Path("test_x.py"),
        location=("test_x.py", 6, "test_x"),
        get_closest_marker=lambda name: name if name in marks else None,
    )


@pytest.mark.parametrize("mark", ["real_time", "rig"])
def test_a_real_time_failure_on_a_busy_computer_is_a_skip_that_keeps_the_failure(mark):
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=0.95)
    report = failure()
    host.excuse(report, item_with(mark), AssertionError())
    assert report.outcome == "skipped"
    path, line, reason = report.longrepr
    assert (path, line) == ("test_x.py", 7)
    assert "waited for a processor for 95%" in reason
    assert "12 ms late" in reason


def test_a_failure_on_a_quiet_computer_stays_a_failure():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=BUSY_SHARE - 0.05)
    report = failure()
    host.excuse(report, item_with("real_time"), AssertionError())
    assert report.outcome == "failed"


def test_a_test_that_does_not_depend_on_the_pace_fails_however_busy_the_computer_is():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=1.0)
    report = failure()
    host.excuse(report, item_with(), AssertionError())
    assert report.outcome == "failed"


def test_a_pass_on_a_busy_computer_stays_a_pass():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=1.0)
    report = failure("passed")
    host.excuse(report, item_with("real_time"), AssertionError())
    assert report.outcome == "passed"


def test_a_short_busy_moment_after_a_quiet_time_is_no_excuse():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(WINDOW_SEC, busy=0.1)
    host.begin(first_phase=True)
    machine.pass_time(1, busy=1.0)
    assert host.share() < 0.2


def test_an_earlier_busy_time_is_forgotten():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(100, busy=1.0)
    for _ in range(10):
        host.begin(first_phase=True)
        machine.pass_time(5, busy=0.0)
    assert host.share() < 0.05


def test_a_kernel_that_does_not_count_excuses_nothing():
    machine = Machine()
    machine.waited_sec = None
    host = machine.host()
    host.begin(first_phase=True)
    report = failure()
    host.excuse(report, item_with("real_time"), AssertionError())
    assert report.outcome == "failed"


@pytest.mark.parametrize("error", [NameError(), TypeError(), AttributeError(), ImportError()])
def test_a_mistake_in_code_fails_however_busy_the_computer_is(error):
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=1.0)
    report = failure()
    host.excuse(report, item_with("real_time"), error)
    assert report.outcome == "failed"
