"""A JSON table, compressed with zstd, that is complete on the disk after each flush.

The text is `{…,"columns":[…],"data":[[…],[…]]}` in one zstd frame, since most readers read only the
first frame of a file. A flush ends the frame with a raw last block that contains `]}`, and the next
flush overwrites these five bytes. So the file of a killed recorder can be opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from mlink.errors import StorageError
from mlink.modules.data.data_file import DataFile
from mlink.storage.failures import pwrite_all, storage_error, storage_errors

_CLOSING = b"]}"
_LAST_BLOCK = (len(_CLOSING) << 3 | 1).to_bytes(3, "little") + _CLOSING
"""A zstd block: last, raw, two bytes (RFC 8878, 3.1.1.2)."""
_LEVEL = 3


class JsonFile(DataFile):
    """An open JSON file; rows are lists of JSON values, NaN becomes null.

    Raises:
        StorageError: By all methods, when the file exists already or the disk fails.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], columns: Sequence[str]) -> None:
        super().__init__(path)
        self._failed = False
        self._compressor = zstandard.ZstdCompressor(
            level=_LEVEL, write_checksum=False, write_content_size=False
        ).compressobj()
        with storage_errors(path, "create"):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._position = 0
        """Offset of the next block: over the closing block, if there is one."""
        begin = msgspec.json.encode({**head, "columns": list(columns)})
        self._pending = bytearray(self._compressor.compress(begin[:-1] + b',"data":['))
        self.flush()

    def write_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows.

        Args:
            rows: Lists of JSON values, each of the width of the columns.

        Raises:
            StorageError: An earlier write failed.
        """
        if not rows:
            return
        if self._failed:
            raise StorageError(f"{self.path}: an earlier write failed, so no more rows are written")
        text = msgspec.json.encode(rows)[1:-1]
        self._pending += self._compressor.compress((b",\n" if self.rows else b"\n") + text)
        self.rows += len(rows)
        self._mark_changed()

    def flush(self) -> None:
        """Pass all rows to the operating system; the file is complete afterwards."""
        self._changed_s = None
        self._pending += self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        try:
            pwrite_all(self._fd, bytes(self._pending) + _LAST_BLOCK, self._position)
        except OSError as error:
            self._restore_last_flush()
            raise storage_error(error, self.path) from error
        self._position += len(self._pending)
        self._pending.clear()

    def close(self) -> None:
        """Flush, sync to the disk and close; calling it again does nothing."""
        if self._fd < 0:
            return
        try:
            if not self._failed:
                self.flush()
                with storage_errors(self.path):
                    os.fsync(self._fd)
        finally:
            os.close(self._fd)
            self._fd = -1

    def _restore_last_flush(self) -> None:
        # The disk was full within this write: restore the state of the last flush.
        self._failed = True
        try:
            os.ftruncate(self._fd, self._position)
            os.pwrite(self._fd, _LAST_BLOCK, self._position)
        except OSError:
            pass  # no write is possible; `mlink repair` closes the file
