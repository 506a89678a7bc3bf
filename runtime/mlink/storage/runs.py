"""Run-length encoding of integers that mostly increase by a constant step.

Frame numbers, or the rows at which blocks begin, then need a few bytes in a dataset's attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError

MAX_RUNS = 10_000
"""A sequence with more runs is kept up to this many only."""
_LARGEST = 1 << 62


class Runs:
    """Encodes numbers one by one; a run is [position of its first number, that number, step]."""

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
            self._runs.append([position, 0, 0])  # marks where the known part ends
            return
        self._runs.append([position, value, 0])

    def attribute(self) -> list[list[int]] | None:
        """Return the runs as an attribute's value; None for 0, 1, 2, … and for no numbers."""
        if self._runs == [[0, 0, 1]] or (self.count == 1 and self._runs == [[0, 0, 0]]):
            return None
        return [list(run) for run in self._runs] or None


def expand(runs: Sequence[Sequence[int]] | None, count: int) -> NDArray[np.int64] | None:
    """Return the numbers that a `Runs` encoded.

    Args:
        runs: Value of its attribute; None or empty for 0, 1, 2, …
        count: How many numbers there were.

    Returns:
        The numbers, of shape (count,); None if there were more runs than are kept.

    Raises:
        StorageError: No `Runs` has encoded them.
    """
    values = np.arange(count, dtype=np.int64)
    if not runs:
        return values
    if len(runs) > MAX_RUNS:
        return None
    firsts = [run[0] for run in runs]
    ends = [*firsts[1:], max(count, firsts[-1] + 1)]
    for (first, start, step), end in zip(runs, ends, strict=True):
        last = start + step * (end - 1 - first)
        if firsts[0] != 0 or end <= first or max(map(abs, (start, step, last))) > _LARGEST:
            raise StorageError("numbers are kept in a way that no recorder writes")
        values[first:end] = start + step * (values[first:end] - first)
    return values
