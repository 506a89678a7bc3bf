"""Where the items of a pipe wait that are too large for it, or that are counted: anonymous memory.

The sender writes an item at the next place of a ring, then its record into the pipe; the subscriber
reads it when it has the record, and gives the memory back. Both know the places without a word: one
item follows the other, and the ring begins again where the largest item would not fit. The file is
sparse: only what waits has memory. It is written by pwrite, so a lack of memory is an error of the
sender and never a SIGBUS.
"""

from __future__ import annotations

import ctypes
import mmap
import os

from mlink.errors import StreamError

STORE_BYTES = 64 << 20
"""Bound of the large items in a queue that does not count items."""
_PAGE_BYTES = mmap.PAGESIZE
_BLOCK_BYTES = 512
"""Unit of st_blocks."""
_GIVE_BACK_BYTES = 1 << 16
_PUNCH_HOLE_KEEP_SIZE = 3
"""FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE (linux/falloc.h)."""

_fallocate = ctypes.CDLL(None).fallocate64
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def create_store() -> int:
    """Create the empty store of one subscription and return its descriptor."""
    return os.memfd_create("mlink:queue", os.MFD_CLOEXEC)


class _Ring:
    """One end of a store: the place of its next item."""

    __slots__ = ("_largest", "_next", "_wraps_after", "fd")

    def __init__(self, fd: int, largest: int, queue: int) -> None:
        self.fd = fd
        self._largest = largest
        self._next = 0
        # What waits, the item in the subscriber's hands, the next one, and the end that is left out
        waiting = queue * largest if queue else STORE_BYTES
        self._wraps_after = waiting + 2 * largest

    def _place(self) -> int:
        return self._next if self._next <= self._wraps_after else 0


class StoreWriter(_Ring):
    """The sender's end. Not locked.

    Args:
        fd: The store.
        largest: Bytes of the largest item.
        queue: Items that may wait, which the sender counts; 0 bounds them by STORE_BYTES.
    """

    __slots__ = ("_bounded", "_end")

    def __init__(self, fd: int, largest: int, queue: int) -> None:
        super().__init__(fd, largest, queue)
        self._bounded = not queue
        self._end = 0

    def has_room(self, size: int) -> bool:
        """Return whether an item may wait beside those that do."""
        if not self._bounded:
            return True
        return os.fstat(self.fd).st_blocks * _BLOCK_BYTES + size <= STORE_BYTES

    def put(self, payload: bytes) -> bool:
        """Write an item at the next place; return False if there is no memory for it."""
        place = self._place()
        try:
            written = os.pwrite(self.fd, payload, place)
        except OSError:
            return False
        self._end = place + len(payload)
        return written == len(payload)

    def keep(self) -> None:
        """Leave the place to the item that was put there: its record is in the pipe."""
        self._next = self._end


class StoreReader(_Ring):
    """The subscriber's end; takes the items in their order. Arguments as of `StoreWriter`."""

    __slots__ = ("_given_back",)

    def __init__(self, fd: int, largest: int, queue: int) -> None:
        super().__init__(fd, largest, queue)
        self._given_back = 0

    def take(self, size: int) -> bytes:
        """Return the next item, which has `size` bytes; its memory is free then.

        Raises:
            StreamError: It is not there.
        """
        place = self._place()
        if place < self._next:
            self._give_back(self._next + _PAGE_BYTES - 1)
            self._given_back = 0
        payload = os.pread(self.fd, size, place)
        if len(payload) != size:
            raise StreamError(f"an item of {size} bytes is not where its record says")
        self._next = place + size
        if self._next - self._given_back >= _GIVE_BACK_BYTES:
            self._give_back(self._next)
        return payload

    def _give_back(self, end: int) -> None:
        """Give back the memory up to `end`, in whole pages."""
        end -= end % _PAGE_BYTES
        _fallocate(self.fd, _PUNCH_HOLE_KEEP_SIZE, self._given_back, end - self._given_back)
        self._given_back = end
