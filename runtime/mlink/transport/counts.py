"""Counts of items sent, received and lost, the same for pipes and shared memory.

Each item has a sequence number in its stream. A subscriber counts as lost what is missing before
an item that has arrived, and at the end what is missing up to the publisher's count.
"""

from __future__ import annotations

import fcntl
import termios
import threading
import time

from mlink.errors import StreamError
from mlink.types import DataType


def waiting_bytes(fd: int) -> int:
    """Return how many bytes wait in a pipe; `fd` is either of its ends.

    Raises:
        OSError: The descriptor is closed.
    """
    count = bytearray(4)
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return int.from_bytes(count, "little")


class SendingEnd:
    """A writer's sequence numbers, losses and end; `_lock` guards them.

    Args:
        data_type: Type of the stream's items.
        subscriptions: Number of subscriptions.
    """

    def __init__(self, data_type: DataType, subscriptions: int = 0) -> None:
        self.data_type = data_type
        self.sent = 0
        self.skipped = 0
        """Items that the source lost before it could send them; counted in `sent` and `lost`."""
        self.lost = [0] * subscriptions
        """Items that did not get into each subscription, counted when that happens."""
        self.ended = False
        self._in_a_fork = False
        self._lock = threading.Lock()

    def cut_off(self) -> None:
        """Refuse all items from now on: this is the copy of the writer in a fork of its process.

        Items that both sent would have the same numbers.
        """
        self._lock = threading.Lock()  # another thread may have held it at the fork
        self.ended = self._in_a_fork = True

    def skip(self, count: int) -> None:
        """Skip `count` sequence numbers: subscribers count so many items as lost.

        For what a source lost before it could send it, such as frames that a driver dropped. Does
        nothing after `end`.
        """
        with self._lock:
            if not self.ended:
                self.sent += count
                self.skipped += count
                self.lost = [lost + count for lost in self.lost]

    def end(self) -> int:
        """Refuse further items; return how many were sent, skipped ones included.

        The engine passes the number to the subscribers, which count what is missing as lost.
        """
        with self._lock:
            self.ended = True
            return self.sent

    def _check_open(self) -> None:
        if self._in_a_fork:
            raise StreamError(
                "this process is a fork of the module's process, which alone may send",
                remedy="Give what it makes to the module's process, e.g. by a multiprocessing.Queue"
                " that run() reads.",
            )
        if self.ended:
            raise StreamError(
                "the stream has ended: the run is stopping",
                remedy="Send from stop() at the latest.",
            )


class ReceivingEnd:
    """Counts of a subscriber.

    Attributes:
        received: Items received so far.
        lost: Items lost so far, as far as later ones or the end have shown it.
        gap: Items lost directly before the one received last.
        sent_ns: CLOCK_MONOTONIC when the command or row received last was sent; 0 for others.
        first_item_ns: CLOCK_MONOTONIC when the first item was received; 0 before.
    """

    def __init__(self, data_type: DataType) -> None:
        self.data_type = data_type
        self.received = 0
        self.lost = 0
        self.gap = 0
        self.sent_ns = 0
        self.first_item_ns = 0
        self.seq = -1
        """Sequence number of the item received last; -1 before the first."""
        self.payload: bytes | None = None
        """Payload of the item received last; None for items in shared memory."""
        self._next_seq = 0
        self._waited = 0
        """What was read since the queue was last empty, in its unit: bytes or records."""
        self._emptied = True
        self._full_from = 1
        """A queue in which less than this has waited was not full."""
        self._maybe_full = False

    @property
    def doubtful(self) -> bool:
        """Whether items may be lost that neither a later item nor the end has shown yet.

        An item is refused only by a full queue, and a full queue is read to the end before it is
        found empty. So nothing is lost after the last item if less than that was read at a stretch.
        """
        return self._maybe_full

    def _note_read(self, amount: int) -> None:
        """Note how much was read from the queue."""
        if self._emptied:  # sequence numbers show what was lost before this
            self._emptied = self._maybe_full = False
            self._waited = 0
        self._note_more(amount)

    def _note_more(self, amount: int) -> None:
        """Note what belongs to the last read."""
        self._waited += amount
        if self._waited >= self._full_from:
            self._maybe_full = True

    def note_end(self, sent: int) -> int:
        """Count as lost what is missing of the `sent` items of a stream; return how many.

        Args:
            sent: How many items the sender has sent, skipped ones included.
        """
        missing = sent - self._next_seq
        if missing > 0:
            self.lost += missing
            self._next_seq = sent
        if sent >= 0:
            self._maybe_full = False
        return max(missing, 0)

    def _count(self, seq: int) -> None:
        """Count an item that was received, and the missing ones before it.

        Raises:
            StreamError: An item with this number, or a later one, has arrived before.
        """
        self.gap = seq - self._next_seq
        if self.gap:
            if self.gap < 0:
                raise StreamError(
                    f"two items of the stream have the number {seq}: a second process sends on it",
                    remedy="Only the module's own process may send, no copy of it that code in "
                    "another language has made by fork().",
                )
            self.lost += self.gap
        self.seq, self._next_seq = seq, seq + 1
        if not self.received:
            self.first_item_ns = time.monotonic_ns()
        self.received += 1
