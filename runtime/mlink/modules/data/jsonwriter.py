"""The `jsonwriter` module: writes signals, rows or readings to a JSON file for pandas."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError
from mlink.modules.data.catalog import JsonWriterSettings
from mlink.modules.data.json_file import JsonFile
from mlink.modules.data.signals import SignalInfo, signal_info
from mlink.modules.data.writer import DataWriterModule
from mlink.recording.json_rows import json_row
from mlink.storage.edl import Dataset
from mlink.types import LineReading, SignalBlock

_LINE_COLUMNS = ("timestamp_usec", "line_id", "value")


class JsonWriterModule(DataWriterModule[JsonWriterSettings]):
    """Writes raw values with all digits; rows are on the disk within a second."""

    _json: JsonFile | None = None
    _chosen: list[int] | None = None
    """Indices of the channels to record; None records all."""

    def open_file(self, dataset: Dataset, item: Any) -> JsonFile:
        """Create the file with a head from the stream's metadata and first item.

        Raises:
            ModuleError: `recorded_entries` has an unknown channel, or the names do not fit.
        """
        head: dict[str, Any] = {"collection_id": str(uuid.UUID(bytes=dataset.collection_id))}
        attributes: dict[str, Any] = {"json_schema": self.settings.format}
        if isinstance(item, SignalBlock):
            info = signal_info(self.port.metadata, item)
            columns = [info.time_column, *self._choose(info)]
            head |= {"time_unit": info.time_unit, "data_unit": info.data_unit}
            if info.sample_rate > 0:
                head["sample_rate"] = info.sample_rate
            attributes |= info.attributes() | {"signal_names": columns[1:]}
        elif isinstance(item, LineReading):
            columns = list(_LINE_COLUMNS)
            head |= {"time_unit": "microseconds", "data_unit": ""}
            attributes["time_unit"] = "microseconds"
        else:
            columns = self._row_columns(item)
            head |= {"time_unit": "", "data_unit": ""}
        extended = self.settings.format == "extended-pandas"
        name = f"{self.file_stem('data')}.json.zst"
        path = dataset.path_for_basename(name)
        self._json = JsonFile(path, head if extended else {}, columns)
        dataset.set_data_file(name, summary=f"Data from {self.source}")
        for key, value in attributes.items():
            dataset.set_attribute(key, value)
        dataset.save()
        return self._json

    def write_item(self, item: Any) -> int:
        """Write a block, a reading or a row."""
        assert self._json is not None
        if isinstance(item, SignalBlock):
            data = item.data if self._chosen is None else item.data[:, self._chosen]
            rows = [
                [time, *values]
                for time, values in zip(item.timestamps.tolist(), _values(data), strict=True)
            ]
        elif isinstance(item, LineReading):
            rows = [[item.time_usec, item.line_id, item.value]]
        else:
            rows = [list(item)]
        self._json.write_rows(rows)
        return len(rows)

    def _choose(self, info: SignalInfo) -> list[str]:
        if self.settings.record_all:
            return list(info.names)
        wanted = set(self.settings.recorded_entries)
        if unknown := sorted(wanted - set(info.names)):
            raise ModuleError(
                f"the stream has no channel '{unknown[0]}'",
                remedy=f"Channels for recorded_entries: {', '.join(info.names)}.",
            )
        self._chosen = [at for at, name in enumerate(info.names) if name in wanted]
        return [info.names[at] for at in self._chosen]

    def _row_columns(self, row: list[str]) -> list[str]:
        header = self.port.metadata.get("table_header")
        if isinstance(header, list) and header:
            return [str(cell) for cell in header]
        return [f"column-{number + 1}" for number in range(len(row))]


def _values(data: NDArray[Any]) -> list[list[Any]]:
    """Return samples as JSON values; NaN becomes null when it is encoded."""
    rows: list[list[Any]] = data.tolist()
    if data.dtype.kind == "f":
        for row in np.flatnonzero(np.isinf(data).any(axis=1)):
            rows[row] = json_row(rows[row])
    return rows
