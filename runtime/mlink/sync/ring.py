"""Statistics of the last N clock offsets, for calibration and for recognising outliers.

Sums are kept in integers, so that rounding errors cannot add up over hours.
"""

from __future__ import annotations

import math


class OffsetRing:
    """The last `capacity` offsets, with their mean, variance and median.

    Mean and variance come from running sums, in constant time; the median sorts the values.
    Values are held relative to the first one: an offset to the Unix epoch has 51 bits, and its
    square would no longer fit a machine word, which slows each sample down.

    Args:
        capacity: Number of offsets, at least 1.

    Raises:
        ValueError: The capacity is below 1.
    """

    __slots__ = ("_base", "_next", "_squares", "_sum", "_values", "capacity")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"the capacity of a ring must be at least 1, not {capacity}")
        self.capacity = capacity
        self._values: list[int] = []
        self._next = 0
        self._base = 0
        self._sum = 0
        self._squares = 0

    def __len__(self) -> int:
        return len(self._values)

    def push(self, offset_usec: int) -> None:
        """Add an offset in µs; a full ring drops its oldest."""
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
        """Return (mean − reference) in µs, without the rounding error of `mean`.

        A float has 53 bits: next to an offset of 10¹⁵ µs the fraction of a mean is lost.
        """
        count = len(self._values)
        # A single division of integers is rounded once; terms of both signs may cancel.
        return ((self._base - reference_usec) * count + self._sum) / count

    @property
    def variance(self) -> float:
        """Population variance in µs²; 0 for an empty ring."""
        count = len(self._values)
        return (count * self._squares - self._sum**2) / count**2 if count else 0.0

    @property
    def std(self) -> float:
        """Population standard deviation in µs; 0 for an empty ring."""
        return math.sqrt(self.variance)

    @property
    def median(self) -> float:
        """Median offset in µs: for an even number of offsets, the mean of the middle two.

        Raises:
            ValueError: The ring is empty.
        """
        return self._twice_median() / 2

    def rounded_median(self) -> int:
        """Return the median in whole µs; halves are rounded away from zero.

        Raises:
            ValueError: The ring is empty.
        """
        twice = self._twice_median()
        return (twice + 1) // 2 if twice >= 0 else -((1 - twice) // 2)

    def is_fluke(self, offset_usec: int, least_usec: float, variances: float) -> bool:
        """Return whether an offset is too far from the mean to be a true measurement.

        True if |mean − offset| > `least_usec` and (mean − offset)² > `variances` · variance. Both
        sides are multiplied by the count (squared), which keeps the comparison in integers.

        Args:
            offset_usec: The offset to judge, in µs; it need not be in the ring.
            least_usec: Smaller distances from the mean never count, in µs.
            variances: Squared distance allowed, in variances of the ring.
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
