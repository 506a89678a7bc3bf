"""Writes tsync files: pairs of times of two clocks, in blocks with checksums.

The format allows a short block only at the end of a file, but pairs must survive a kill. Each flush
therefore ends the current block with terminator and digest, as if it were the last; the next flush
overwrites these 16 bytes and continues. The file is complete after each flush. A flush is a single
write, so a kill leaves the state before or after it. Only a write that was cut off (power cut, full
disk) leaves a damaged last block; `read_tsync(path, salvage=True)` returns all blocks before it.
"""

from __future__ import annotations

import os
import struct
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from mlink.closing import ClosesOnExit
from mlink.errors import StorageError
from mlink.storage.failures import pwrite_all, storage_error, storage_errors
from mlink.storage.tsync.layout import (
    FRAME_NUMBER,
    MASTER_TIME,
    TERMINATOR_SIZE,
    Generation,
    TimeColumn,
    TsyncHeader,
    TsyncMode,
)

FLUSH_INTERVAL_S = 1.0
"""Usual longest age of a pair that is in memory only, while further pairs arrive."""


class TsyncWriter(ClosesOnExit):
    """A tsync file that is being written: create it, append pairs, close it.

    Args:
        path: File to create; it must not exist.
        collection_id: 16 bytes that identify the run.
        generator: Program noted in the header.
        columns: Name, unit and type of the two times.
        mode: Whether pairs map every time, or are single points of comparison.
        block_size: Pairs in a block.
        custom: Further values noted in the header, as JSON.
        time_created: Unix time in s, by default now.
        generation: Kind of file; V2 is for readers of Syntalos 2.x.
        flush_interval_s: `append` flushes when the last flush was this long ago.

    Raises:
        StorageError: The file exists or cannot be created.
    """

    def __init__(
        self,
        path: Path,
        *,
        collection_id: bytes,
        generator: str = "mlink",
        columns: tuple[TimeColumn, TimeColumn] = (FRAME_NUMBER, MASTER_TIME),
        mode: TsyncMode = TsyncMode.CONTINUOUS,
        block_size: int = 128,
        custom: Mapping[str, Any] | None = None,
        time_created: int | None = None,
        generation: Generation = Generation.V3,
        flush_interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        self.path = path
        self.header = TsyncHeader(
            columns=columns,
            collection_id=uuid.UUID(bytes=collection_id),
            mode=mode,
            generator=generator,
            time_created=int(time.time()) if time_created is None else time_created,
            block_size=block_size,
            custom=dict(custom or {}),
            generation=generation,
        )
        self._pair = struct.Struct("<" + "".join(column.type.code for column in columns))
        self._bounds = tuple(column.type.bounds for column in columns)
        self._flush_interval_s = flush_interval_s
        self._pending = bytearray()
        self._hash = xxhash.xxh3_64()
        self._in_block = 0
        self._count = 0
        with storage_errors(path, "create"):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._position = 0
        """Where pending bytes go: after the last pair in the file, over its terminator if any."""
        self._pending += self.header.encode()
        self._flush_due = 0.0
        self._failed = False
        try:
            self._write_pending()
        except BaseException:
            os.close(self._fd)
            path.unlink(missing_ok=True)
            raise

    @property
    def count(self) -> int:
        """Pairs appended so far."""
        return self._count

    def append(self, first: int, second: int) -> None:
        """Add one pair; call `flush` when no further pair is to come for a while.

        Raises:
            StorageError: A time does not fit its column's type, or the disk failed now or before.
        """
        if self._failed:
            raise StorageError(f"{self.path}: an earlier write failed; no more times are accepted")
        try:
            self._check(first, second)
            pair = self._pair.pack(first, second)
        except struct.error as error:
            raise self._out_of_range(first, second) from error
        self._pending += pair
        self._hash.update(pair)
        self._count += 1
        self._in_block += 1
        if self._in_block == self.header.block_size:
            self._pending += self._block_end()
            self._hash.reset()
            self._in_block = 0
        if time.monotonic() >= self._flush_due:
            self.flush()

    def flush(self) -> None:
        """Pass all pairs to the operating system; the file is complete afterwards.

        Raises:
            StorageError: The disk failed; no more pairs are accepted.
        """
        self._flush_due = time.monotonic() + self._flush_interval_s
        if not self._pending:
            return
        self._write_pending(self._block_end() if self._in_block else b"")

    def close(self) -> None:
        """Flush, force the file onto the disk and close it; calling it again does nothing.

        Raises:
            StorageError: The disk failed; the file is closed all the same.
        """
        if self._fd < 0:
            return
        try:
            self.flush()
            with storage_errors(self.path):
                os.fsync(self._fd)
        finally:
            os.close(self._fd)
            self._fd = -1

    def _write_pending(self, tail: bytes = b"") -> None:
        # The tail is not part of the pending bytes: the next flush overwrites it.
        data = bytes(self._pending) + tail
        try:
            pwrite_all(self._fd, data, self._position)
        except OSError as error:
            self._cut_failed_write()
            raise storage_error(error, self.path) from error
        self._position += len(self._pending)
        self._pending.clear()

    def _cut_failed_write(self) -> None:
        # A full disk cut this write off. Remove its bytes after the pairs of the last flush, and
        # end their block again: the file is then as complete as it was after that flush.
        self._failed = True
        self._pending.clear()
        block_size = self._pair.size * self.header.block_size + TERMINATOR_SIZE
        in_block = max(0, self._position - len(self.header.encode())) % block_size
        try:
            os.ftruncate(self._fd, self._position)
            if in_block:
                with self.path.open("rb") as file:
                    file.seek(self._position - in_block)
                    digest = xxhash.xxh3_64_intdigest(file.read())
                end = self.header.generation.terminator + struct.pack("<Q", digest)
                os.pwrite(self._fd, end, self._position)
        except OSError:
            pass  # the disk accepts no writes: `read_tsync(salvage=True)` finds the complete blocks

    def _block_end(self) -> bytes:
        return self.header.generation.terminator + struct.pack("<Q", self._hash.intdigest())

    def _check(self, first: int, second: int) -> None:
        for value, (low, high) in zip((first, second), self._bounds, strict=True):
            if not low <= value <= high:
                raise self._out_of_range(first, second)

    def _out_of_range(self, first: int, second: int) -> StorageError:
        names = " and ".join(f"{c.name} ({c.type.name})" for c in self.header.columns)
        return StorageError(
            f"the pair ({first}, {second}) does not fit {names} of {self.path.name}",
            remedy="Choose wider data types for the file, or check the source of the time.",
        )
