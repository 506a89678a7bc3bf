"""A growing Zarr v3 store: times and data, and a count of the rows that are complete."""

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
"""Attribute of the group: number of rows in both arrays; written after them."""
EVERY_FILE = "every_file"
"""Attribute of the group: all files of the arrays are written, also those of zeros, which the
library leaves out otherwise: one that is not there is lost."""
_FILE_CHUNKS = 64
_FILE_BYTES = 4 << 20
"""Bytes of a file's rows before compression: the most that is rewritten each second."""


def rows_of_a_file(chunk_rows: int, row_bytes: int) -> int:
    """Return the number of rows per file (shard): a multiple of the chunk, larger if it is small.

    A chunk is one second of samples. One file per chunk would be thousands of files per hour.

    Args:
        chunk_rows: Rows of a chunk.
        row_bytes: Bytes of a row before compression.
    """
    fitting = _FILE_BYTES // (chunk_rows * max(row_bytes, 8))
    return chunk_rows * min(max(fitting, 1), _FILE_CHUNKS)


class ZarrStore(DataFile):
    """Collects rows for a second, then writes them: each write replaces the last file (shard).

    Readers use the attribute `sample_count`: rows behind it were not completed before a kill.
    """

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
        """Create the store.

        Args:
            path: Folder of the store; must not exist.
            dtype: NumPy type of the data.
            columns: Number of channels.
            chunk_rows: Rows of a chunk.
            dimension: Name of the first dimension: "time" or "event".
            time_attributes: Attributes of the array `timestamps`.
            data_attributes: Attributes of the array `data`.

        Raises:
            ModuleError: The zarr library is not installed.
            StorageError: The store cannot be created.
        """
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
                store=zarr.storage.LocalStore(path),
                zarr_format=3,
                attributes={COUNT: 0, EVERY_FILE: True},
            )
            empty = {"write_empty_chunks": True}
            codec = ZstdCodec(level=3)
            file_rows = rows_of_a_file(chunk_rows, columns * self._dtype.itemsize)
            self._times = self._group.create_array(
                "timestamps", shape=(0,), chunks=(chunk_rows,), shards=(file_rows,),
                dtype="uint64", compressors=codec, dimension_names=(dimension,),
                attributes=dict(time_attributes), config=empty,
            )  # fmt: skip
            self._data = self._group.create_array(
                "data", shape=(0, columns), chunks=(chunk_rows, columns),
                shards=(file_rows, columns), dtype=dtype, compressors=codec,
                dimension_names=(dimension, "channel"), attributes=dict(data_attributes),
                config=empty,
            )  # fmt: skip
        self._written = 0

    def append(self, timestamps: ArrayLike, data: ArrayLike) -> int:
        """Append copies of rows; return their number.

        Args:
            timestamps: Times; shape (rows,).
            data: Values; shape (rows, columns).
        """
        self._mark_changed()
        times = np.array(timestamps, np.uint64)
        self._pending.append((times, np.array(data).astype(self._dtype)))
        self.rows += len(times)
        return len(times)

    def flush(self) -> None:
        """Write the collected rows: first data, then times, at last the count."""
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
        """Write the collected rows; calling it again does nothing."""
        self.flush()
