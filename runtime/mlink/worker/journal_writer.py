"""Writes a module's journal while it runs (format: mlink.recording.journal.reading).

In real time the module's thread only appends records to a list; a thread of the journal packs and
writes them twice a second. In virtual time the module's thread writes them, after a fixed number of
records, so that the file is the same byte for byte in each run.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import zstandard

from mlink.clock import Clock
from mlink.metadata import Metadata, encode_metadata
from mlink.recording.journal.reading import LATE_USEC, Header, Kind
from mlink.storage.failures import storage_errors
from mlink.types import Frame, SignalBlock

Record: TypeAlias = list[Any]
"""A record as mlink.recording.journal.reading reads it; a list, because it is created faster."""

_PERIOD_S = 0.5
_CHUNK = 64
"""Records packed at once; small, so that the journal's thread often releases the interpreter."""
_BATCH = 1024
"""Records written at once in virtual time."""
_FRAME_BYTES = 16 << 20
"""Size after which a compressed frame ends; with its last chunk far below MAX_FRAME_BYTES."""
_LEVEL = 3
_ARRAY_32 = struct.Struct(">BI")
"""Header of an array in msgpack (array 32): 0xdd, number of elements."""
MAX_CLOCK_RECORDS = 100
"""Most clock readings recorded after one event: a loop may read the clock without end."""


class JournalClock:
    """The master timer; `note` is called with each reading in µs."""

    def __init__(self, clock: Clock, note: Callable[[int], None]) -> None:
        self._clock = clock
        self._note = note

    def now_usec(self) -> int:
        """Return µs since the run's start."""
        now = self._clock.now_usec()
        self._note(now)
        return now

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a CLOCK_MONOTONIC reading in ns into master time in µs."""
        return self._clock.from_monotonic_ns(monotonic_ns)


class JournalWriter:
    """An open journal file.

    Args:
        path: The file; it must not exist.
        header: The module and its ports.
        clock: The master timer.
        fail: Called in the journal's thread with an error of the disk.
        in_thread: Whether a thread of the journal writes (real time), or the caller's.

    Raises:
        StorageError: The file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        clock: Clock,
        *,
        fail: Callable[[BaseException], None],
        in_thread: bool,
    ) -> None:
        self._path = path
        self._clock = clock
        self._fail = fail
        self._records: deque[Record | Header] = deque([header])
        self._clock_records = 0
        self.last_usec = 0
        """Time of the last item, call or wait, from which a replay counts what follows."""
        self._written = 0
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._encode = msgspec.msgpack.Encoder().encode
        self._closing = threading.Event()
        self._failed = False
        self._in_turn = not in_thread
        with storage_errors(path, "create"):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._thread: threading.Thread | None = None
        if in_thread:
            self._thread = threading.Thread(target=self._write_often, name="journal", daemon=True)
            self._thread.start()

    @property
    def count(self) -> int:
        """Number of records in the file, without the header."""
        return max(0, self._written - 1)

    def item(self, port: int, seq: int, payload: bytes | None, item: object) -> int:
        """Record an item before it is dispatched.

        Args:
            port: Number of the input, from 0.
            seq: The item's sequence number in its stream.
            payload: Its msgpack bytes; None for an item in shared memory.
            item: The item itself.

        Returns:
            Master time of the record in µs.
        """
        now = self._clock.now_usec()
        what: object = payload
        if isinstance(item, Frame):
            what = [item.index, item.time_usec]
        elif isinstance(item, SignalBlock):
            what = [int(item.timestamps[0]) if item.rows else 0, item.rows]
        self.last_usec = now
        self._event([0, now, port, seq, what])
        return now

    def timer(self, number: int, delay_usec: int, since_usec: int) -> None:
        """Record a delayed call before it is made; `since_usec` is `last_usec` at its request."""
        self._timed([int(Kind.TIMER), self._clock.now_usec(), number, delay_usec], since_usec)

    def wait(self, timeout_usec: int, since_usec: int) -> None:
        """Record the end of a wait of `timeout_usec`; `since_usec` is `last_usec` at its begin."""
        self._timed([int(Kind.WAIT), self._clock.now_usec(), timeout_usec], since_usec)

    def event(self, kind: Kind) -> None:
        """Record an event that has only a time: start, stop or finish."""
        self._event([int(kind), self._clock.now_usec()])

    def metadata(self, port: int, metadata: Metadata) -> None:
        """Record the metadata of an input's stream."""
        self._add([int(Kind.METADATA), self._clock.now_usec(), port, encode_metadata(metadata)])

    def sent(self, port: int, payload: bytes) -> None:
        """Record an item that was sent on an output, as msgpack bytes."""
        self._add([int(Kind.SENT), self._clock.now_usec(), port, payload])

    def clock(self, time_usec: int) -> None:
        """Record a reading of the clock."""
        self._clock_records += 1
        if self._clock_records <= MAX_CLOCK_RECORDS:
            self._add([int(Kind.CLOCK), time_usec])

    def close(self) -> None:
        """Write the remaining records and close the file; a second call does nothing.

        Raises:
            StorageError: The disk reports an error.
        """
        if self._fd < 0:
            return
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        try:
            if not self._failed:
                self._write()
                with storage_errors(self._path):
                    os.fsync(self._fd)
        finally:
            os.close(self._fd)
            self._fd = -1

    def _timed(self, record: Record, since_usec: int) -> None:
        now, length_usec = record[1], record[-1]
        if (late_usec := now - since_usec - length_usec) > LATE_USEC:
            record.append(late_usec)
        self.last_usec = now
        self._event(record)

    def _event(self, record: Record) -> None:
        self._clock_records = 0
        self._add(record)

    def _add(self, record: Record) -> None:
        self._records.append(record)
        if self._in_turn and len(self._records) >= _BATCH:
            self._write()

    def _write_often(self) -> None:
        while not self._closing.wait(_PERIOD_S):
            try:
                self._write()
            except BaseException as error:  # noqa: BLE001 - reported as the run's failure
                self._failed = True
                self._fail(error)
                return

    def _write(self) -> None:
        left = len(self._records)
        while left:
            left -= self._write_frame(left)

    def _write_frame(self, most: int) -> int:
        """Write one compressed frame of at most `most` records; return their number."""
        content, count, size = [b""], 0, 0
        while count < most and size < _FRAME_BYTES:
            chunk = [self._records.popleft() for _ in range(min(most - count, _CHUNK))]
            head_bytes = 1 if len(chunk) < 16 else 3  # of an array, in msgpack
            content.append(self._encode(chunk)[head_bytes:])
            count, size = count + len(chunk), size + len(content[-1])
        content[0] = _ARRAY_32.pack(0xDD, count)
        data = self._compressor.compress(b"".join(content))
        with storage_errors(self._path):
            while data:
                data = data[os.write(self._fd, data) :]
        self._written += count
        return count
