"""A JSON table, compressed with zstd, that is whole on the disk after each flush.

The text is `{…,"columns":[…],"data":[[…],[…]]}` in one zstd frame, which is all that most readers
read of a file. A flush ends the frame with a raw last block that holds `]}`, and the next flush
starts over these five bytes: so a killed recorder leaves a file that opens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
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
    """An open file; rows are lists of what JSON holds, NaN and ±∞ become null.

    `now_s` is the clock of its flushes, which show in the compressed bytes.
    """

    def __init__(
        self,
        path: Path,
        head: Mapping[str, Any],
        columns: Sequence[str],
        now_s: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(path, now_s)
        self._failed = False
        self._compressor = zstandard.ZstdCompressor(
            level=_LEVEL, write_checksum=False, write_content_size=False
        ).compressobj()
        with storage_errors(path, "create"):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._position = 0
        """Where the next block goes: over the closing one, if any."""
        begin = msgspec.json.encode({**head, "columns": list(columns)})
        self._pending = bytearray(self._compressor.compress(begin[:-1] + b',"data":['))
        self.flush()

    def write_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows."""
        if not rows:
            return
        if self._failed:
            raise StorageError(f"{self.path} could not be written before; it takes no more rows")
        text = msgspec.json.encode(rows)[1:-1]
        self._pending += self._compressor.compress((b",\n" if self.rows else b"\n") + text)
        self.rows += len(rows)
        self._mark_changed()

    def flush(self) -> None:
        """Hand everything to the operating system; the file is whole afterwards."""
        self._changed_s = None
        self._pending += self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        try:
            pwrite_all(self._fd, bytes(self._pending) + _LAST_BLOCK, self._position)
        except OSError as error:
            self._take_back()
            raise storage_error(error, self.path) from error
        self._position += len(self._pending)
        self._pending.clear()

    def close(self) -> None:
        """Flush, force the file onto the disk and close it; calling it again does nothing."""
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

    def _take_back(self) -> None:
        # A full disk tore this write: what the last flush had made whole is made whole again.
        self._failed = True
        try:
            os.ftruncate(self._fd, self._position)
            os.pwrite(self._fd, _LAST_BLOCK, self._position)
        except OSError:
            pass  # the disk takes nothing at all; `mlink repair` ends the file
