"""A sequence of whole numbers that mostly grows by the same step, kept as its regular runs.

Frame numbers, or the rows at which blocks begin, take a few bytes in a dataset's attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_RUNS = 10_000
"""A sequence more broken than this is not kept to its end."""


class Runs:
    """Takes numbers one by one; each run is [position of its first number, that number, step]."""

    def __init__(self) -> None:
        self.count = 0
        self._runs: list[list[int]] = []
        self._full = False

    def add(self, value: int) -> None:
        """Add the next number."""
        position, self.count = self.count, self.count + 1
        if self._full:
            return
        if self._runs:
            first, start, step = self._runs[-1]
            if position == first + 1:
                self._runs[-1][2] = value - start
                return
            if value == start + (position - first) * step:
                return
        if len(self._runs) == MAX_RUNS:
            self._full = True
            self._runs.append([position, 0, 0])  # says where the known part ends
            return
        self._runs.append([position, value, 0])

    def attribute(self) -> list[list[int]] | None:
        """Return the runs as an attribute; None for 0, 1, 2, … and when there is nothing."""
        if self._runs == [[0, 0, 1]] or (self.count == 1 and self._runs == [[0, 0, 0]]):
            return None
        return [list(run) for run in self._runs] or None


def expand(runs: Sequence[Sequence[int]] | None, count: int) -> NDArray[np.int64] | None:
    """Return the `count` numbers that `Runs` was given; None when it did not keep them all."""
    values = np.arange(count, dtype=np.int64)
    if not runs:
        return values
    if len(runs) > MAX_RUNS:
        return None
    ends = [run[0] for run in runs[1:]] + [count]
    for (first, start, step), end in zip(runs, ends, strict=True):
        values[first:end] = start + step * (values[first:end] - first)
    return values
