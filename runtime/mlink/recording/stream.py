"""What every recorded stream has: its attributes, and times on the master timer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.storage.tree import UnitFolder


class RecordedStream:
    """A dataset, open for reading; times are µs of the master timer."""

    def __init__(self, unit: UnitFolder) -> None:
        self.name = unit.name
        self.path = unit.path
        self.attributes: dict[str, Any] = unit.attributes
        self._unit = unit

    @property
    def part_names(self) -> list[str]:
        """The names of its data files, in order."""
        return self._unit.part_names("data")

    @property
    def times_usec(self) -> NDArray[np.int64]:
        """The time of each item."""
        raise StorageError(f"'{self.name}' has no times of its own")

    @property
    def timestamp_source(self) -> str:
        """Where the times come from, as the source said; "" when it did not."""
        return str(self.attributes.get("timestamp_source", ""))

    @property
    def uncertainty_usec(self) -> float | None:
        """How sure the times are, in µs; None when the source did not say."""
        value = self.attributes.get("uncertainty_usec")
        return None if value is None else float(value)

    @property
    def lost(self) -> int:
        """Items that the recorder did not get."""
        return int(self.attributes.get("items_lost", 0))

    def window(self, start_usec: int, end_usec: int) -> slice:
        """Return the items of start ≤ time < end as a slice, for `times_usec` and arrays alike."""
        first, last = np.searchsorted(self.times_usec, [start_usec, end_usec])
        return slice(int(first), int(last))

    def nearest_index(self, time_usec: int) -> int:
        """Return the index of the item nearest in time; the earlier of two that are as near."""
        times = self.times_usec
        if not len(times):
            raise StorageError(f"'{self.name}' is empty: nothing is near any time")
        after = int(np.searchsorted(times, time_usec))
        if after == 0:
            return 0
        if after == len(times):
            return after - 1
        is_before = time_usec - int(times[after - 1]) <= int(times[after]) - time_usec
        return after - 1 if is_before else after

    def index_at(self, time_usec: int) -> int:
        """Return the index of the last item at or before a time; -1 when there is none."""
        return int(np.searchsorted(self.times_usec, time_usec, side="right")) - 1

    def close(self) -> None:
        """Close its files."""
