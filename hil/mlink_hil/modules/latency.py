"""Matches stimuli with their answers, in cycles of one board's clock, and summarises latencies."""

from __future__ import annotations

from array import array
from collections import deque
from typing import NamedTuple

import numpy as np


class Latency(NamedTuple):
    """An answered stimulus.

    Args:
        time_ns: When the stimulus was, ns of CLOCK_MONOTONIC.
        label: The label of the stimulus, such as "press".
        usec: Time from the stimulus to its answer, µs.
    """

    time_ns: int
    label: str
    usec: float


class _Stimulus(NamedTuple):
    cycle: int
    time_ns: int
    label: str


class EdgeMatcher:
    """Matches each stimulus with the next answer; two stimuli in a row leave the first unanswered.

    Args:
        frequency_hz: Of the clock that counts the cycles.
    """

    def __init__(self, frequency_hz: int) -> None:
        self._frequency = frequency_hz
        self._pending: _Stimulus | None = None
        self._matched: deque[Latency] = deque()
        self._latencies = array("d")  # µs; 8 bytes each, over days
        self.seen = 0
        """Number of stimuli."""

    @property
    def answered(self) -> int:
        """Number of stimuli that were answered."""
        return len(self._latencies)

    @property
    def waiting(self) -> bool:
        """Whether the last stimulus is still unanswered."""
        return self._pending is not None

    def stimulus(self, cycle: int, time_ns: int, label: str) -> None:
        """Add a stimulus; an earlier one without an answer stays unanswered.

        Args:
            cycle: When it was, in cycles of the board.
            time_ns: The same moment, ns of CLOCK_MONOTONIC.
            label: Goes into its `Latency`, such as "press".
        """
        self.seen += 1
        self._pending = _Stimulus(cycle, time_ns, label)

    def answer(self, cycle: int) -> None:
        """Add an answer; ignored without a stimulus, as when a script sets its line up.

        One that is older than the stimulus is no answer to it, and ignored, too.

        Args:
            cycle: When it was, in cycles of the board.
        """
        pending = self._pending
        if pending is None or cycle < pending.cycle:
            return
        self._pending = None
        usec = (cycle - pending.cycle) * 1e6 / self._frequency
        self._latencies.append(usec)
        self._matched.append(Latency(pending.time_ns, pending.label, usec))

    def take(self) -> list[Latency]:
        """Return the latencies measured since the last call.

        They stay in the figures of `summary`.
        """
        taken = list(self._matched)
        self._matched.clear()
        return taken

    def forget_last(self) -> None:
        """Remove the last stimulus from the count if it is still unanswered.

        For the end of a run, where its answer could not come any more.
        """
        if self._pending is not None:
            self._pending = None
            self.seen -= 1

    def summary(self) -> dict[str, float]:
        """Return p50, p99 and maximum in µs by name; empty without an answer.

        The keys are `latency_p50_usec`, `latency_p99_usec` and `latency_max_usec`.
        """
        if not self._latencies:
            return {}
        p50, p99 = np.percentile(self._latencies, [50, 99])
        return {
            "latency_p50_usec": round(float(p50), 1),
            "latency_p99_usec": round(float(p99), 1),
            "latency_max_usec": round(max(self._latencies), 1),
        }
