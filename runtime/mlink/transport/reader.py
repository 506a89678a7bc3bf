"""The subscriber's end of a stream of frames or signal blocks, in shared memory."""

from __future__ import annotations

import fcntl
import os
import weakref
from collections import deque
from typing import Any

from mlink.errors import StreamError
from mlink.transport import codec
from mlink.transport.counts import ReceivingEnd
from mlink.transport.memory import SubscriberMemory
from mlink.transport.outlet import RECORD, RETURN
from mlink.types import DataType, Frame

_forks = [0]
"""How often this process was forked: a child must not return what its parent has borrowed."""


def _note_fork() -> None:
    _forks[0] += 1


os.register_at_fork(after_in_child=_note_fork)


class _Returns:
    """The way back of slots that this subscriber has read; any thread may return one."""

    __slots__ = ("_fd", "_forks", "borrowed")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._forks = _forks[0]
        self.borrowed = 0

    def give_back(self, offset: int) -> None:
        """Return a slot to the sender."""
        self.borrowed -= 1
        if self._fd < 0 or self._forks != _forks[0]:
            return
        try:
            os.write(self._fd, RETURN.pack(offset))
        except OSError:
            pass  # the sender is gone, and its bookkeeping with it

    def close(self) -> None:
        """Close the pipe."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Borrowed:
    """Owns a borrowed slot: returns it when the last view of it is gone."""

    __slots__ = ("_keep", "_offset", "_returns")

    def __init__(self, returns: _Returns, offset: int, keep: object) -> None:
        self._returns = returns
        self._offset = offset
        self._keep = keep
        returns.borrowed += 1

    def __del__(self) -> None:
        self._returns.give_back(self._offset)


class StreamReader(ReceivingEnd):
    """Receives the items of one subscription.

    `receive` returns None when no item waits. `hung_up` is True when the sender is gone and all was
    read.

    Args:
        data_type: Frame or a signal block type.
        record_fd: Read end of the pipe of records; owned.
        return_fd: Write end of the pipe of returned slots; owned.
        memory_fd: The stream's memory; owned.
        max_borrowed: Items that may be held at once.
        queue_items: Items that may wait, at least.
    """

    def __init__(
        self,
        data_type: DataType,
        record_fd: int,
        return_fd: int,
        memory_fd: int,
        *,
        max_borrowed: int,
        queue_items: int = 1,
    ) -> None:
        super().__init__(data_type)
        self.hung_up = False
        pipe_items = fcntl.fcntl(record_fd, fcntl.F_GETPIPE_SZ) // RECORD.size
        self._full_from = max(1, min(queue_items, pipe_items // 4))
        self._fd = record_fd
        self._memory_fd = memory_fd
        self._returns = _Returns(return_fd)
        self._max_borrowed = max_borrowed
        self._memory: SubscriberMemory | None = None
        self._held: deque[weakref.ref[Frame]] = deque()
        self._ahead: deque[bytes] = deque()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def receive(self) -> Any | None:
        """Return the next item, or None when none waits.

        Raises:
            StreamError: The receiver holds as many items as it may.
        """
        if self.data_type is DataType.Frame:
            self._release_held_frames()
        record = self._ahead.popleft() if self._ahead else self._read()
        if record is None:
            return None
        seq, offset = RECORD.unpack(record)
        if self._memory is None:  # the sender has sized it before it sent anything
            self._memory = SubscriberMemory(self._memory_fd)
        address = self._memory.address(offset)
        borrowed = _Borrowed(self._returns, offset, self._memory.keep)
        item: Any
        if self.data_type is DataType.Frame:
            item = codec.frame_from(address, borrowed)
            self._held.append(weakref.ref(item))
        else:
            item = codec.signal_block_from(address, self.data_type)
        self._count(seq)
        return item

    def _read(self) -> bytes | None:
        """Read one record, no more: the sender counts those that wait in the pipe."""
        try:
            record = os.read(self._fd, RECORD.size)
        except BlockingIOError:
            self._emptied = True
            return None
        if not record:
            self.hung_up = True
            return None
        self._note_read(1)
        return record

    def read_ahead(self) -> None:
        """Take all records out of the pipe, to be received later."""
        while (record := self._read()) is not None:
            self._ahead.append(record)

    def cut_off(self) -> None:
        """Receive nothing more, in a fork: the items are for the process that was forked."""
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._ahead.clear()

    def _release_held_frames(self) -> None:
        """Copy the oldest frames that a script keeps, which frees their shared memory."""
        held = self._held
        while held and held[0]() is None:
            held.popleft()
        if len(held) >= self._max_borrowed - 1:
            alive = [frame for ref in held if (frame := ref()) is not None]
            held.clear()
            for frame in alive[: -(self._max_borrowed // 2) or None]:
                frame.detach()
            held.extend(weakref.ref(frame) for frame in alive if frame.is_shared)
        if self._returns.borrowed >= self._max_borrowed:
            raise StreamError(
                f"{self._returns.borrowed} frames of this stream are held at once",
                remedy="Copy what you keep: kept = frame.mat, or kept = frame.view.copy().",
            )

    def close(self) -> None:
        """Close the pipes; views of frames that are still held stay valid."""
        if self._fd < 0:
            return
        os.close(self._fd)
        os.close(self._memory_fd)
        self._fd = -1
        self._returns.close()
        if self._memory is not None:
            self._memory.close()
