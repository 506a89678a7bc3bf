"""Base of all recorded streams: attributes, and times on the master timer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.recording.libraries import library
from mlink.storage.inside import RecordingFile
from mlink.storage.tree import UnitFolder

Columns = dict[str, NDArray[Any]]
"""Columns of equal length by title."""


class RecordedStream:
    """A dataset, open for reading; times are µs of the master timer.

    `name` is its path below the recording, `attributes` is the content of its attributes.toml.
    """

    def __init__(self, unit: UnitFolder) -> None:
        self.name = unit.name
        self.path = unit.path
        self.attributes: dict[str, Any] = unit.attributes
        self._unit = unit

    @property
    def part_names(self) -> list[str]:
        """The names of its data files, in order."""
        return self._unit.part_names("data")

    def file(self, name: str) -> RecordingFile:
        """Return one of its files, by its name."""
        return self._unit.file(name)

    @property
    def times_usec(self) -> NDArray[np.int64]:
        """The time of each item, in µs.

        Raises:
            StorageError: The stream has no times.
        """
        raise StorageError(f"'{self.name}' has no times of its own")

    @property
    def timestamp_source(self) -> str:
        """Origin of the times according to the source; "" when it is unknown."""
        return str(self.attributes.get("timestamp_source", ""))

    @property
    def uncertainty_usec(self) -> float | None:
        """Uncertainty of the times in µs; None when it is unknown."""
        value = self.attributes.get("uncertainty_usec")
        return None if value is None else float(value)

    @property
    def lost(self) -> int:
        """Items that were lost on the way to the recorder."""
        return int(self.attributes.get("items_lost", 0))

    def window(self, start_usec: int, end_usec: int) -> slice:
        """Return the items of start ≤ time < end as a slice into `times_usec` and other arrays.

        Times of a board's edges may go back by their uncertainty: at the ends of the slice an item
        that is so close to `start_usec` or `end_usec` may be on either side.

        Args:
            start_usec: First time, in µs.
            end_usec: Time after the last one, in µs.
        """
        first, last = np.searchsorted(self.times_usec, [start_usec, end_usec])
        return slice(int(first), int(last))

    def nearest_index(self, time_usec: int) -> int:
        """Return the index of the item nearest in time; of two equally near ones the earlier.

        Raises:
            StorageError: The stream is empty.
        """
        times = self.times_usec
        if not len(times):
            raise StorageError(f"'{self.name}' is empty: it has no nearest item")
        after = int(np.searchsorted(times, time_usec))
        if after == 0:
            return 0
        if after == len(times):
            return after - 1
        is_before = time_usec - int(times[after - 1]) <= int(times[after]) - time_usec
        return after - 1 if is_before else after

    def index_at(self, time_usec: int) -> int:
        """Return the index of the last item at or before a time; -1 when there is none.

        Args:
            time_usec: Master time in µs.
        """
        return int(np.searchsorted(self.times_usec, time_usec, side="right")) - 1

    def columns(self) -> Columns:
        """Return its data as columns by title; `time_usec` is µs of the master timer.

        A video has the numbers and times of its frames. Empty for what is neither video, table,
        signals nor pairs of a clock synchroniser.
        """
        return {}

    def polars(self) -> Any:
        """Return a polars DataFrame of its columns.

        Raises:
            StorageError: polars is not installed.
        """
        polars = library("polars", "this frame")
        return polars.DataFrame(
            {
                title: polars.Series(column.tolist() if column.dtype == object else column)
                for title, column in self.columns().items()
            }
        )

    def xarray(self) -> Any:
        """Return an xarray Dataset of its columns, along `time_usec`, or `row` without times.

        Raises:
            StorageError: xarray is not installed.
        """
        xarray = library("xarray", "this array")
        columns = self.columns()
        try:
            along, index = "time_usec", self.times_usec
        except StorageError:
            along, index = "row", np.arange(len(next(iter(columns.values()), ())))
        return xarray.Dataset(
            {title: (along, column) for title, column in columns.items() if title != along},
            {along: index},
            self._about(),
        )

    def _about(self) -> dict[str, Any]:
        """Return what arrays of other libraries keep of it beside the data."""
        found = {"name": self.name, "timestamp_source": self.timestamp_source,
                 "uncertainty_usec": self.uncertainty_usec, "items_lost": self.lost}  # fmt: skip
        return {key: value for key, value in found.items() if value not in ("", None)}

    def close(self) -> None:
        """Close its files."""


def unique_titles(
    titles: Iterable[str], *taken: str, numbered: Callable[[str, int], str] = "{}.{}".format
) -> list[str]:
    """Return titles of which each is there once: a second "a" becomes "a.1".

    Args:
        titles: The titles; a stranger's file may have the same one many thousand times.
        taken: Titles that other columns have.
        numbered: Makes another title of one and a number from 1.
    """
    found: list[str] = []
    known = set(taken)
    numbers: dict[str, int] = {}
    """The last number that a title was given."""
    for title in titles:
        number, unique = numbers.get(title, 0), title
        while unique in known:
            number += 1
            unique = numbered(title, number)
        numbers[title] = number
        known.add(unique)
        found.append(unique)
    return found
