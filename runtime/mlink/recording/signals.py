"""Recorded signals and line readings (JSON or Zarr) as arrays on the master timer."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.recording.stream import RecordedStream
from mlink.recording.table import import_pandas
from mlink.storage.failures import storage_errors

_USEC_PER = {"microseconds": 1.0, "milliseconds": 1e3, "seconds": 1e6, "": 1.0}


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
        rows: list[list[Any]] = []
        for name in self._unit.part_names("data"):
            try:
                content = load_json(self.path / name)
            except ValueError as error:
                raise StorageError(
                    f"{self.path / name} is torn: {error}", remedy="Close it with mlink repair."
                ) from error
            names = content["columns"]
            rows += content["data"]
        if not (names and names[0].startswith("timestamp")):
            return names, np.empty(0), np.array(rows, dtype=object)  # a table
        times = np.array([row[0] for row in rows])
        values = np.array([row[1:] for row in rows])
        if values.dtype == object:  # null means NaN
            values = values.astype(np.float64)
        return names[1:], times, values.reshape(len(rows), len(names) - 1)

    def _from_zarr(self) -> tuple[list[str], NDArray[Any], NDArray[Any]]:
        try:
            import zarr
        except ImportError as error:
            raise StorageError(
                "reading Zarr needs the zarr library", remedy="pip install 'mlink-hil[zarr]'"
            ) from error
        (name,) = self._unit.part_names("data")
        group = zarr.open_group(zarr.storage.LocalStore(self.path / name), mode="r")
        data, times = group["data"], group["timestamps"]
        count = int(group.attrs.get("sample_count", min(data.shape[0], times.shape[0])))
        return list(data.attrs["signal_names"]), times[:count], data[:count]

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
        """The values in the attribute `data_unit`: data_scale × value + data_offset."""
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
            rate = float(self.attributes.get("sample_rate", 0))
            if rate <= 0:
                raise StorageError(f"'{self.name}' numbers its samples, but has no sample_rate")
            return np.rint(stamps * (1e6 / rate)).astype(np.int64)
        return np.rint(stamps * _USEC_PER.get(unit, 1.0)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.values)

    def frame(self) -> Any:
        """Return a pandas DataFrame indexed by time_usec.

        Raises:
            StorageError: pandas is not installed.
        """
        pandas = import_pandas()
        index = pandas.Index(self.times_usec, name="time_usec")
        return pandas.DataFrame(self.values, columns=self.names, index=index)


def load_json(path: Path) -> Any:
    """Load a .json or .json.zst file.

    Raises:
        ValueError: It is torn, or not strict JSON.
        StorageError: It cannot be read from the disk.
    """
    with storage_errors(path, "read"):
        data = path.read_bytes()
    if path.name.endswith(".zst"):
        import zstandard

        try:
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    return json.loads(data, parse_constant=refuse_constant)


def refuse_constant(word: str) -> Any:
    """Refuse NaN and Infinity, which Python's json module reads."""
    raise ValueError(f"{word} is not JSON")
