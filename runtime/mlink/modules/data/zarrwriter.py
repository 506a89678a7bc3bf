"""The `zarrwriter` module: writes signals or line readings to a Zarr v3 store."""

from __future__ import annotations

import uuid
from typing import Any

from mlink.errors import ModuleError
from mlink.modules.data.catalog import ZarrWriterSettings
from mlink.modules.data.signals import signal_info
from mlink.modules.data.writer import DataWriterModule
from mlink.modules.data.zarr_store import ZarrStore
from mlink.storage.edl import Dataset
from mlink.types import LineReading, SignalBlock

_ROWS_MIN, _ROWS_MAX, _ROWS_UNKNOWN = 1_000, 100_000, 10_000
"""Limits of the rows of a chunk (about one second), and its rows for unknown rates."""
_CHUNK_BYTES = 32 << 20
"""Size of the largest chunk: half of what readers take (storage/limits.py)."""


class ZarrWriterModule(DataWriterModule[ZarrWriterSettings]):
    """Writes the arrays `timestamps` and `data`; samples are on the disk within a second."""

    count_key = "sample_count"
    _store: ZarrStore | None = None
    _columns = 0

    def open_file(self, dataset: Dataset, item: Any) -> ZarrStore:
        """Create the store from the metadata and the first item of the stream."""
        collection_id = str(uuid.UUID(bytes=dataset.collection_id))
        if isinstance(item, SignalBlock):
            info = signal_info(self.port.metadata, item)
            attributes = info.attributes()
            dtype, self._columns, dimension = item.dtype.name, item.cols, "time"
            most = max(1, _CHUNK_BYTES // max(1, item.cols * item.dtype.itemsize))
            rows = min(max(round(info.sample_rate) or _ROWS_UNKNOWN, _ROWS_MIN), _ROWS_MAX, most)
        else:
            attributes = {"time_unit": "microseconds", "signal_names": ["line_id", "value"]}
            dtype, self._columns, dimension = "uint32", 2, "event"
            rows = _ROWS_UNKNOWN
        name = f"{self.file_stem(dataset.name)}.zarr"
        self._store = ZarrStore(
            dataset.path_for_basename(name),
            dtype=dtype,
            columns=self._columns,
            chunk_rows=rows,
            dimension=dimension,
            time_attributes={"time_unit": attributes["time_unit"]},
            data_attributes={
                **{key: value for key, value in attributes.items() if key != "time_unit"},
                "collection_id": collection_id,
            },
        )
        dataset.set_data_file(name, summary=f"Data from {self.source}")
        for key, value in attributes.items():
            dataset.set_attribute(key, value)
        dataset.set_attribute("src_mod_type", self.port.metadata.get("src_mod_type"))
        dataset.save()
        return self._store

    def write_item(self, item: Any) -> int:
        """Append a block or a reading.

        Raises:
            ModuleError: A block has another number of channels than the first one.
        """
        assert self._store is not None
        if isinstance(item, LineReading):
            return self._store.append([item.time_usec], [[item.line_id, item.value]])
        if item.cols != self._columns:
            raise ModuleError(
                f"a block has {item.cols} channels, but the first one had {self._columns}",
                remedy="Send all blocks of a stream with the same number of channels.",
            )
        return self._store.append(item.timestamps, item.data)
