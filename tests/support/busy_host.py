"""Skip real-time tests, with the reason, that failed because other programs kept the CPUs busy.

A test marked `real_time` or `rig` watches processes that have to keep pace with the wall clock. On
a computer that gives them a fraction of a processor its failure proves nothing about the code. The
kernel counts the time in which at least one task was ready but had to wait for a processor
(pressure stall information, `some` in /proc/pressure/cpu). All other tests fail as usual, however
busy the computer is.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import pytest

BUSY_SHARE = 0.75
"""Share of a test's time in which tasks waited for a processor: above it, the computer was busy."""
WINDOW_SEC = 20.0
"""A short test is judged by this much time before its end: what it looks at began earlier."""
_MISTAKES = (NameError, TypeError, AttributeError, ImportError, SyntaxError)
"""Mistakes in code, which no busy computer explains."""
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
        """Turn the failure of a real-time test on a busy computer into a skip with the reason.

        Args:
            report: The test's report, changed in place.
            item: The test.
            error: What the test raised.
        """
        if not report.failed or not is_real_time(item) or isinstance(error, _MISTAKES):
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


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr or "")
    return next((line for line in text.splitlines() if line.strip()), "no message")[:300]
