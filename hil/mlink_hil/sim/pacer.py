"""Keeps simulated time on CLOCK_MONOTONIC: which cycle is now, and when a cycle was.

The simulation never runs ahead: it is brought up to the present, slice by slice on an absolute
schedule. A delay is made up for by running faster, up to a bound; what is beyond it is given up
and counted as slip, and the mapping moves by that much.
"""

from __future__ import annotations

_NS_PER_SEC = 1_000_000_000
CATCH_UP_USEC = 20_000
"""A simulation farther behind than this slips."""


class Pacer:
    """The mapping between a board's cycles and CLOCK_MONOTONIC, and how well it is kept."""

    def __init__(
        self, frequency_hz: int, slice_usec: float, *, catch_up_usec: float = CATCH_UP_USEC
    ) -> None:
        self._frequency = frequency_hz
        self._slice = max(1, round(slice_usec * frequency_hz / 1e6))
        self._slice_ns = round(slice_usec * 1000)
        self._catch_up_ns = round(catch_up_usec * 1000)
        self._cycle0 = 0
        self._time0_ns = 0
        self.slices = 0
        self.late_slices = 0
        self.slip_ns = 0

    def start(self, cycle: int, now_ns: int) -> None:
        """Let `cycle` be `now_ns`."""
        self._cycle0 = cycle
        self._time0_ns = now_ns

    def time_ns(self, cycle: int) -> int:
        """Return when a cycle is or was, in ns of CLOCK_MONOTONIC."""
        return self._time0_ns + (cycle - self._cycle0) * _NS_PER_SEC // self._frequency

    def cycle_at(self, time_ns: int) -> int:
        """Return the cycle that a time in ns of CLOCK_MONOTONIC corresponds to."""
        return self._cycle0 + (time_ns - self._time0_ns) * self._frequency // _NS_PER_SEC

    def due_ns(self, cycle: int, event: int | None) -> int:
        """Return when the next slice is due: at the board's next event, if that comes first."""
        due = cycle + self._slice
        if event is not None and event < due:
            due = max(event, cycle + 1)
        return self.time_ns(due) + 1  # +1: so that cycle_at() of it is not the one before

    def target(self, cycle: int, due_ns: int, now_ns: int) -> int:
        """Return the cycle to run to at `now_ns`; counts delay, and slips beyond the bound."""
        if now_ns >= due_ns:
            self.slices += 1
            if now_ns - due_ns > self._slice_ns:
                self.late_slices += 1
        behind_ns = now_ns - self.time_ns(cycle)
        if behind_ns > self._catch_up_ns:
            slip_ns = behind_ns - self._catch_up_ns
            self._time0_ns += slip_ns
            self.slip_ns += slip_ns
        return max(cycle, self.cycle_at(now_ns))

    @property
    def late_percent(self) -> float:
        """The share of late slices."""
        return 100.0 * self.late_slices / self.slices if self.slices else 0.0
