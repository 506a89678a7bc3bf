"""Matches stimuli with their answers, both in cycles of a board's clock, and sums latencies up."""

from __future__ import annotations

from array import array
from collections import deque
from typing import NamedTuple

import numpy as np


class Latency(NamedTuple):
    """One answered stimulus: when it was, what it was, and how long the answer took in µs."""

    time_ns: int
    label: str
    usec: float


class _Stimulus(NamedTuple):
    cycle: int
    time_ns: int
    label: str


class EdgeMatcher:
    """The next answer after a stimulus is its own; a stimulus before another's is unanswered.

    Stimuli and answers are told in the order of their cycles.
    """

    def __init__(self, frequency_hz: int) -> None:
        self._frequency = frequency_hz
        self._pending: _Stimulus | None = None
        self._matched: deque[Latency] = deque()
        self._latencies = array("d")  # µs; 8 bytes each, over days
        self.seen = 0

    @property
    def answered(self) -> int:
        """Number of stimuli that were answered."""
        return len(self._latencies)

    @property
    def waiting(self) -> bool:
        """Whether the last stimulus is still unanswered."""
        return self._pending is not None

    def stimulus(self, cycle: int, time_ns: int, label: str) -> None:
        """Note a stimulus; one before it that has no answer stays unanswered."""
        self.seen += 1
        self._pending = _Stimulus(cycle, time_ns, label)

    def answer(self, cycle: int) -> None:
        """Note an answer; one without a stimulus before it, such as a line's set-up, is none."""
        pending = self._pending
        if pending is None:
            return
        self._pending = None
        usec = (cycle - pending.cycle) * 1e6 / self._frequency
        self._latencies.append(usec)
        self._matched.append(Latency(pending.time_ns, pending.label, usec))

    def take(self) -> list[Latency]:
        """Return the latencies that became known since the last call."""
        taken = list(self._matched)
        self._matched.clear()
        return taken

    def forget_last(self) -> None:
        """Do not count the last stimulus if it is still unanswered."""
        if self._pending is not None:
            self._pending = None
            self.seen -= 1

    def summary(self) -> dict[str, float]:
        """Return p50, p99 and maximum in µs; empty without an answer."""
        if not self._latencies:
            return {}
        p50, p99 = np.percentile(self._latencies, [50, 99])
        return {
            "latency_p50_usec": round(float(p50), 1),
            "latency_p99_usec": round(float(p99), 1),
            "latency_max_usec": round(max(self._latencies), 1),
        }
