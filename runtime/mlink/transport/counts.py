"""What both ways of a stream's transport count: items sent, received and lost."""

from __future__ import annotations

import threading
import time

from mlink.errors import StreamError
from mlink.types import DataType


class SendingEnd:
    """A writer's sequence numbers and its end; `_lock` guards both."""

    def __init__(self, data_type: DataType) -> None:
        self.data_type = data_type
        self.sent = 0
        self.ended = False
        self._lock = threading.Lock()

    def skip(self, count: int) -> None:
        """Leave out `count` sequence numbers: readers see a gap of so many items."""
        with self._lock:
            if not self.ended:
                self.sent += count

    def end(self) -> int:
        """Refuse further items; return how many were sent."""
        with self._lock:
            self.ended = True
            return self.sent

    def _check_open(self) -> None:
        if self.ended:
            raise StreamError(
                "the stream has ended: the run is stopping",
                remedy="Send from stop() at the latest.",
            )


class ReceivingEnd:
    """A reader's counts; `gap` is the number of items lost just before the one received last."""

    def __init__(self, data_type: DataType) -> None:
        self.data_type = data_type
        self.received = 0
        self.lost = 0
        self.gap = 0
        self.first_item_ns = 0
        self.seq = -1
        """Sequence number of the item that was received last."""
        self.payload: bytes | None = None
        """Its payload; None of what came through shared memory."""
        self._next_seq = 0

    def note_end(self, sent: int) -> int:
        """Count what is missing at the end of a stream of `sent` items; return that number."""
        missing = sent - self._next_seq
        if missing > 0:
            self.lost += missing
            self._next_seq = sent
            return missing
        return 0

    def _count(self, seq: int) -> None:
        """Count an item that has come, and those before it that have not."""
        self.gap = seq - self._next_seq
        if self.gap:
            self.lost += self.gap
        self.seq, self._next_seq = seq, seq + 1
        if not self.received:
            self.first_item_ns = time.monotonic_ns()
        self.received += 1
