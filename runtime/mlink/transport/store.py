"""Where the items of a pipe wait that are too large for it, or that are counted: anonymous memory.

The sender writes an item at the next place of a ring, then its record into the pipe; the subscriber
reads it when it has the record, and gives the memory back. Both know the places: one item follows
the other, until the record of one has the mark that the ring begins again. The file is sparse: only
what waits has memory. It is written by pwrite, so a lack of memory is an error of the sender and
never a SIGBUS.

The ring is so long that it begins again where nothing can wait any more. A limit of file sizes
(RLIMIT_FSIZE) holds for anonymous files, too: in a ring that is shorter for that, the sender asks
the kernel before each item whether its place was given back.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource

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


def file_size_limit() -> int | None:
    """Return the limit of file sizes of this process, in bytes; None if there is none."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def ring_bytes(largest: int, queue: int) -> int:
    """Return the length of a ring that never meets what waits; arguments as of `StoreWriter`."""
    waiting = queue * largest if queue else STORE_BYTES
    # beside it, the item in the subscriber's hands, the next one, and the end that is left out
    return waiting + 3 * largest


def create_store() -> int:
    """Create the empty store of one subscription and return its descriptor."""
    return os.memfd_create("mlink:queue", os.MFD_CLOEXEC)


class StoreWriter:
    """The sender's end. Not locked.

    Args:
        fd: The store.
        largest: Bytes of the largest item.
        queue: Items that may wait, which the sender counts; 0 bounds them by STORE_BYTES.
    """

    __slots__ = ("_bounded", "_end", "_limit", "_next", "_short", "fd", "wraps")

    def __init__(self, fd: int, largest: int, queue: int) -> None:
        self.fd = fd
        self.wraps = False
        """Whether the ring begins again with the item that was put last."""
        self._bounded = not queue
        self._next = self._end = 0
        limit, self._limit = file_size_limit(), ring_bytes(largest, queue)
        self._short = limit is not None and limit < self._limit
        if limit is not None and self._short:
            self._limit = limit

    def has_room(self, size: int) -> bool:
        """Return whether an item may wait beside those that do."""
        if self._bounded and os.fstat(self.fd).st_blocks * _BLOCK_BYTES + size > STORE_BYTES:
            return False
        if not self._short or not self._can_hold(size):  # `put` refuses what it never holds
            return True
        place = self._place(size)
        return _first_data(self.fd, _whole_pages(place)) >= place + size

    def put(self, payload: bytes) -> bool:
        """Write an item that there is room for; return False if there is no memory for it."""
        if self._short and not self._can_hold(len(payload)):
            return False
        place = self._place(len(payload))
        self.wraps = place < self._next
        self._end = place + len(payload)
        try:
            written = os.pwrite(self.fd, payload, place)
        except OSError:
            written = 0
        if written < len(payload):
            self.drop()
        return written == len(payload)

    def keep(self) -> None:
        """Leave the place to the item that was put there: its record is in the pipe."""
        self._next = self._end

    def drop(self) -> None:
        """Give back the place of the item that was put there: it is not sent."""
        start = _whole_pages(0 if self.wraps else self._next)
        end = _whole_pages(self._end)
        if start < end:
            _fallocate(self.fd, _PUNCH_HOLE_KEEP_SIZE, start, end - start)

    def _place(self, size: int) -> int:
        return self._next if self._next + size <= self._limit else 0

    def _can_hold(self, size: int) -> bool:
        """Return whether a short ring that is empty has a place for an item wherever it is.

        What was read is given back late, and in whole pages.
        """
        return 2 * (size + _PAGE_BYTES) + _GIVE_BACK_BYTES <= self._limit


class StoreReader:
    """The subscriber's end; takes the items in their order.

    Args:
        fd: The store.
    """

    __slots__ = ("_given_back", "_next", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._next = 0
        self._given_back = 0

    def take(self, size: int, *, wraps: bool) -> bytes:
        """Return the next item; its memory is free then.

        Args:
            size: Its size in bytes.
            wraps: Whether the ring begins again with it.

        Raises:
            StreamError: It is not there.
        """
        if wraps:
            self._give_back(_whole_pages(self._next))
            self._next = self._given_back = 0
        payload = os.pread(self.fd, size, self._next)
        if len(payload) != size:
            raise StreamError(f"an item of {size} bytes is not at the place in its record")
        self._next += size
        if self._next - self._given_back >= _GIVE_BACK_BYTES:
            self._give_back(self._next - self._next % _PAGE_BYTES)
        return payload

    def _give_back(self, end: int) -> None:
        """Give back the memory up to `end`, the start of a page."""
        if end > self._given_back:
            length = end - self._given_back
            _fallocate(self.fd, _PUNCH_HOLE_KEEP_SIZE, self._given_back, length)
        self._given_back = end


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES


def _first_data(fd: int, start: int) -> int:
    """Return where the first memory at or after `start` is; far beyond the end if there is none."""
    try:
        return os.lseek(fd, start, os.SEEK_DATA)
    except OSError:  # ENXIO
        return 1 << 62
