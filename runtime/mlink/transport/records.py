"""Streams of small items (readings, commands, rows): records in a pipe per subscription.

A pipe carries an item and wakes its subscriber with one system call, half of what shared memory and
a doorbell need. The kernel bounds its size, a crash leaves nothing behind, and a full pipe refuses
an item for its subscriber alone. Frames and signal blocks use shared memory (writer.py, reader.py).

A record of at most PIPE_BUF bytes is written as a whole or not at all (pipe(7)):

    u32   length of the payload; the top bit is set when more records of this item follow
    u64   sequence number of the item in its stream, from 0
    …     payload, msgpack; of commands and rows after 8 bytes: when it was sent, ns of
          CLOCK_MONOTONIC
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mlink.errors import StreamError
from mlink.transport import codec
from mlink.transport.counts import ReceivingEnd, SendingEnd, waiting_bytes
from mlink.types import DataType

RECORD = struct.Struct("<IQ")
TIME = struct.Struct("<q")
MORE = 1 << 31
FRAGMENT_BYTES = select.PIPE_BUF - RECORD.size
READ_BYTES = 1 << 16

PIPE_BYTES = 1 << 20
"""Bound of a queue: some 25,000 readings (and the most that an ordinary user gets)."""
LIKELY_RECORD_BYTES = 40
_FULL_WAIT_S = 0.01

log = logging.getLogger("mlink.transport")


def open_pipe() -> tuple[int, int]:
    """Make a pipe for one subscription; return its (read, write) descriptors.

    Neither end blocks. The pipe holds PIPE_BYTES, or less when the user's share of pipe memory is
    used up, which is logged.
    """
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError as error:  # over the user's share, /proc/sys/fs/pipe-user-pages-soft
        log.warning(
            "a queue holds %d kB instead of %d kB: %s; raise fs.pipe-user-pages-soft with sysctl",
            fcntl.fcntl(write_fd, fcntl.F_GETPIPE_SZ) >> 10,
            PIPE_BYTES >> 10,
            error.strerror,
        )
    return read_fd, write_fd


class _Queue:
    """One subscription's pipe, and the bound on its items if the bench gives one.

    The kernel counts the bytes that wait in a pipe. Which items those are follows from the sizes
    of the items that were written last.
    """

    __slots__ = ("_bytes", "_sizes", "fd", "limit")

    def __init__(self, fd: int, limit: int) -> None:
        self.fd = fd
        self.limit = limit
        self._sizes: deque[int] = deque()
        self._bytes = 0

    def is_full(self) -> bool:
        """Return whether as many items wait as the bench allows."""
        if not self.limit or len(self._sizes) < self.limit:
            return False
        waiting = waiting_bytes(self.fd)
        while self._sizes and self._bytes > waiting:
            self._bytes -= self._sizes.popleft()
        return len(self._sizes) >= self.limit

    def note(self, size: int, *, whole: bool) -> None:
        """Note the bytes that were written for an item; what is not whole is no item."""
        if not self.limit or not size:
            return
        self._bytes += size
        if whole or not self._sizes:
            self._sizes.append(size)
        else:
            self._sizes[-1] += size


class RecordWriter(SendingEnd):
    """Sends the items of one output port of a small type; safe to use from several threads.

    A full queue refuses an item, unless `while_full` is given.

    Args:
        data_type: Type of the stream's items, one that travels in pipes.
        pipes: Write end of each subscription's pipe, owned.
        queues: Number of items that each subscription may queue; 0 bounds it by bytes alone.
        while_full: Called in the thread that submits, until a full queue has room.
    """

    def __init__(
        self,
        data_type: DataType,
        pipes: Sequence[int] = (),
        queues: Sequence[int] = (),
        *,
        while_full: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(data_type, len(pipes))
        self._queues = [
            _Queue(fd, limit) for fd, limit in zip(pipes, queues or (0,) * len(pipes), strict=True)
        ]
        self._counts_items = any(queues)
        self.now_ns: Callable[[], int] = time.monotonic_ns
        """Clock of the times that travel with commands and rows."""
        self._while_full = while_full
        self.note: Callable[[bytes], object] | None = None
        """Called with each payload before it is sent; for journals."""
        self._encode = codec.small_encoder(data_type)
        self._timed = data_type in codec.TIMED

    @property
    def listened(self) -> bool:
        """Whether anybody subscribes."""
        return bool(self._queues)

    def submit(self, item: Any) -> None:
        """Send one item. Never waits, unless `while_full` was given.

        Raises:
            StreamError: The item does not fit the stream, or the stream has ended.
        """
        payload = self._encode(item)
        if self.note is not None and not self.ended:
            self.note(payload)
        with self._lock:
            if self._timed:  # here, so that later items have later times
                payload = TIME.pack(self.now_ns()) + payload
            size = len(payload)
            if size > FRAGMENT_BYTES:
                self._submit_large(payload)
                return
            self._check_open()
            record = RECORD.pack(size, self.sent) + payload
            self.sent += 1
            if self._counts_items:
                self._offer((record,))
                return
            for number, queue in enumerate(self._queues):
                if not self._write(queue.fd, record):
                    self.lost[number] += 1  # the reader sees the gap

    def _submit_large(self, payload: bytes) -> None:
        size = len(payload) - (TIME.size if self._timed else 0)
        if size > codec.SMALL_ITEM_LIMIT:
            raise StreamError(
                f"an item of {size} bytes is too large for a {self.data_type.value} "
                f"stream (limit {codec.SMALL_ITEM_LIMIT})"
            )
        parts = [
            payload[start : start + FRAGMENT_BYTES]
            for start in range(0, len(payload), FRAGMENT_BYTES)
        ]
        self._check_open()
        records = [RECORD.pack(len(part) | MORE, self.sent) + part for part in parts[:-1]]
        records.append(RECORD.pack(len(parts[-1]), self.sent) + parts[-1])
        self.sent += 1
        self._offer(records)

    def _offer(self, records: Sequence[bytes]) -> None:
        """Write an item's records to each subscription, and count those that it does not reach."""
        for number, queue in enumerate(self._queues):
            if not self._put(queue, records):
                self.lost[number] += 1

    def _put(self, queue: _Queue, records: Sequence[bytes]) -> bool:
        """Write an item that a queue counts, or that takes several records."""
        while queue.is_full():
            if self._while_full is None:
                return False
            self._while_full()
            time.sleep(_FULL_WAIT_S)
        written = 0
        for record in records:
            if not self._write(queue.fd, record):
                queue.note(written, whole=False)
                return False  # the rest of an item that does not fit is not sent
            written += len(record)
        queue.note(written, whole=True)
        return True

    def _write(self, fd: int, record: bytes) -> bool:
        while True:
            try:
                os.write(fd, record)
                return True
            except BlockingIOError:
                if self._while_full is None:
                    return False  # the queue is full: its subscriber will see a gap
                self._while_full()
                select.select([], [fd], [], _FULL_WAIT_S)
            except BrokenPipeError:
                return False  # the subscriber has died, which the engine reports

    def close(self) -> None:
        """Close the pipes."""
        with self._lock:
            self.ended = True
            for queue in self._queues:
                os.close(queue.fd)
            self._queues.clear()


