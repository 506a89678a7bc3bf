"""Streams of small items (readings, commands, rows): records in a pipe per subscription.

A pipe carries an item and wakes its subscriber with one system call, half of what shared memory and
a doorbell need. The kernel bounds its size, a crash leaves nothing behind, and a full pipe refuses
an item for its subscriber alone. Frames and signal blocks use shared memory (writer.py, reader.py).

A record of at most PIPE_BUF bytes is written as a whole or not at all (pipe(7)):

    u32   length of the payload; the top bit is set when more records of this item follow
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
"""Default size of a queue: about 25,000 readings. Ordinary users may not have more (pipe(7))."""
LIKELY_RECORD_BYTES = 40
_SMALLEST_PIPE_BYTES = 1 << 12
_FULL_WAIT_S = 0.01

log = logging.getLogger("mlink.transport")


def open_pipe(queue_items: int | None = None) -> tuple[int, int]:
    """Create a pipe for a subscription.

    A user who has many pipes may get a smaller one than wanted, which is logged as a warning.

    Args:
        queue_items: Length of the queue in items of usual size; None takes the default.

    Returns:
        The (read, write) descriptors, non-blocking.
    """
    wanted = PIPE_BYTES
    if queue_items is not None:
        wanted = max(_SMALLEST_PIPE_BYTES, min(PIPE_BYTES, queue_items * LIKELY_RECORD_BYTES))
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, wanted)
    except OSError as error:  # over the user's limit, /proc/sys/fs/pipe-user-pages-soft
        log.warning(
            "a queue holds %d kB instead of %d kB: %s; raise fs.pipe-user-pages-soft with sysctl",
            fcntl.fcntl(write_fd, fcntl.F_GETPIPE_SZ) >> 10,
            wanted >> 10,
            error.strerror,
        )
    return read_fd, write_fd


class RecordWriter(SendingEnd):
    """Sends the items of one output port of a small type; safe to use from several threads.

    An item that finds a pipe full is lost for that subscriber.

    Args:
        data_type: Type of the stream.
        pipes: Write descriptors of the subscriptions, to be owned. With none, items are checked
            and counted only.
        while_full: Where given, `submit` waits for a full pipe instead, and calls this meanwhile.
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
        """Called with each payload before it is sent; for journals."""
        self._encode = codec.small_encoder(data_type)

    @property
    def listened(self) -> bool:
        """Whether there are subscribers."""
        return bool(self._pipes)

    def submit(self, item: Any) -> None:
        """Send one item. Never waits, unless `while_full` was given.

        Raises:
            StreamError: The item does not fit the stream, or the stream has ended.
        """
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
                    return False  # the queue is full: its subscriber will see a gap
                self._while_full()
                select.select([], [fd], [], _FULL_WAIT_S)
            except BrokenPipeError:
                return False  # the subscriber has died, which the engine reports

    def close(self) -> None:
        """Close the pipes."""
        with self._lock:
            self.ended = True
            for fd in self._pipes:
                os.close(fd)
            self._pipes.clear()


class RecordReader(ReceivingEnd):
    """Receives the items of one subscription to a stream of a small type.

    Args:
        data_type: Type of the stream.
        fd: Read descriptor of the pipe, to be owned.

    Attributes:
        hung_up: Whether the publisher has closed the pipe and all items were received.
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
        """Read all that is in the pipe into the buffer, to be received later."""
        self._drained = False
        while self._fill():
            pass

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)
