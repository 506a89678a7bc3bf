"""What the lines of a virtual board did, as a scene needs it to draw a picture of some moment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_hil.control.messages import Edge
from mlink_hil.control.watcher import BoardLink

_KEPT_EDGES = 65_536

_Change = tuple[int, bool]
"""(ns of CLOCK_MONOTONIC, level from then on)"""


class BoardLines:
    """Follows some pins of one board. Times are ns of CLOCK_MONOTONIC."""

    def __init__(self, control: str, pins: Iterable[int]) -> None:
        self._lock = threading.Lock()
        self._changes: dict[int, deque[_Change]] = {
            pin: deque(maxlen=_KEPT_EDGES) for pin in sorted(set(pins))
        }
        self._link: BoardLink | None = BoardLink(control, self._on_edge, pins=[*self._changes])
        for pin, changes in self._changes.items():
            state = self._link.read(pin)
            with self._lock:
                changes.append((state.time_ns, state.level))

    def catch_up(self, time_ns: int) -> None:
        """Wait until the board has simulated up to a moment, and its edges are here."""
        if self._link is None:
            return
        try:
            while self._link.barrier() < time_ns:
                pass  # an answer takes a slice of the simulation
        except DeviceError:  # it is gone, and what it drove with it
            for pin in self._changes:
                self._on_edge(Edge(pin, False, 0, time_ns))
            self.close()

    def share_high(self, pin: int, ends_ns: NDArray[np.int64], exposure_ns: int) -> NDArray[Any]:
        """Return for which share of each exposure the pin was high; an end each, 0 to 1."""
        with self._lock:
            changes = list(self._changes[pin])
        zero = int(ends_ns[0]) - exposure_ns  # small numbers: float64 holds them exactly
        times = np.array([time_ns - zero for time_ns, _ in changes], np.float64)
        levels = np.array([level for _, level in changes], np.float64)
        high = np.concatenate(([0.0], np.cumsum(np.diff(times) * levels[:-1])))

        def high_until(moments: NDArray[np.float64]) -> NDArray[np.float64]:
            """Return how long the pin was high from the first change to each moment."""
            at = np.maximum(np.searchsorted(times, moments, "right") - 1, 0)
            # before the first that is known, it is taken to have been the same
            return np.asarray(high[at] + (moments - times[at]) * levels[at])

        ends = (ends_ns - zero).astype(np.float64)
        return (high_until(ends) - high_until(ends - exposure_ns)) / exposure_ns

    def changes(self, pin: int, after_ns: int, until_ns: int) -> list[_Change]:
        """Return the changes of a pin within a time."""
        with self._lock:
            return [each for each in self._changes[pin] if after_ns < each[0] <= until_ns]

    def forget(self, before_ns: int) -> None:
        """Drop the changes before a moment, but for the last: it says the level then."""
        with self._lock:
            for changes in self._changes.values():
                while len(changes) > 1 and changes[1][0] <= before_ns:
                    changes.popleft()

    def close(self) -> None:
        """Let go of the board."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _on_edge(self, edge: Edge) -> None:
        with self._lock:
            self._changes[edge.pin].append((edge.time_ns, edge.level))