class RecordReader(ReceivingEnd):
    """Receives the items of one subscription to a stream of a small type.

    `receive` returns None when nothing waits. `hung_up` is True when the writer is gone and all is
    read.

    Args:
        data_type: Type of the stream's items.
        fd: Read end of the pipe, owned.
        one_by_one: Take no more out of the pipe than the next item: the sender counts the items
            that wait there.
    """

    def __init__(self, data_type: DataType, fd: int, *, one_by_one: bool = False) -> None:
        super().__init__(data_type)
        self.hung_up = False
        self._fd = fd
        self._one_by_one = one_by_one
        self._buffer = b""
        self._at = 0
        self._drained = False
        self._parts: list[bytes] = []
        self._parts_seq = -1
        self._decode = codec.small_decoder(data_type)
        self._timed = data_type in codec.TIMED
        if not one_by_one:  # a full pipe holds half of its size at least: pages may be half empty
            self._full_from = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) // 4

    @property
    def doubtful(self) -> bool:
        """See `ReceivingEnd`; true, too, while only a part of an item has arrived."""
        return self._maybe_full or bool(self._parts)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._fd

    def receive(self) -> Any | None:
        """Return the next item, or None when the pipe was empty.

        After a read that has emptied the pipe, None is returned once without asking the kernel; an
        item that has arrived meanwhile is returned by the next call, for which poll still reports
        the descriptor.
        """
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
                    if self._timed:
                        (self.sent_ns,) = TIME.unpack_from(payload)
                        payload = payload[TIME.size :]
                    self._count(seq)
                    self.payload = payload
                    return self._decode(payload)
            if not self._fill():
                return None

    def _collect(self, seq: int, payload: bytes, *, more: bool) -> bytes | None:
        """Join the records of an item; return None until it is complete."""
        if seq != self._parts_seq:
            self._parts.clear()  # the start of an item whose end found the pipe full
        self._parts_seq = seq
        self._parts.append(payload)
        if more:
            return None
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole

    def _fill(self) -> bool:
        """Read from the pipe into the buffer; return whether there was something."""
        if self._drained:  # The last read emptied the pipe: report that once without a system call.
            self._drained = False
            return False
        try:
            data = os.read(self._fd, RECORD.size if self._one_by_one else READ_BYTES)
            if self._one_by_one and data:
                data += os.read(self._fd, RECORD.unpack(data)[0] & ~MORE)
        except BlockingIOError:
            self._emptied = True
            return False
        if not data:
            self.hung_up = True
            return False
        self._note_read(len(data))
        self._emptied = self._drained = not self._one_by_one and len(data) < READ_BYTES
        rest = self._buffer[self._at :]
        self._buffer = rest + data if rest else data
        self._at = 0
        return True

    def read_ahead(self) -> None:
        """Read all that is in the pipe into the buffer, to be received later."""
        self._drained = False
        while self._fill():
            pass

    def cut_off(self) -> None:
        """Receive nothing more, in a fork: the items are for the process that was forked."""
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer, self._at = b"", 0

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)
