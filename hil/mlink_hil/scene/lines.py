"""The levels of a simulated board's lines over time, for a scene that draws a past moment.

The board runs in another process; its edges arrive by its control socket with their times.
"""

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
    """Records the level changes of some pins of one board. Times are ns of CLOCK_MONOTONIC.

    Args:
        control: The board's control socket.
        pins: Numbers of the pins, 0 to 19.

    Raises:
        DeviceError: No simulated board listens at the socket.
    """

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
        """Wait until the board has simulated up to a time and its edges have arrived.

        A board that is gone counts as low on all pins.
        """
        if self._link is None:
            return
        try:
            while self._link.barrier() < time_ns:
                pass  # the board answers each time after a slice of the simulation
        except DeviceError:  # it is gone: it drives its pins no more
            for pin in self._changes:
                self._on_edge(Edge(pin, False, 0, time_ns))
            self.close()

    def share_high(self, pin: int, ends_ns: NDArray[np.int64], exposure_ns: int) -> NDArray[Any]:
        """Return the share of each exposure for which a pin was high, 0 to 1.

        Args:
            pin: Its number.
            ends_ns: When each exposure ended, one value per row.
            exposure_ns: How long each exposure lasted.
        """
        with self._lock:
            changes = list(self._changes[pin])
        zero = int(ends_ns[0]) - exposure_ns  # float64 holds differences of times exactly
        times = np.array([time_ns - zero for time_ns, _ in changes], np.float64)
        levels = np.array([level for _, level in changes], np.float64)
        high = np.concatenate(([0.0], np.cumsum(np.diff(times) * levels[:-1])))

        def high_until(moments: NDArray[np.float64]) -> NDArray[np.float64]:
            """Return how long the pin was high from the first change to each moment."""
            at = np.maximum(np.searchsorted(times, moments, "right") - 1, 0)
            # before the first known change the level is taken to be the same
            return np.asarray(high[at] + (moments - times[at]) * levels[at])

        ends = (ends_ns - zero).astype(np.float64)
        return (high_until(ends) - high_until(ends - exposure_ns)) / exposure_ns

    def changes(self, pin: int, after_ns: int, until_ns: int) -> list[_Change]:
        """Return the changes of a pin within a time span, as (time, new level).

        Args:
            pin: Its number.
            after_ns: Changes at this time are left out.
            until_ns: Changes at this time are included.
        """
        with self._lock:
            return [each for each in self._changes[pin] if after_ns < each[0] <= until_ns]

    def forget(self, before_ns: int) -> None:
        """Drop the changes before a time, except the last one: it is the level at that time."""
        with self._lock:
            for changes in self._changes.values():
                while len(changes) > 1 and changes[1][0] <= before_ns:
                    changes.popleft()

    def close(self) -> None:
        """Disconnect from the board."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _on_edge(self, edge: Edge) -> None:
        with self._lock:
            self._changes[edge.pin].append((edge.time_ns, edge.level))
