"""Writes a module's journal while it runs (format: mlink.recording.journal).

A record costs the module's thread an entry in a list; a thread of the journal's own packs and
writes them twice a second. In a replay the module's thread does it, after so many records, so
that the bytes are the same each time.
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
from mlink.recording.journal import Header, Kind
from mlink.storage.failures import storage_errors
from mlink.types import Frame, SignalBlock

Record: TypeAlias = list[Any]
"""What mlink.recording.journal reads as one of its records: a list is made faster."""

_PERIOD_S = 0.5
_CHUNK = 64
"""Records packed at once, so that the packing thread gives way to the module's often."""
_BATCH = 1024
"""Records that a replay writes at once."""
_FRAME_BYTES = 16 << 20
"""Content after which a frame ends; with the last chunk it is far below MAX_FRAME_BYTES."""
_LEVEL = 3
_ARRAY_32 = struct.Struct(">BI")
"""Head of an array in msgpack: 0xdd, and how many elements follow."""
MAX_CLOCK_RECORDS = 100
"""Answers of the clock that are kept after each event; a loop may ask for nothing else."""


class JournalClock:
    """The master timer, with a note of each answer."""

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
    """An open journal; `fail` hears in the journal's thread that the disk refuses."""

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
            self._thread = threading.Thread(target=self._live, name="journal", daemon=True)
            self._thread.start()

    @property
    def count(self) -> int:
        """How many records are in the file, the header left out."""
        return max(0, self._written - 1)

    def item(self, port: int, seq: int, payload: bytes | None, item: object) -> int:
        """Note an item that is about to be dispatched, and return the time.

        `payload` is that of a small one.
        """
        now = self._clock.now_usec()
        what: object = payload
        if isinstance(item, Frame):
            what = [item.index, item.time_usec]
        elif isinstance(item, SignalBlock):
            what = [int(item.timestamps[0]) if item.rows else 0, item.rows]
        self._event([0, now, port, seq, what])
        return now

    def timer(self, number: int, delay_usec: int) -> None:
        """Note that a delayed call is about to be made."""
        self._event([int(Kind.TIMER), self._clock.now_usec(), number, delay_usec])

    def wait(self, timeout_usec: int) -> None:
        """Note that a wait has ended."""
        self._event([int(Kind.WAIT), self._clock.now_usec(), timeout_usec])

    def event(self, kind: Kind) -> None:
        """Note something that has nothing to it but its time."""
        self._event([int(kind), self._clock.now_usec()])

    def metadata(self, port: int, metadata: Metadata) -> None:
        """Note what the source of an input says of its stream."""
        self._add([int(Kind.METADATA), self._clock.now_usec(), port, encode_metadata(metadata)])

    def sent(self, port: int, payload: bytes) -> None:
        """Note an item that was sent."""
        self._add([int(Kind.SENT), self._clock.now_usec(), port, payload])

    def clock(self, time_usec: int) -> None:
        """Note an answer of the clock."""
        self._clock_records += 1
        if self._clock_records <= MAX_CLOCK_RECORDS:
            self._add([int(Kind.CLOCK), time_usec])

    def close(self) -> None:
        """Write what is in hand and close; calling it again does nothing."""
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

    def _event(self, record: Record) -> None:
        self._clock_records = 0
        self._add(record)

    def _add(self, record: Record) -> None:
        self._records.append(record)
        if self._in_turn and len(self._records) >= _BATCH:
            self._write()

    def _live(self) -> None:
        while not self._closing.wait(_PERIOD_S):
            try:
                self._write()
            except BaseException as error:  # noqa: BLE001 - the run ends and says why
                self._failed = True
                self._fail(error)
                return

    def _write(self) -> None:
        left = len(self._records)
        while left:
            left -= self._write_frame(left)

    def _write_frame(self, most: int) -> int:
        """Write a frame of so many records at most; return how many it has."""
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
