"""The receiving end of a stream of frames or signal blocks; counts what is missing."""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from typing import Any

from mlink.transport import codec
from mlink.transport.counts import ReceivingEnd
from mlink.transport.node import Subscriber
from mlink.types import DataType, Frame


class StreamReader(ReceivingEnd):
    """Receives one subscription's items.

    `receive` returns None when nothing waits.
    """

    def __init__(self, data_type: DataType, subscriber: Subscriber, *, max_borrowed: int) -> None:
        super().__init__(data_type)
        self._subscriber = subscriber
        self._max_borrowed = max_borrowed
        self._held: deque[weakref.ref[Frame]] = deque()

    def receive(self) -> Any | None:
        """Return the next item, or None when none waits."""
        if self.data_type is DataType.Frame:
            self._release_held_frames()
        sample = self._subscriber.receive()
        if sample is None:
            return None
        address = sample.payload_ptr
        seq = ctypes.c_uint64.from_address(address).value
        item: Any
        if self.data_type is DataType.Frame:
            item = codec.frame_from(address, sample)
            self._held.append(weakref.ref(item))
        else:
            item = codec.signal_block_from(address, self.data_type)
        self._count(seq)
        return item

    def _release_held_frames(self) -> None:
        """Copy the oldest frames that a script keeps, so that their shared memory is free again."""
        held = self._held
        while held and held[0]() is None:
            held.popleft()
        if len(held) < self._max_borrowed - 1:
            return
        alive = [frame for ref in held if (frame := ref()) is not None]
        held.clear()
        for frame in alive[: -(self._max_borrowed // 2) or None]:
            frame.detach()
        held.extend(weakref.ref(frame) for frame in alive if frame.is_shared)

    def close(self) -> None:
        """Give the subscriber back."""
        self._subscriber.close()
