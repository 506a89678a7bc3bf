"""A Zarr v3 store that grows: times and data, with a count that says what of it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlink.errors import ModuleError
from mlink.modules.data.data_file import DataFile
from mlink.storage.failures import storage_errors

COUNT = "sample_count"
"""Attribute of the group: rows that are in both arrays, written after them."""
_FILE_CHUNKS = 64
_FILE_BYTES = 4 << 20
"""Of a file's rows before compression: as much is rewritten each second, at most."""


def rows_of_a_file(chunk_rows: int, row_bytes: int) -> int:
    """Return the rows of a shard: whole chunks, many where they are small.

    A chunk is a second of samples: a file each would make thousands of them in an hour.
    """
    fitting = _FILE_BYTES // (chunk_rows * max(row_bytes, 8))
    return chunk_rows * min(max(fitting, 1), _FILE_CHUNKS)


class ZarrStore(DataFile):
    """Rows are gathered for a second, then written: an append rewrites the last file (shard)."""

    def __init__(
        self,
        path: Path,
        *,
        dtype: str,
        columns: int,
        chunk_rows: int,
        dimension: str,
        time_attributes: Mapping[str, Any],
        data_attributes: Mapping[str, Any],
    ) -> None:
        try:
            import zarr
            from zarr.codecs import ZstdCodec
        except ImportError as error:
            raise ModuleError(
                "a zarrwriter needs the zarr library, which is not installed",
                remedy="pip install 'mlink-hil[zarr]'",
            ) from error
        super().__init__(path)
        self._dtype = np.dtype(dtype)
        self._pending: list[tuple[NDArray[Any], NDArray[Any]]] = []
        with storage_errors(path, "create"):
            self._group = zarr.create_group(
                store=zarr.storage.LocalStore(path), zarr_format=3, attributes={COUNT: 0}
            )
            codec = ZstdCodec(level=3)
            file_rows = rows_of_a_file(chunk_rows, columns * self._dtype.itemsize)
            self._times = self._group.create_array(
                "timestamps", shape=(0,), chunks=(chunk_rows,), shards=(file_rows,),
                dtype="uint64", compressors=codec, dimension_names=(dimension,),
                attributes=dict(time_attributes),
            )  # fmt: skip
            self._data = self._group.create_array(
                "data", shape=(0, columns), chunks=(chunk_rows, columns),
                shards=(file_rows, columns), dtype=dtype, compressors=codec,
                dimension_names=(dimension, "channel"), attributes=dict(data_attributes),
            )  # fmt: skip
        self._written = 0

    def append(self, timestamps: ArrayLike, data: ArrayLike) -> int:
        """Take rows and return how many; they are copied."""
        self._mark_changed()
        times = np.array(timestamps, np.uint64)
        self._pending.append((times, np.array(data).astype(self._dtype)))
        self.rows += len(times)
        return len(times)

    def flush(self) -> None:
        """Write what is in hand: the data, their times, and last the count."""
        pending, self._pending, self._changed_s = self._pending, [], None
        if not pending:
            return
        times = np.concatenate([times for times, _ in pending])
        data = np.concatenate([data for _, data in pending])
        start, end = self._written, self._written + len(times)
        with storage_errors(self.path):
            for array, values in ((self._data, data), (self._times, times)):
                array.resize((end, *array.shape[1:]))
                array[start:end] = values
            self._group.attrs[COUNT] = end
        self._written = end

    def close(self) -> None:
        """Write what is in hand; calling it again does nothing."""
        self.flush()
