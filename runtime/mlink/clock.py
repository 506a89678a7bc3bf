"""The master timer: µs since the start of the run on CLOCK_MONOTONIC.

The engine takes the start time once and sends it to all workers, so all processes agree.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """A source of master time; tests and replays use other ones than `MasterClock`."""

    def now_usec(self) -> int:
        """Return the µs since the start of the run; 0 or negative before it."""

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a CLOCK_MONOTONIC reading in ns into master time in µs."""


@dataclass(slots=True)
class MasterClock:
    """The master timer of a run.

    Attributes:
        t0_monotonic_ns: CLOCK_MONOTONIC in ns at the start of the run; None before it.
    """

    t0_monotonic_ns: int | None = None

    def now_usec(self) -> int:
        """Return the µs since the start of the run; 0 before it."""
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
    """A clock that moves only when `advance` is called or `time_usec` set; for tests."""

    time_usec: int = 0

    def now_usec(self) -> int:
        """Return the time to which it was set, in µs."""
        return self.time_usec

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a reading in ns that is relative to this clock's zero into µs."""
        return monotonic_ns // 1000

    def advance(self, by_usec: int) -> None:
        """Move forward by `by_usec` µs."""
        self.time_usec += by_usec


@dataclass(slots=True)
class VirtualClock:
    """The master timer of a run in virtual time.

    Attributes:
        time: Virtual time, which the conductor moves.
        zero_usec: Virtual time at the start of the run; None before it.
    """

    time: ManualClock
    zero_usec: int | None = None

    def now_usec(self) -> int:
        """Return the µs since the start of the run; 0 before it."""
        return 0 if self.zero_usec is None else self.time.time_usec - self.zero_usec

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert virtual time in ns into master time in µs."""
        return 0 if self.zero_usec is None else monotonic_ns // 1000 - self.zero_usec
