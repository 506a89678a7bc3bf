"""Bounds of a clock's offset and rate that hold whatever holds messages back, and for how long.

A query cannot arrive before it was sent, nor an answer before it left. So each exchange bounds the
offset from both sides, each side by one way alone: a short query and a short answer of different
exchanges bound it more closely than either exchange. A USB adapter that holds back the answers only
moves an average, and not these bounds. Offsets are device less host, µs; rates in µs/s (ppm).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mlink.sync.kalman import OffsetRateFilter

_MOST_PPM: Final = 6000.0
"""Ceramic resonators are up to 0.5 % off."""
_WANDER_PPM: Final = 0.05
"""Change of a rate per second that is allowed for: twice that of a quartz that warms up."""
_ANCHOR_S: Final = 2.0
_ANCHORS: Final = 32
_LEAST_BASE_S: Final = 0.05


class OffsetBounds:
    """Narrows with each exchange, and widens between two by what is not known of the rate."""

    def __init__(self) -> None:
        self._anchors: deque[tuple[float, float, float]] = deque(maxlen=_ANCHORS)
        """Earlier bounds: time in s, lowest and highest offset."""
        self._begin()

    def _begin(self) -> None:
        self.low, self.high = float("-inf"), float("inf")
        self._rate_low, self._rate_high = -_MOST_PPM, _MOST_PPM
        self._anchors.clear()

    def predict(self, dt: float) -> None:
        """Advance by `dt` seconds without an exchange."""
        self._rate_low -= _WANDER_PPM * dt
        self._rate_high += _WANDER_PPM * dt
        self.low += self._rate_low * dt
        self.high += self._rate_high * dt

    def narrow(self, time_s: float, offset: float, half: float) -> None:
        """Learn from an exchange.

        Args:
            time_s: When it was; increases.
            offset: Its offset if both ways took equally long.
            half: Half of its duration, the largest error of that.
        """
        low, high = offset - half, offset + half
        if low > self.high or high < self.low:
            self._begin()  # the clock was set
        self.low, self.high = max(self.low, low), min(self.high, high)
        for then_s, then_low, then_high in self._anchors:
            base_s = time_s - then_s
            if base_s >= _LEAST_BASE_S:
                wander = _WANDER_PPM * base_s
                fastest = (self.high - then_low) / base_s + wander
                slowest = (self.low - then_high) / base_s - wander
                self._rate_high = min(self._rate_high, fastest)
                self._rate_low = max(self._rate_low, slowest)
        if self._rate_low > self._rate_high:
            self._rate_low, self._rate_high = -_MOST_PPM, _MOST_PPM
        self._keep(time_s)

    def _keep(self, time_s: float) -> None:
        """Keep the closest bounds of each `_ANCHOR_S` as a base for rates."""
        present = (time_s, self.low, self.high)
        if not self._anchors or time_s - self._anchors[-1][0] >= _ANCHOR_S:
            self._anchors.append(present)
        elif self.high - self.low < self._anchors[-1][2] - self._anchors[-1][1]:
            self._anchors[-1] = present

    def confine(self, state: OffsetRateFilter) -> None:
        """Move an estimate into the bounds."""
        state.offset = min(max(state.offset, self.low), self.high)
        state.rate = min(max(state.rate, self._rate_low), self._rate_high)

    def error_of(self, state: OffsetRateFilter, ahead_s: float) -> float:
        """Return the largest error of an estimate's offset, in µs.

        Args:
            state: An estimate within the bounds.
            ahead_s: Time since the last exchange for which it has to hold, in s.
        """
        rate = max(self._rate_high - state.rate, state.rate - self._rate_low)
        return max(self.high - state.offset, state.offset - self.low) + rate * ahead_s
