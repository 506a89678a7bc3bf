"""Skip real-time tests, with the reason, that were late because other programs kept the CPUs busy.

A test marked `real_time` or `rig` watches processes that have to keep pace with the wall clock. On
a computer that gives them a fraction of a processor, a time-out or a measured time that is too long
(`is_about_time`) proves nothing about the code. The kernel counts the time in which at least one
task was ready but had to wait for a processor (pressure stall information, `some` in
/proc/pressure/cpu). Every other failure stays one, however busy the computer is: a value that is
wrong is not explained by it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import time
import traceback
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mlink.errors import MlinkError

BUSY_SHARE = 0.75
"""Share of a test's time in which tasks waited for a processor: above it, the computer was busy."""
WINDOW_SEC = 20.0
"""A short test is judged by this much time before its end: what it looks at began earlier."""
_TIME_OUTS = (TimeoutError, subprocess.TimeoutExpired, psutil.TimeoutExpired)
_LIMIT_PASSED = re.compile(r"Timeout [(>]|\b(within|after) [\d.]+ (s|ms|seconds)\b")
"""In the text of errors of pytest-timeout and of mlink."""
_BROWSER_LIMIT = re.compile(
    r"Timeout \d+ms exceeded|^ *- Expect .* with timeout \d+ms", re.MULTILINE
)
"""In the text of errors of Playwright: what a page should have shown did not come in time."""
_FAILURE = re.compile(r"Failure\(module=.*?, phase=.*?, message=(.*?), remedy=")
"""Each reason of a failed run, in the text of `assert result.success, result.failures`."""
_OF_TIME = re.compile(
    r"(^|_)(s|sec|seconds|ms|us|usec|ns|hz|fps|late|lateness|latency|delay|elapsed|took|duration"
    r"|deadline|timeout|age|monotonic|perf_counter|p50|p99)(_|$)",
    re.IGNORECASE,
)
"""Part of the name of what is a measured time, or a number per time."""
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_PRESSURE = Path("/proc/pressure/cpu")


def waited_sec() -> float | None:
    """Return for how long tasks have waited for a processor since boot; None if not counted."""
    try:
        line = _PRESSURE.read_text().splitlines()[0]
    except (OSError, IndexError):
        return None  # a kernel without pressure stall information, or a restricted container
    return int(line.rpartition("total=")[2]) / 1e6


class BusyHost:
    """Measures how busy the computer was during each test, and turns failures into skips.

    Args:
        pressure: Returns the accumulated waiting time in seconds, or None where it is unknown.
        clock: Returns the time in seconds.
    """

    def __init__(self, pressure=waited_sec, clock=time.monotonic) -> None:
        self._pressure = pressure
        self._clock = clock
        self._marks: deque[tuple[float, float]] = deque()
        """(time in s, waiting time so far in s), one each at the start of a phase of a test"""
        self._began_sec = clock()

    def begin(self, *, first_phase: bool) -> None:
        """Note the start of a phase of a test."""
        now = self._clock()
        if first_phase:
            self._began_sec = now
        if (waited := self._pressure()) is not None:
            self._marks.append((now, waited))
        horizon = min(self._began_sec, now - WINDOW_SEC)
        while len(self._marks) > 1 and self._marks[1][0] <= horizon:
            self._marks.popleft()

    def share(self) -> float:
        """Return the share of the test's time (at least WINDOW_SEC) in which tasks waited."""
        waited = self._pressure()
        if waited is None or not self._marks:
            return 0.0
        now = self._clock()
        begun, before = self._marks[0]
        return (waited - before) / max(now - begun, 1e-3)

    def excuse(
        self, report: pytest.TestReport, item: pytest.Item, error: BaseException | None
    ) -> None:
        """Turn the lateness of a real-time test on a busy computer into a skip with the reason.

        Args:
            report: The test's report, changed in place.
            item: The test.
            error: What the test raised.
        """
        if not report.failed or not is_real_time(item) or not is_about_time(error):
            return
        share = self.share()
        if share < BUSY_SHARE:
            return
        reason = (
            f"the computer was busy: tasks waited for a processor for {share:.0%} of the time; "
            f"without that, this failed: {_last_line(report)}"
        )
        report.outcome = "skipped"
        report.longrepr = (str(item.path), (item.location[1] or 0) + 1, f"Skipped: {reason}")


def is_real_time(item: pytest.Item) -> bool:
    """Return whether a test depends on the pace at which its processes run."""
    return item.get_closest_marker("real_time") is not None or (
        item.get_closest_marker("rig") is not None
    )


def is_about_time(error: BaseException | None) -> bool:
    """Return whether an error is a time-out, or an assertion that compares nothing but times.

    A run that failed by nothing but limits of time is one, too.
    An assertion is read in its source: each of its comparisons is one of order (or approximate) and
    names a time, such as `took_s < 5` or `report["age_ms"] == approx(3, abs=1)`.
    """
    if isinstance(error, _TIME_OUTS) or _BROWSER_LIMIT.search(str(error)):
        return True
    if isinstance(error, (MlinkError, pytest.fail.Exception)):
        return _LIMIT_PASSED.search(str(error)) is not None
    if not isinstance(error, AssertionError) or error.__traceback__ is None:
        return False
    if reasons := _FAILURE.findall(str(error)):
        return all(_LIMIT_PASSED.search(reason) for reason in reasons)
    last = traceback.extract_tb(error.__traceback__)[-1]
    try:
        tree = ast.parse(Path(last.filename).read_text())
    except (OSError, SyntaxError):
        return False
    found = [
        node.test
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        and node.lineno <= (last.lineno or 0) <= (node.end_lineno or 0)
    ]
    return len(found) == 1 and _compares_times(found[0])


def _compares_times(test: ast.expr) -> bool:
    if isinstance(test, ast.Call) and ast.unparse(test.func) in ("all", "any"):
        inner = test.args[0]
        return isinstance(inner, ast.GeneratorExp) and _compares_times(inner.elt)
    if not isinstance(test, ast.Compare):
        return False
    sides = [test.left, *test.comparators]
    near = any("approx" in ast.unparse(side) for side in sides)
    ordered = all(isinstance(op, _ORDER) or (near and isinstance(op, ast.Eq)) for op in test.ops)
    return ordered and any(_OF_TIME.search(word) for side in sides for word in _words(side))


def _words(side: ast.expr) -> Iterator[str]:
    """Yield the names in an expression: variables, attributes, keys."""
    for node in ast.walk(side):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr or "")
    return next((line for line in text.splitlines() if line.strip()), "no message")[:300]
