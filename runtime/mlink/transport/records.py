"""Streams of small items (readings, commands, rows): records in a pipe per subscription.

A pipe carries the item and wakes its reader in one system call, half of what shared memory and a
doorbell take; the kernel bounds it, a crash leaves nothing, and a full one refuses the item for
that subscriber alone. Frames and signal blocks go through shared memory (writer.py, reader.py).

A record is written at once or not at all (pipe(7): up to PIPE_BUF bytes):

    u32   length of the payload; the top bit says that more records of this item follow
    u64   sequence number of the item in its stream, from 0
    …     payload, msgpack
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import struct
from collections.abc import Callable, Sequence
from typing import Any

from mlink.errors import StreamError
from mlink.transport import codec
from mlink.transport.counts import ReceivingEnd, SendingEnd
from mlink.types import DataType

RECORD = struct.Struct("<IQ")
MORE = 1 << 31
FRAGMENT_BYTES = select.PIPE_BUF - RECORD.size
READ_BYTES = 1 << 16

PIPE_BYTES = 1 << 20
"""Default bound of a queue: some 25,000 readings (and the most that an ordinary user gets)."""
LIKELY_RECORD_BYTES = 40
_SMALLEST_PIPE_BYTES = 1 << 12
_FULL_WAIT_S = 0.01

log = logging.getLogger("mlink.transport")


def open_pipe(queue_items: int | None = None) -> tuple[int, int]:
    """Make a pipe for about so many items; return its (read, write) descriptors."""
    wanted = PIPE_BYTES
    if queue_items is not None:
        wanted = max(_SMALLEST_PIPE_BYTES, min(PIPE_BYTES, queue_items * LIKELY_RECORD_BYTES))
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, wanted)
    except OSError as error:  # over the user's share, /proc/sys/fs/pipe-user-pages-soft
        log.warning(
            "a queue holds %d kB instead of %d kB: %s; raise fs.pipe-user-pages-soft with sysctl",
            fcntl.fcntl(write_fd, fcntl.F_GETPIPE_SZ) >> 10,
            wanted >> 10,
            error.strerror,
        )
    return read_fd, write_fd


class RecordWriter(SendingEnd):
    """Sends the items of one output port of a small type; safe to use from several threads.

    A full pipe refuses an item, unless `while_full` is given: then it is called, in the thread
    that submits, until there is room.
    """

    def __init__(
        self,
        data_type: DataType,
        pipes: Sequence[int] = (),
        *,
        while_full: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(data_type)
        self._pipes = list(pipes)
        self._while_full = while_full
        self.note: Callable[[bytes], object] | None = None
        """Hears each item's payload."""
        self._encode = codec.small_encoder(data_type)

    @property
    def listened(self) -> bool:
        """Whether anybody subscribes."""
        return bool(self._pipes)

    def submit(self, item: Any) -> None:
        """Send one item; never waits. StreamError when it does not fit or the stream has ended."""
        payload = self._encode(item)
        size = len(payload)
        if self.note is not None and not self.ended:
            self.note(payload)
        if size > FRAGMENT_BYTES:
            self._submit_large(payload)
            return
        with self._lock:
            self._check_open()
            record = RECORD.pack(size, self.sent) + payload
            self.sent += 1
            for fd in self._pipes:
                self._write(fd, record)

    def _submit_large(self, payload: bytes) -> None:
        if len(payload) > codec.SMALL_ITEM_LIMIT:
            raise StreamError(
                f"an item of {len(payload)} bytes is too large for a {self.data_type.value} "
                f"stream (limit {codec.SMALL_ITEM_LIMIT})"
            )
        parts = [
            payload[start : start + FRAGMENT_BYTES]
            for start in range(0, len(payload), FRAGMENT_BYTES)
        ]
        with self._lock:
            self._check_open()
            records = [RECORD.pack(len(part) | MORE, self.sent) + part for part in parts[:-1]]
            records.append(RECORD.pack(len(parts[-1]), self.sent) + parts[-1])
            self.sent += 1
            for fd in self._pipes:
                for record in records:
                    if not self._write(fd, record):
                        break  # the rest of an item that does not fit is not sent

    def _write(self, fd: int, record: bytes) -> bool:
        while True:
            try:
                os.write(fd, record)
                return True
            except BlockingIOError:
                if self._while_full is None:
                    return False  # its queue is full: the reader sees the gap
                self._while_full()
                select.select([], [fd], [], _FULL_WAIT_S)
            except BrokenPipeError:
                return False  # that subscriber has died, which the engine tells

    def close(self) -> None:
        """Close the pipes."""
        with self._lock:
            self.ended = True
            for fd in self._pipes:
                os.close(fd)
            self._pipes.clear()


class RecordReader(ReceivingEnd):
    """Receives the items of one subscription to a stream of a small type.

    `receive` returns None when nothing waits. `hung_up` tells that the writer is gone and all is
    read.
    """

    def __init__(self, data_type: DataType, fd: int) -> None:
        super().__init__(data_type)
        self.hung_up = False
        self._fd = fd
        self._buffer = b""
        self._at = 0
        self._drained = False
        self._parts: list[bytes] = []
        self._parts_seq = -1
        self._decode = codec.small_decoder(data_type)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def receive(self) -> Any | None:
        """Return the next item, or None when none waits."""
        while True:
            at, buffer = self._at, self._buffer
            start = at + RECORD.size
            if start <= len(buffer):
                word, seq = RECORD.unpack_from(buffer, at)
                end = start + (word & ~MORE)
                if end <= len(buffer):
                    self._at = end
                    payload = buffer[start:end]
                    if word & MORE or self._parts:
                        whole = self._collect(seq, payload, more=bool(word & MORE))
                        if whole is None:
                            continue
                        payload = whole
                    self._count(seq)
                    self.payload = payload
                    return self._decode(payload)
            if not self._fill():
                return None

    def _collect(self, seq: int, payload: bytes, *, more: bool) -> bytes | None:
        """Put an item of several records together; None while it is not complete."""
        if seq != self._parts_seq:
            self._parts.clear()  # of an item whose end was refused
        self._parts_seq = seq
        self._parts.append(payload)
        if more:
            return None
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole

    def _fill(self) -> bool:
        """Read what the pipe holds; False when that is nothing."""
        if self._drained:  # the last read took all: ask the kernel again only when asked again
            self._drained = False
            return False
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.hung_up = True
            return False
        self._drained = len(data) < READ_BYTES
        rest = self._buffer[self._at :]
        self._buffer = rest + data if rest else data
        self._at = 0
        return True

    def read_ahead(self) -> None:
        """Read all that the pipe holds, to be received later."""
        self._drained = False
        while self._fill():
            pass

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)
