"""A real-time test that was late is skipped on a busy computer; every other failure stays one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlink.engine.status import Failure
from mlink.errors import BenchError, ControlError
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
    host.excuse(report, item_with(mark), TimeoutError())
    assert report.outcome == "skipped"
    path, line, reason = report.longrepr
    assert (path, line) == ("test_x.py", 7)
    assert "waited for a processor for 95%" in reason
    assert "12 ms late" in reason


@pytest.mark.parametrize(
    "error",
    [
        Exception("Page.goto: Timeout 120000ms exceeded.\nCall log:"),
        AssertionError(
            "Locator expected to contain text 'completed'\nCall log:\n"
            '  - Expect "to_contain_text" locator("#phase") with timeout 120000ms'
        ),
    ],
)
def test_a_page_that_does_not_come_in_time_is_a_matter_of_time(error):
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=0.95)
    report = failure()
    host.excuse(report, item_with("real_time"), error)
    assert report.outcome == "skipped"


def test_a_failure_on_a_quiet_computer_stays_a_failure():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=BUSY_SHARE - 0.05)
    report = failure()
    host.excuse(report, item_with("real_time"), TimeoutError())
    assert report.outcome == "failed"


def test_a_test_that_does_not_depend_on_the_pace_fails_however_busy_the_computer_is():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=1.0)
    report = failure()
    host.excuse(report, item_with(), TimeoutError())
    assert report.outcome == "failed"


def test_a_pass_on_a_busy_computer_stays_a_pass():
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=1.0)
    report = failure("passed")
    host.excuse(report, item_with("real_time"), TimeoutError())
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
    host.excuse(report, item_with("real_time"), TimeoutError())
    assert report.outcome == "failed"


took_s, latency_ms, count = 9.0, 50.0, 7
row, started = {"age_p99_ms": 30.0, "level": 1}, time.monotonic()


def too_long() -> None:
    assert took_s < 5


def too_long_in_several_lines() -> None:
    assert (
        latency_ms
        < 20
    ), "late"  # fmt: skip


def too_old() -> None:
    assert 0 < row["age_p99_ms"] <= 20


def too_late() -> None:
    assert time.monotonic() < started


def off_its_rate() -> None:
    assert latency_ms == pytest.approx(10, rel=0.1)


def one_too_long() -> None:
    assert all(each_ms < 5 for each_ms in (1, 10))


def wait_for_a_program() -> None:
    raise subprocess.TimeoutExpired("mlink", 5)


def time_out_of_pytest() -> None:
    pytest.fail("Timeout (>300.0s) from pytest-timeout.")


def time_out_of_mlink() -> None:
    raise ControlError("[virtual] of the bench is not ready after 30 s")


late = Failure("", "engine", "the simulator of uno was not ready within 60 s", "See its log.")
broken = Failure("loop", "run", "loop.py:3: ZeroDivisionError")


def run_that_failed_by_a_limit() -> None:
    failures = [late]
    assert not failures, failures


def run_that_failed_by_a_limit_and_a_mistake() -> None:
    failures = [late, broken]
    assert not failures, failures


def wrong_value() -> None:
    assert row["level"] == 0


def wrong_count() -> None:
    assert count > 100


def wrong_value_beside_a_time() -> None:
    assert (took_s < 50, count) == (True, 3)


def wrong_time_to_the_digit() -> None:
    assert took_s == 8.0


def wrong_reason() -> None:
    assert "within 5 s" in "its process ended"


def no_text() -> None:
    raise AssertionError


def plain_failure() -> None:
    pytest.fail("a row is missing")


def wrong_bench() -> None:
    raise BenchError("[modules.a] has no such type")


def mistake() -> None:
    raise TypeError("took_s < 5")


def error_of(fails: Callable[[], None]) -> BaseException:
    try:
        fails()
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


def excused(fails: Callable[[], None]) -> bool:
    machine = Machine()
    host = machine.host()
    host.begin(first_phase=True)
    machine.pass_time(30, busy=1.0)
    report = failure()
    host.excuse(report, item_with("real_time"), error_of(fails))
    return report.outcome == "skipped"


@pytest.mark.parametrize(
    "fails",
    [
        too_long, too_long_in_several_lines, too_old, too_late, off_its_rate, one_too_long,
        wait_for_a_program, time_out_of_pytest, time_out_of_mlink, run_that_failed_by_a_limit,
    ],
)  # fmt: skip
def test_a_time_out_or_a_measured_time_is_excused_by_a_busy_computer(fails):
    assert excused(fails)


@pytest.mark.parametrize(
    "fails",
    [
        wrong_value, wrong_count, wrong_value_beside_a_time, wrong_time_to_the_digit, wrong_reason,
        no_text, plain_failure, wrong_bench, mistake, run_that_failed_by_a_limit_and_a_mistake,
    ],
)  # fmt: skip
def test_a_wrong_value_fails_however_busy_the_computer_is(fails):
    assert not excused(fails)
