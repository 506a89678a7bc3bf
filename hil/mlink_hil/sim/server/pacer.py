"""Maps a simulation's cycles to CLOCK_MONOTONIC and back, and counts how late it runs.

The simulation never runs ahead of real time; it is advanced to the present in slices on an absolute
schedule. When it is late it catches up by running faster. A delay beyond a limit is skipped: the
mapping moves by the excess, which is counted as slip.
"""

from __future__ import annotations

_NS_PER_SEC = 1_000_000_000
CATCH_UP_USEC = 20_000
"""µs that a simulation may be late before it skips time."""


class Pacer:
    """The mapping between cycles and CLOCK_MONOTONIC, with counters of late slices and slip.

    Args:
        frequency_hz: Of the clock whose cycles are mapped.
        slice_usec: Simulated time between two wake-ups, µs.
        catch_up_usec: Longest delay that the simulation makes up for, µs.
    """

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
        """Start the mapping anew; slip and counters stay.

        Args:
            cycle: How far the simulation has run.
            now_ns: The present, ns of CLOCK_MONOTONIC.
        """
        self._cycle0 = cycle
        self._time0_ns = now_ns

    def time_ns(self, cycle: int) -> int:
        """Return the time of a cycle, ns of CLOCK_MONOTONIC.

        Skipped time (`slip_ns`) moves the times of all later cycles.
        """
        return self._time0_ns + (cycle - self._cycle0) * _NS_PER_SEC // self._frequency

    def cycle_at(self, time_ns: int) -> int:
        """Return the cycle at a time, ns of CLOCK_MONOTONIC.

        Rounded down: the cycle that has begun by then.
        """
        return self._cycle0 + (time_ns - self._time0_ns) * self._frequency // _NS_PER_SEC

    def due_ns(self, cycle: int, event: int | None) -> int:
        """Return when to wake up next, ns of CLOCK_MONOTONIC.

        Args:
            cycle: How far the simulation has run.
            event: Cycle of the next event; the next slice begins then if that is earlier.
        """
        due = cycle + self._slice
        if event is not None and event < due:
            due = max(event, cycle + 1)
        return self.time_ns(due) + 1  # +1: so that cycle_at() does not return the cycle before

    def target(self, cycle: int, due_ns: int, now_ns: int) -> int:
        """Return the cycle to run to now; count a late slice, and skip time beyond the limit.

        Args:
            cycle: How far the simulation has run.
            due_ns: What `due_ns()` returned for it.
            now_ns: The present, ns of CLOCK_MONOTONIC.
        """
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
        """The share of slices that began more than a slice late, in percent.

        0 before the first slice.
        """
        return 100.0 * self.late_slices / self.slices if self.slices else 0.0
