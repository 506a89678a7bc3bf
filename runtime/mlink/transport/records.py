"""Streams of small items (readings, commands, rows): records in a pipe per subscription.

A pipe carries an item and wakes its subscriber with one system call, half of what shared memory and
a doorbell need. The kernel bounds its size, a crash leaves nothing behind, and a full pipe refuses
an item for its subscriber alone. Frames and signal blocks use shared memory (writer.py, reader.py).

A record of at most PIPE_BUF bytes is written as a whole or not at all (pipe(7)):

    u32   length of the payload; the top bit is set when it is in the store (store.py), the next
          one when that begins again with it
    u64   sequence number of the item in its stream, from 0
    …     payload, msgpack; of commands and rows after 8 bytes: when it was sent, ns of
          CLOCK_MONOTONIC

Payloads that are too large for a record are in the subscription's store, and in a queue that counts
items all are: so all records there have one size, and the pipe holds as many whatever their items.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import select
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlink.errors import StreamError
from mlink.transport import codec
from mlink.transport.counts import ReceivingEnd, SendingEnd, waiting_bytes
from mlink.transport.store import (
    StoreReader,
    StoreWriter,
    create_store,
    file_size_limit,
    ring_bytes,
)
from mlink.types import DataType

RECORD = struct.Struct("<IQ")
TIME = struct.Struct("<q")
STORED = 1 << 31
WRAPS = 1 << 30
INLINE_BYTES = select.PIPE_BUF - RECORD.size
LARGEST = codec.SMALL_ITEM_LIMIT + TIME.size
READ_BYTES = 1 << 16

PIPE_BYTES = 1 << 20
"""Bound of a queue: some 25,000 readings (and the most that an ordinary user gets)."""
LIKELY_QUEUE = PIPE_BYTES // 40
"""Readings in a queue that is bounded by bytes, about."""
_RECORDS_PER_PAGE = mmap.PAGESIZE // RECORD.size
_FULL_WAIT_S = 0.01

log = logging.getLogger("mlink.transport")


class QueuePipe(NamedTuple):
    """The descriptors of one subscription to small items."""

    read: int
    write: int
    store: int


def open_pipe(queue: int = 0, name: str = "a queue") -> QueuePipe:
    """Make the pipe and the store of one subscription.

    No end blocks. The pipe holds PIPE_BYTES, or less when the user's share of pipe memory is used
    up, which is logged.

    Args:
        queue: Items that it has to hold; 0 bounds it by bytes alone.
        name: Whose it is, in messages.
    """
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    # a page that is read is written to again only when it is empty
    wanted = (-(-queue // _RECORDS_PER_PAGE) + 1) * mmap.PAGESIZE if queue else PIPE_BYTES
    why = ""
    for size in (wanted, min(wanted, PIPE_BYTES)):  # an ordinary user gets no more
        if fcntl.fcntl(write_fd, fcntl.F_GETPIPE_SZ) >= size:
            break
        try:
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, size)
        except OSError as error:  # over the user's share, /proc/sys/fs/pipe-user-pages-soft
            why = str(error.strerror)
    held = fcntl.fcntl(write_fd, fcntl.F_GETPIPE_SZ)
    if held < wanted:
        items = (held // mmap.PAGESIZE - 1) * _RECORDS_PER_PAGE
        log.warning(
            "%s holds %s: %s; raise %s with sysctl",
            name,
            f"{items:,} items instead of {queue:,}"
            if queue
            else f"{held >> 10} kB instead of {wanted >> 10} kB",
            why,
            "fs.pipe-max-size" if wanted > PIPE_BYTES else "fs.pipe-user-pages-soft",
        )
    limit, needed = file_size_limit(), ring_bytes(LARGEST, queue)
    if limit is not None and limit < needed:
        log.warning(
            "%s holds less: the limit of file sizes is %s kB, %s need %s kB; raise it (ulimit -f)",
            name,
            f"{limit >> 10:,}",
            f"{queue:,} items" if queue else "items above 4 kB",
            f"{needed >> 10:,}",
        )
    return QueuePipe(read_fd, write_fd, create_store())


class _Queue:
    """One subscription: its pipe and store, and the bound on its items if the bench gives one."""

    __slots__ = ("_room", "fd", "limit", "store", "while_full")

    def __init__(
        self, fd: int, store: int, limit: int, while_full: Callable[[], object] | None
    ) -> None:
        self.fd = fd
        self.while_full = while_full
        self.limit = limit
        self.store = StoreWriter(store, LARGEST, limit)
        self._room = 0
        """Items that there is room for, as far as the kernel was asked."""

    def has_room(self, size: int) -> bool:
        """Return whether a stored item may be added."""
        if self.limit and self._room <= 0:
            self._room = self.limit - waiting_bytes(self.fd) // RECORD.size
            if self._room <= 0:
                return False
        return self.store.has_room(size)

    def note(self) -> None:
        """Note that a stored item was added."""
        self.store.keep()
        self._room -= 1

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.fd)
        os.close(self.store.fd)


class RecordWriter(SendingEnd):
    """Sends the items of one output port of a small type; safe to use from several threads.

    A full queue refuses an item, unless `while_full` is given.

    Args:
        data_type: Type of the stream's items, one that travels in pipes.
        pipes: Write end of each subscription's pipe, and its store; owned.
        queues: Number of items that each subscription may queue; 0 bounds it by bytes alone.
        while_full: Called in the thread that submits, until a full queue has room.
        losing: With `while_full`: for each subscription, whether its full queue loses items
            nevertheless.
    """

    def __init__(
        self,
        data_type: DataType,
        pipes: Sequence[tuple[int, int]] = (),
        queues: Sequence[int] = (),
        *,
        while_full: Callable[[], object] | None = None,
        losing: Sequence[bool] = (),
    ) -> None:
        super().__init__(data_type, len(pipes))
        none = (0,) * len(pipes)
        self._queues = [
            _Queue(*pipe, limit, None if loses else while_full)
            for pipe, limit, loses in zip(pipes, queues or none, losing or none, strict=True)
        ]
        self.now_ns: Callable[[], int] = time.monotonic_ns
        """Clock of the times that travel with commands and rows."""
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
            if size > INLINE_BYTES:
                self._check_size(payload)
            if self.ended:
                self._check_open()
            seq = self.sent
            self.sent += 1
            record = RECORD.pack(size, seq) + payload if size <= INLINE_BYTES else b""
            for number, queue in enumerate(self._queues):
                if queue.limit or not record:
                    sent = self._store(queue, seq, payload)
                else:
                    sent = self._write(queue, record)
                if not sent:
                    self.lost[number] += 1  # the reader sees the gap

    def _check_size(self, payload: bytes) -> None:
        size = len(payload) - (TIME.size if self._timed else 0)
        if size > codec.SMALL_ITEM_LIMIT:
            raise StreamError(
                f"an item of {size} bytes is too large for a {self.data_type.name} "
                f"stream (limit {codec.SMALL_ITEM_LIMIT})",
                remedy="Divide it into several items, or send it as a signal block or a frame.",
            )

    def _store(self, queue: _Queue, seq: int, payload: bytes) -> bool:
        """Write an item that is counted, or too large for a record."""
        while not queue.has_room(len(payload)):
            if queue.while_full is None:
                return False
            queue.while_full()
            time.sleep(_FULL_WAIT_S)
        if not queue.store.put(payload):
            return False
        word = len(payload) | STORED | (WRAPS if queue.store.wraps else 0)
        if not self._write(queue, RECORD.pack(word, seq)):
            queue.store.drop()
            return False
        queue.note()
        return True

    def _write(self, queue: _Queue, record: bytes) -> bool:
        while True:
            try:
                os.write(queue.fd, record)
                return True
            except BlockingIOError:
                if queue.while_full is None:
                    return False  # the queue is full: its subscriber will see a gap
                queue.while_full()
                select.select([], [queue.fd], [], _FULL_WAIT_S)
            except BrokenPipeError:
                return False  # the subscriber has died, which the engine reports

    def close(self) -> None:
        """Close the pipes."""
        with self._lock:
            self.ended = True
            for queue in self._queues:
                queue.close()
            self._queues.clear()


class RecordReader(ReceivingEnd):
    """Receives the items of one subscription to a stream of a small type.

    `receive` returns None when nothing waits. `hung_up` is True when the writer is gone and all is
    read.

    Args:
        data_type: Type of the stream's items.
        fd: Read end of the pipe, owned.
        store: The subscription's store, owned.
        queue: Items that may wait; 0 bounds them by bytes. With it, no more is taken out of the
            pipe than the next item: the sender counts those that wait there.
    """

    def __init__(self, data_type: DataType, fd: int, store: int, *, queue: int = 0) -> None:
        super().__init__(data_type)
        self.hung_up = False
        self._fd = fd
        self._store = StoreReader(store)
        self._counted = bool(queue)
        self._buffer = b""
        self._at = 0
        self._drained = False
        self._decode = codec.small_decoder(data_type)
        self._timed = data_type in codec.TIMED
        # a full pipe holds half of its size at least: pages may be half empty
        self._full_from = queue or fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) // 4

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
                end = start if word & STORED else start + word
                if end <= len(buffer):
                    self._at = end
                    payload = self._stored(word) if word & STORED else buffer[start:end]
                    if self._timed:
                        (self.sent_ns,) = TIME.unpack_from(payload)
                        payload = payload[TIME.size :]
                    self._count(seq)
                    self.payload = payload
                    return self._decode(payload)
            if not self._fill():
                return None

    def _stored(self, word: int) -> bytes:
        size = word & ~(STORED | WRAPS)
        if not self._counted:
            self._note_more(size)
        return self._store.take(size, wraps=bool(word & WRAPS))

    def _fill(self, limit: int = 0) -> bool:
        """Read from the pipe into the buffer; return whether there was something."""
        if self._drained:  # The last read emptied the pipe: report that once without a system call.
            self._drained = False
            return False
        try:
            data = os.read(self._fd, limit or (RECORD.size if self._counted else READ_BYTES))
        except BlockingIOError:
            self._emptied = True
            return False
        if not data:
            self.hung_up = True
            return False
        size = len(data)
        if self._counted:
            self._note_read(size // RECORD.size)
            self._emptied = False
        else:
            self._drained = size < READ_BYTES
            if self._emptied and self._drained and size < self._full_from:
                # the usual read, of little: what `_note_read` would do, without two calls
                self._waited, self._maybe_full = size, False
            else:
                self._note_read(size)
                self._emptied = self._drained
        rest = self._buffer[self._at :]
        self._buffer = rest + data if rest else data
        self._at = 0
        return True

    def read_ahead(self) -> None:
        """Read all that waits into the buffer, to be received later; pipe and store are empty."""
        self._drained = False
        if not self._fill(READ_BYTES):
            return
        while self._fill(READ_BYTES):
            pass
        whole, at = [], self._at
        while at < len(self._buffer):
            word, seq = RECORD.unpack_from(self._buffer, at)
            end = at + RECORD.size + (0 if word & STORED else word)
            record = self._buffer[at:end]
            if word & STORED:
                payload = self._stored(word)
                record = RECORD.pack(len(payload), seq) + payload
            whole.append(record)
            at = end
        self._buffer, self._at = b"".join(whole), 0

    def cut_off(self) -> None:
        """Receive nothing more, in a fork: the items are for the process that was forked."""
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer, self._at = b"", 0

    def close(self) -> None:
        """Close the pipe and the store."""
        os.close(self._fd)
        os.close(self._store.fd)
