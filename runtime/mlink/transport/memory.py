"""Anonymous shared memory of one stream: the sender writes slots, subscribers read them in place.

The memory is a sealed memfd, passed on as a descriptor. It has no name that another user could
open, it vanishes with its last process, and once the sender has mapped it no further writable
mapping is possible (F_SEAL_FUTURE_WRITE). A slot's pages are allocated before it is handed out
(fallocate), so a lack of memory is an error of the sender and never a SIGBUS.

The file is sparse: its size is only an upper limit, pages exist where slots were used.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlink.closing import ClosesOnExit
from mlink.errors import StreamError

RESERVE_BYTES = 16 << 30
"""Address space of a stream; small enough for many streams in the 39 bits of small ARM systems."""
_LEAST_RESERVE_BYTES = 1 << 20
_PAGE_BYTES = mmap.PAGESIZE
_F_SEAL_FUTURE_WRITE = 0x10
"""Linux 5.1; not in Python's fcntl module. Older kernels refuse it."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_REMEDY = "Make consumers faster, shorten their queues, or give the computer more memory."


def available_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int:
    """Return the memory that this process may still allocate, in bytes.

    Args:
        meminfo: The kernel's figures; `MemAvailable` counts.
        cgroup: The control group's folder (version 2): a container's limit counts if it is less.
    """
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:  # /proc is not mounted
        lines = []
    found = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    # without the kernel's estimate: free memory, which leaves out what caches could give back
    available = found[0] if found else os.sysconf("SC_AVPHYS_PAGES") * _PAGE_BYTES
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return available if limit == "max" else max(0, min(available, int(limit) - used))


def create_memory(name: str) -> int:
    """Create the empty memory of a stream and return its descriptor.

    Args:
        name: Shown as the file's name in /proc/PID/maps; no path.
    """
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


@dataclass(slots=True, eq=False)
class Slot:
    """A piece of the memory. `lent_to` has a bit for each subscription that still uses it."""

    offset: int
    capacity: int
    lent_to: int = field(default=0)


class SenderMemory(ClosesOnExit):
    """The sender's side: owns the writable mapping and decides which slot is free. Not locked.

    Args:
        fd: Descriptor from `create_memory`; stays the caller's.
        likely_bytes: Expected size of an item with its header; larger items get larger slots.

    Raises:
        StreamError: The memory cannot be reserved or mapped.
    """

    def __init__(self, fd: int, likely_bytes: int) -> None:
        self._fd = fd
        self._likely_bytes = likely_bytes
        self._map = _map_writable(fd, max(likely_bytes, _LEAST_RESERVE_BYTES))
        self._view: memoryview | None = memoryview(self._map)
        self._size = len(self._map)
        self._address = _address_of(self._map)
        self._top = 0
        self._free: list[Slot] = []
        self._slots: dict[int, Slot] = {}

    @property
    def keep(self) -> object:
        """What a view of the memory must hold: the mapping stays while it exists."""
        return self._view

    def address(self, slot: Slot) -> int:
        """Return the address of a slot in this process.

        The slot's memory there has `slot.capacity` bytes.
        """
        return self._address + slot.offset

    def take(self, size: int) -> Slot:
        """Take a free slot of at least `size` bytes.

        Raises:
            StreamError: There is no memory for it.
        """
        free = self._free
        for position in range(len(free) - 1, -1, -1):  # the newest first: it is in the cache
            if free[position].capacity >= size:
                return free.pop(position)
        return self._grow(size)

    def has_free(self, size: int) -> bool:
        """Return whether `take` needs no new memory for an item of this size."""
        return any(slot.capacity >= size for slot in reversed(self._free))

    def give_back(self, slot: Slot) -> None:
        """Make a slot free again.

        The caller has made sure that no subscriber uses it (`lent_to` is 0).
        """
        self._free.append(slot)

    def slots(self) -> Iterable[Slot]:
        """Return all slots there are."""
        return self._slots.values()

    def find(self, offset: int) -> Slot | None:
        """Return the slot at an offset that a subscriber has sent back; None for a wrong one.

        A subscriber is another process: what it sends is checked.
        """
        return self._slots.get(offset)

    def _grow(self, size: int) -> Slot:
        """Allocate a new slot. Sizes beyond the expected one are rounded up to powers of two.

        Otherwise a stream of slowly growing items would leave a trail of slots that fit none.
        """
        wanted = max(size, self._likely_bytes)
        if wanted > self._likely_bytes:
            wanted = 1 << (wanted - 1).bit_length()
        capacity = -(-wanted // _PAGE_BYTES) * _PAGE_BYTES
        if self._top + capacity > self._size:
            raise StreamError(
                f"no shared memory for an item of {size} bytes: the stream's "
                f"{self._size >> 20} MB are used up",
                remedy=_REMEDY,
            )
        try:
            os.posix_fallocate(self._fd, self._top, capacity)
        except OSError as error:
            raise StreamError(
                f"no shared memory for an item of {size} bytes: {error.strerror}", remedy=_REMEDY
            ) from error
        slot = Slot(self._top, capacity)
        self._slots[slot.offset] = slot
        self._top += capacity
        return slot

    def close(self) -> None:
        """Unmap the memory, or leave that to the last array that still views it."""
        self._free.clear()
        self._slots.clear()
        self._view = None
        _close(self._map)


class SubscriberMemory(ClosesOnExit):
    """A subscriber's side: a read-only mapping of a stream's memory.

    Args:
        fd: Descriptor of the memory, which the sender has sized; stays the caller's.

    Raises:
        StreamError: The memory cannot be mapped.
    """

    def __init__(self, fd: int) -> None:
        self.size = os.fstat(fd).st_size
        try:
            self._map = mmap.mmap(fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise StreamError(
                f"a stream's shared memory of {self.size >> 20} MB cannot be mapped: {error}",
                remedy="Raise the limit on address space (ulimit -v).",
            ) from error
        self._view: memoryview | None = memoryview(self._map)
        self._address = _address_of(self._map)

    @property
    def keep(self) -> object:
        """What a view of the memory must hold: the mapping stays while it exists."""
        return self._view

    def address(self, offset: int) -> int:
        """Return the address of the slot at an offset.

        Raises:
            StreamError: The offset lies outside the memory.
        """
        if not 0 <= offset < self.size or offset % _PAGE_BYTES:
            raise StreamError(f"a stream's record names no slot (offset {offset})")
        return self._address + offset

    def close(self) -> None:
        """Unmap the memory, or leave that to the last array that still views it."""
        self._view = None
        _close(self._map)


def _map_writable(fd: int, least_bytes: int) -> mmap.mmap:
    """Size, map and seal the memory: as large as the process's limits allow."""
    size = RESERVE_BYTES
    while True:
        try:
            os.ftruncate(fd, size)
            mapped = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            break
        except OSError as error:  # RLIMIT_FSIZE or RLIMIT_AS
            size //= 2
            if size < least_bytes:
                raise StreamError(
                    f"no address space for a stream of items of {least_bytes} bytes: "
                    f"{error.strerror}",
                    remedy="Raise the limits on address space and file size (ulimit -v, -f).",
                ) from error
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS | _F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL)
    except OSError:  # a kernel before 5.1: subscribers map it read-only of their own accord
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
    return mapped


def _address_of(mapped: mmap.mmap) -> int:
    return int(np.frombuffer(mapped, np.uint8, 1).ctypes.data)


def _close(mapped: mmap.mmap) -> None:
    try:
        mapped.close()
    except BufferError:  # a view exists: the memory goes with it
        pass
