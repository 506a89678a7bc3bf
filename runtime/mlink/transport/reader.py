"""The subscriber's end of a stream of frames or signal blocks, in shared memory."""

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
    """Receives the items of one subscription.

    Frames stay in shared memory, read-only, until their last view is gone. When a script keeps
    nearly as many as the subscription may hold, the oldest are copied. Signal blocks are copies.

    Args:
        data_type: Type of the stream.
        subscriber: The subscriber, to be owned.
        max_borrowed: Items that may be held at once, as in the stream's plan.
    """

    def __init__(self, data_type: DataType, subscriber: Subscriber, *, max_borrowed: int) -> None:
        super().__init__(data_type)
        self._subscriber = subscriber
        self._max_borrowed = max_borrowed
        self._held: deque[weakref.ref[Frame]] = deque()

    def receive(self) -> Any | None:
        """Return the next item, or None when the queue is empty.

        Raises:
            StreamError: Views of too many frames are held.
        """
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
        """Copy the oldest frames that a script keeps, which frees their shared memory."""
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
        """Close the subscriber."""
        self._subscriber.close()
