"""The sender's end of one subscription to a stream in shared memory.

Two pipes belong to a subscription. The sender writes a record for each item, the subscriber writes
back the slot when nothing uses it any more. So the sender knows at every moment how many items
wait, which ones are still read, and which were refused:

    record   u64 sequence number, u64 offset of the item's slot
    return   u64 offset of the slot
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
from typing import NamedTuple

from mlink.transport.counts import waiting_bytes

RECORD = struct.Struct("<QQ")
RETURN = struct.Struct("<Q")
_READ_BYTES = 1 << 14
_LEAST_QUEUE = 1

log = logging.getLogger("mlink.transport")


class SubscriptionPipes(NamedTuple):
    """The descriptors of one subscription: of the records and of the returned slots."""

    record_read: int
    record_write: int
    return_read: int
    return_write: int


def open_subscription() -> SubscriptionPipes:
    """Make the pipes of one subscription to a stream in shared memory."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    return SubscriptionPipes(*os.pipe2(flags), *os.pipe2(flags))


class Outlet:
    """Offers items to one subscriber; never waits for it. Not locked.

    Args:
        record_fd: Write end of the pipe of records; owned.
        return_fd: Read end of the pipe of returned slots; owned.
        queue_items: Items that may wait for the subscriber, at least 1.
        borrowed_items: Items that it may hold beyond those.
    """

    def __init__(
        self, record_fd: int, return_fd: int, *, queue_items: int, borrowed_items: int
    ) -> None:
        self._record_fd = record_fd
        self._return_fd = return_fd
        self.alive = True
        self.lent = 0
        """Slots that wait for the subscriber or are held by it."""
        room = min(
            _capacity(record_fd) // RECORD.size,
            _capacity(return_fd) // RETURN.size - borrowed_items,
        )
        if queue_items > room:
            log.warning(
                "a queue holds %d items instead of %d; raise fs.pipe-user-pages-soft with sysctl",
                max(room, _LEAST_QUEUE),
                queue_items,
            )
        self._queue_items = max(min(queue_items, room), _LEAST_QUEUE)
        self._lent_limit = self._queue_items + borrowed_items

    def offer(self, record: bytes) -> bool:
        """Send one record; return whether the subscriber will see it.

        Returns:
            False when the queue is full, or the subscriber holds too many slots, or it is gone. The
            caller counts the item as lost for this subscription.
        """
        if not self.alive:
            return False
        if self.lent >= self._queue_items and (
            self.lent >= self._lent_limit or self._waiting >= self._queue_items
        ):
            return False
        try:
            os.write(self._record_fd, record)
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self.alive = False
            return False
        self.lent += 1
        return True

    @property
    def is_full(self) -> bool:
        """Whether returned slots may have to be collected before an item is offered.

        The queue counts what was sent and has not come back, in items.
        """
        return self.lent >= self._queue_items

    def returned(self) -> list[int]:
        """Return the offsets of the slots that came back since the last call.

        An end of the pipe means that the subscriber is gone: `alive` is False then.
        """
        offsets: list[int] = []
        while self.alive:
            try:
                data = os.read(self._return_fd, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                self.alive = False
                break
            offsets += [offset for (offset,) in RETURN.iter_unpack(data)]
            if len(data) < _READ_BYTES:
                break
        self.lent -= len(offsets)
        return offsets

    @property
    def _waiting(self) -> int:
        """How many records the subscriber has not read."""
        return waiting_bytes(self._record_fd) // RECORD.size

    def close(self) -> None:
        """Close the pipes; the subscriber sees the end once it has read all records."""
        self.alive = False
        os.close(self._record_fd)
        os.close(self._return_fd)


def _capacity(fd: int) -> int:
    return int(fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ))
