"""Whether the computer that simulates a bench is to blame for what a test found.

A late event, or a duration beyond its limit, is inconclusive where the host's delays explain it.
Every method returns the explanation, to be added to the failure's message, or "" where the result
counts. On a real bench all of them return "": what is late there is late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.handles.measurements import Measurement
from mlink_hil.testing.host.real_time import RealTime
from mlink_hil.testing.host.starvation import Snapshot
from mlink_hil.testing.observed.events import Event, Window
from mlink_hil.testing.patterns import Bound
from mlink_hil.testing.watching import Enough, watch

_SHORTEST_WAIT_USEC = 500
"""A shorter wait for a processor explains nothing."""
_LONGEST_WAIT_USEC = 5_000_000
"""After a longer wait for a processor nothing can be decided any more."""
_BUSY_SHARE = 0.25
"""Share of a test's time, spent waiting for a processor, from which on its host was busy; on an
idle host it is 0.05."""
_LEAST_BUSY_USEC = 5_000
"""Shorter waits, all together, do not spoil a measurement."""

_USEC = {"µs": 1, "us": 1, "ms": 1000, "s": 1_000_000}
DURATION_UNITS = frozenset(_USEC)
"""Units of durations: on a slow host they are longer."""
_TIMED_UNITS = DURATION_UNITS | {"Hz"}
"""Units of measurements that a busy host falsifies."""


class HostExcuses:
    """The host's delays during one test, from the creation of this object on.

    Args:
        run: The run that the test uses.
    """

    def __init__(self, run: BenchRun) -> None:
        self._run = run
        self._began_usec = run.now_usec()
        self._real_time = RealTime(run.boards)
        self._before = run.processor_times()

    def of_lateness(self, bound: Bound, window: Window, explained: Enough) -> str:
        """Explain why events are missing in a window.

        Waits for them for as much longer as the loop's processes had to wait for a processor.

        Args:
            bound: The pattern of the missing events.
            window: The window since the last stimulus, which is over.
            explained: Returns whether events in a longer window are enough.
        """
        if window.origin.exact and self._run.is_exact(bound.channel):
            slip_usec = round(self._real_time.slip_usec())
            longer = Window(window.origin, window.low_usec, window.high_usec + slip_usec)
            if slip_usec and explained(watch(self._run, bound, longer, explained)):
                return self._real_time.lapse()
            return ""
        counted_usec = -1
        while True:
            waits = self._waits()
            starved_usec = sum(waits.values())
            if starved_usec < max(_SHORTEST_WAIT_USEC, counted_usec + _SHORTEST_WAIT_USEC):
                # not late by the wait; but a starved camera may have missed it
                unseen_usec = self._unseen_usec(bound, window)
                if 0 < unseen_usec <= 2 * starved_usec:
                    return _busy(waits)
                return self._real_time.lapse()
            if starved_usec > _LONGEST_WAIT_USEC:
                return _busy(waits)  # the wait grows faster than time passes: give up
            counted_usec = starved_usec
            longer = Window(window.origin, window.low_usec, window.high_usec + starved_usec)
            if explained(watch(self._run, bound, longer, explained)):
                return _busy(waits)

    def of_gaps(self, since: Snapshot, least_usec: float) -> str:
        """Explain gaps in a rate.

        Args:
            since: Where the count begins.
            least_usec: Sum of the waits of the loop's processes, in µs, that explains them.
        """
        waits = self._waits(since)
        return _busy(waits) if sum(waits.values()) >= least_usec else ""

    def of_measurement(self, measured: Measurement, *, exact: bool) -> str:
        """Explain why a measurement of this test is outside its limits.

        Waits explain times and rates only, and only if they are a quarter of the test's time; what
        is missing or too much of a duration must not be more. A slow simulation explains
        everything, of exact durations as much as it gave up.

        Args:
            measured: The measurement.
            exact: Whether it is a duration that a busy host cannot have changed.
        """
        excess_usec = measured.excess * _USEC.get(measured.unit, 0)
        if lapse := self._real_time.lapse(excess_usec if exact else 0):
            return lapse
        if measured.unit not in _TIMED_UNITS or exact:
            return ""
        test_usec = self._run.now_usec() - self._began_usec
        least_usec = max(_LEAST_BUSY_USEC, _BUSY_SHARE * test_usec, excess_usec)
        return self.of_gaps(self._before, least_usec)

    def with_wait(self, answer: Event, origin: Event) -> Event:
        """Return an answer to the last stimulus, with the time that the loop waited in between.

        Args:
            answer: The answer.
            origin: The stimulus.
        """
        if answer.exact and origin.exact:
            return answer
        waited_usec = sum(self._run.starved_usec().values())
        lowest_usec = max(0, answer.since(origin).lowest_usec)
        return replace(answer, waited_usec=min(waited_usec, lowest_usec))

    def _waits(self, since: Snapshot | None = None) -> dict[str, int]:
        """Return how long the loop's processes waited, in µs; the kernel counts finished waits."""
        self._run.let_run()
        return self._run.starved_usec(since)

    def _unseen_usec(self, bound: Bound, window: Window) -> int:
        """Return the longest gap between a camera's frames in a window, in µs, beyond its period.

        What came and went in it was not seen. 0 where no frame is missing, and for other channels.
        """
        events = self._run.history.of(bound.channel, window.start_usec, window.end_usec)
        gaps = [event.early_usec for event in events if event.early_usec]
        if bound.channel.partition("[")[0] not in self._run.names.frame_streams() or not gaps:
            return 0
        period_usec = min(gaps)
        return max(gaps) - period_usec if max(gaps) > 1.5 * period_usec else 0


def _busy(waits: Mapping[str, int]) -> str:
    counted = ", ".join(f"{name} {usec} µs" for name, usec in waits.items() if usec > 0)
    return f"\nbut this machine was busy; processes waited for a processor: {counted}"
