"""Recorded signals and line readings (JSON or Zarr) as arrays on the master timer."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.metadata import usec_per_unit
from mlink.recording.json_rows import NotRowsError, json_rows
from mlink.recording.libraries import library
from mlink.recording.stream import Columns, RecordedStream, unique_titles
from mlink.recording.zarr_file import UNREADABLE_STORE, opened_store
from mlink.storage.limits import check_memory
from mlink.storage.tsync.reader import in_usec

_CELL_BYTES = 64


class Signals(RecordedStream):
    """Samples by channels: a row for each sample, a column for each channel.

    The data is read at the first access, and kept.

    Raises:
        StorageError: On access, when the file is torn or a library is missing.
    """

    @cached_property
    def _content(self) -> tuple[list[str], NDArray[Any], NDArray[Any]]:
        """Return (names, timestamps as recorded, values)."""
        if self._unit.kind == "zarr":
            return self._from_zarr()
        names: list[str] = []
        table: list[Any] = []
        times: list[NDArray[Any]] = []
        values: list[NDArray[Any]] = []
        cells = used = 0
        for part in self._unit.part_names("data"):
            file = self._unit.file(part)
            try:
                for head, rows in json_rows(file):
                    names = head["columns"]
                    if not _has_times(names):
                        table += [row if isinstance(row, list) else [row] for row in rows]
                        cells += sum(len(row) + 1 if isinstance(row, list) else 1 for row in rows)
                        check_memory(str(file), _CELL_BYTES * cells)
                    elif rows:
                        times.append(np.array([row[0] for row in rows]))
                        values.append(_as_array([row[1:] for row in rows], len(names) - 1))
                        used += _held_bytes(times[-1]) + _held_bytes(values[-1])
                        check_memory(str(file), used)
            except NotRowsError as error:
                raise StorageError(f"{file} is not of a recorder: {error}") from error
            except (ValueError, TypeError, IndexError, OverflowError) as error:
                raise StorageError(
                    f"{file} is torn: {error}", remedy="Close it with mlink repair."
                ) from error
        if not _has_times(names):
            width = max(len(names), *map(len, table)) if table else len(names)
            names += [f"column-{at + 1}" for at in range(len(names), width)]
            cells_of = np.empty((len(table), width), dtype=object)  # None where a row is shorter
            for at, row in enumerate(table):
                cells_of[at, : len(row)] = row
            return names, np.empty(0), cells_of
        if not times:
            return names[1:], np.empty(0), np.empty((0, len(names) - 1))
        return names[1:], np.concatenate(times), np.concatenate(values)

    def _from_zarr(self) -> tuple[list[str], NDArray[Any], NDArray[Any]]:
        names = self._unit.part_names("data")
        if len(names) != 1:
            raise StorageError(f"'{self.name}' has {len(names)} Zarr stores, a recorder's has one")
        try:
            with opened_store(self._unit.file(names[0]), read=True) as (group, arrays):
                data, times = arrays["data"], arrays["timestamps"]
                count = int(group.attrs.get("sample_count", min(data.shape[0], times.shape[0])))
                titles = [str(name) for name in data.attrs["signal_names"]]
                if data.shape[1:] != (len(titles),) or times.ndim != 1 or count < 0:
                    raise ValueError(f"it has {len(titles)} titles for arrays {data.shape}")
                row_bytes = data.dtype.itemsize * len(titles) + 2 * times.dtype.itemsize
                check_memory(str(self.path / names[0]), row_bytes * min(count, data.shape[0]))
                return titles, times[:count], data[:count]
        except ImportError as error:
            raise StorageError(
                "reading Zarr needs the zarr library", remedy="pip install 'mlink-hil[zarr]'"
            ) from error
        except StorageError:
            raise
        except UNREADABLE_STORE as error:
            raise StorageError(f"{self.path / names[0]} cannot be read: {error}") from error

    @property
    def names(self) -> list[str]:
        """Names of the channels."""
        return self._content[0]

    @property
    def timestamps(self) -> NDArray[Any]:
        """The time of each sample as recorded, in the attribute `time_unit`; shape (samples,)."""
        return self._content[1]

    @property
    def values(self) -> NDArray[Any]:
        """The values as recorded; shape (samples, channels)."""
        return self._content[2]

    @property
    def unit(self) -> str:
        """The unit of the physical values; of several channels their units, with commas."""
        given = self.attributes.get("data_unit") or ""
        return ", ".join(map(str, given)) if isinstance(given, list) else str(given)

    @property
    def physical(self) -> NDArray[Any]:
        """The values in the attribute `data_unit`: data_scale × value + data_offset.

        Raises:
            StorageError: Some are no numbers.
        """
        if self.values.dtype == object:
            raise StorageError(f"'{self.name}' has values that are no numbers")
        scale = float(self.attributes.get("data_scale", 1.0))
        return self.values * scale + float(self.attributes.get("data_offset", 0.0))

    @cached_property
    def times_usec(self) -> NDArray[np.int64]:
        """The time of each sample in µs; numbered samples are spread by their `sample_rate`.

        Raises:
            StorageError: The samples have no times, or numbers without a rate.
        """
        unit = str(self.attributes.get("time_unit", ""))
        stamps = self._content[1]
        if len(stamps) != len(self):
            raise StorageError(f"'{self.name}' has no times")
        if unit == "index":
            scale = usec_per_unit(unit, float(self.attributes.get("sample_rate", 0)))
            if scale is None:
                raise StorageError(f"'{self.name}' numbers its samples, but has no sample_rate")
        else:
            scale = usec_per_unit(unit, None) or 1.0
        return in_usec(f"'{self.name}'", stamps, scale)

    def __len__(self) -> int:
        return len(self.values)

    def columns(self) -> Columns:
        """Return `time_usec`, unless they are rows without times, and the values by channel."""
        times: Columns = {}
        with suppress(StorageError):
            times = {"time_usec": self.times_usec}
        names = unique_titles(self.names, *times)
        return times | {name: self.values[:, at] for at, name in enumerate(names)}

    def frame(self) -> Any:
        """Return a pandas DataFrame indexed by time_usec, or by number if they have no times.

        Raises:
            StorageError: pandas is not installed.
        """
        pandas, columns = library("pandas", "this frame"), self.columns()
        index = columns.pop("time_usec", None)
        return pandas.DataFrame(
            columns, index=None if index is None else pandas.Index(index, name="time_usec")
        )

    def xarray(self) -> Any:
        """Return an xarray DataArray of the physical values, `time_usec` × `channel`.

        Rows without times, or with texts, are a Dataset of their columns.

        Raises:
            StorageError: xarray is not installed.
        """
        if self.values.dtype == object:
            return super().xarray()
        xarray, unit = library("xarray", "this array"), self.attributes.get("data_unit")
        found = xarray.DataArray(
            self.physical,
            {"time_usec": self.times_usec, "channel": unique_titles(self.names)},
            ("time_usec", "channel"),
            self.name,
            {**self._about(), **({"units": self.unit} if self.unit else {})},
        )
        if isinstance(unit, list) and len(unit) == len(self.names):
            found = found.assign_coords(unit=("channel", [str(each) for each in unit]))
        return found


def _held_bytes(part: NDArray[Any]) -> int:
    """Return what an array takes until it is one with the other parts."""
    return part.size * _CELL_BYTES if part.dtype == object else 2 * part.nbytes


def _has_times(names: list[str]) -> bool:
    return bool(names) and names[0].startswith("timestamp")


def _as_array(rows: list[Any], width: int) -> NDArray[Any]:
    """Return rows as an array: of numbers, where null means NaN; or of cells, if some are none."""
    if any(len(row) != width for row in rows):
        raise ValueError(f"it has a row of another width than its {width} titles")
    if any(isinstance(cell, str | list | dict) for row in rows for cell in row):
        cells = np.empty((len(rows), width), dtype=object)
        for at, row in enumerate(rows):
            cells[at] = row
        return cells
    values = np.array(rows)
    if values.dtype == object:
        values = values.astype(np.float64)
    return values.reshape(len(rows), width)
