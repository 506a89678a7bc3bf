"""The last N clock offsets with their mean, deviation and median; integers, so nothing drifts."""

from __future__ import annotations

import math


class OffsetRing:
    """Holds the last `capacity` offsets in µs; sums are kept up to date, the median is sorted out.

    Values are held relative to the first one: an offset to the Unix epoch has 51 bits, and its
    square would slow each sample down. Sums are exact integers, so they are right after years too.
    """

    __slots__ = ("_base", "_next", "_squares", "_sum", "_values", "capacity")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring needs room for a value, not for {capacity}")
        self.capacity = capacity
        self._values: list[int] = []
        self._next = 0
        self._base = 0
        self._sum = 0
        self._squares = 0

    def __len__(self) -> int:
        return len(self._values)

    def push(self, offset_usec: int) -> None:
        """Add an offset in µs; the oldest leaves when the ring is full."""
        values = self._values
        if len(values) == self.capacity:
            value = offset_usec - self._base
            position = self._next
            old = values[position]
            values[position] = value
            self._sum += value - old
            self._squares += value * value - old * old
            self._next = position + 1 if position + 1 < self.capacity else 0
            return
        if not values:
            self._base = offset_usec
        value = offset_usec - self._base
        values.append(value)
        self._sum += value
        self._squares += value * value

    @property
    def mean(self) -> float:
        """Mean offset in µs; 0 for an empty ring."""
        return self.mean_less(0) if self._values else 0.0

    def mean_less(self, reference_usec: int) -> float:
        """Return (mean − reference) in µs; sharper than `mean` where offsets are huge."""
        count = len(self._values)
        # one division of whole numbers, rounded once: terms of both signs may cancel
        return ((self._base - reference_usec) * count + self._sum) / count

    @property
    def variance(self) -> float:
        """Mean squared deviation from the mean (that of the whole population), in µs²."""
        count = len(self._values)
        return (count * self._squares - self._sum**2) / count**2 if count else 0.0

    @property
    def std(self) -> float:
        """Standard deviation in µs."""
        return math.sqrt(self.variance)

    @property
    def median(self) -> float:
        """Median offset in µs, between the middle two where their number is even."""
        return self._twice_median() / 2

    def rounded_median(self) -> int:
        """Median in whole µs; halves go away from zero."""
        twice = self._twice_median()
        return (twice + 1) // 2 if twice >= 0 else -((1 - twice) // 2)

    def is_fluke(self, offset_usec: int, least_usec: float, variances: float) -> bool:
        """Tell whether |mean − offset| > `least_usec` and (mean − offset)² > `variances`·variance.

        Both sides are multiplied by the count (squared), which keeps the comparison in integers.
        """
        count = len(self._values)
        distance = self._sum - count * (offset_usec - self._base)
        return abs(distance) > count * least_usec and distance * distance > variances * (
            count * self._squares - self._sum * self._sum
        )

    def _twice_median(self) -> int:
        if not self._values:
            raise ValueError("an empty ring has no median")
        ordered = sorted(self._values)
        middle = len(ordered) // 2
        return 2 * self._base + ordered[middle] + ordered[~middle]
