"""The master timer: µs since the run's start on CLOCK_MONOTONIC, the same in every process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What gives master time; tests put a manual clock in its place."""

    def now_usec(self) -> int:
        """Return µs since the run's start; 0 or negative before it."""
        ...

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a CLOCK_MONOTONIC reading in ns into master time in µs."""
        ...


@dataclass(slots=True)
class MasterClock:
    """Master timer with its zero at `t0_monotonic_ns` (None until the run has started)."""

    t0_monotonic_ns: int | None = None

    def now_usec(self) -> int:
        """Return µs since the run's start; 0 while the run has not started."""
        if self.t0_monotonic_ns is None:
            return 0
        return (time.monotonic_ns() - self.t0_monotonic_ns) // 1000

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a CLOCK_MONOTONIC reading in ns into master time in µs."""
        if self.t0_monotonic_ns is None:
            return 0
        return (monotonic_ns - self.t0_monotonic_ns) // 1000


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when told; for tests and for scripts run without a bench."""

    time_usec: int = 0

    def now_usec(self) -> int:
        """Return the time it was last set to, in µs."""
        return self.time_usec

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Treat a reading as being relative to this clock's zero."""
        return monotonic_ns // 1000

    def advance(self, by_usec: int) -> None:
        """Move forward by `by_usec` µs."""
        self.time_usec += by_usec
