"""The publisher's end of a stream of frames or signal blocks, in shared memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlink.errors import StreamError
from mlink.transport import codec
from mlink.transport.counts import SendingEnd
from mlink.transport.memory import SenderMemory, Slot
from mlink.transport.outlet import RECORD, Outlet
from mlink.types import DataType, Frame, SignalBlock, StreamItem

_MAX_FRAME_DIMENSIONS = 3
_LARGE_ITEM_BYTES = 1 << 18


class _Loan:
    """Owns a slot until it is sent; an unsent one goes back when the loan is dropped."""

    __slots__ = ("_keep", "_unsent", "slot")

    def __init__(self, slot: Slot, keep: object, unsent: deque[Slot]) -> None:
        self.slot: Slot | None = slot
        self._keep = keep
        self._unsent = unsent

    def __del__(self) -> None:
        # Runs in any thread, even while the writer's lock is held: hence the queue.
        if self.slot is not None:
            self._unsent.append(self.slot)


class LoanedFrame:
    """A frame's memory, loaned from its stream. Write to `array`, then call `send` or `discard`."""

    __slots__ = ("_loan", "_writer", "array")

    def __init__(self, writer: StreamWriter, loan: _Loan | None, array: NDArray[Any]) -> None:
        self._writer = writer
        self._loan = loan
        self.array = array

    def send(self, *, index: int, time_usec: int) -> None:
        """Publish the frame.

        Args:
            index: Number of the frame.
            time_usec: Master time of the frame.

        Raises:
            StreamError: It was sent or discarded before, or the stream has ended.
        """
        loan, array = self._loan, self.array
        self._loan = None
        if loan is None and self._writer.listened:
            raise StreamError("this frame has been sent or discarded already")
        self._writer.send_loan(loan, array, index=index, time_usec=time_usec)

    def discard(self) -> None:
        """Free the memory without sending."""
        self._loan = None


class StreamWriter(SendingEnd):
    """Sends the frames or signal blocks of one output port; safe to use from several threads.

    Without outlets (no subscriber) items are checked and counted only.

    Args:
        data_type: Frame or a signal block type.
        memory: The stream's memory, owned; None without outlets.
        outlets: One for each subscription, owned.
        frame_limit_bytes: Size of the largest frame that is accepted.
        lossless: An item that does not reach all subscribers is a StreamError (virtual time).
        losing: With `lossless`: for each outlet, whether it may lose items nevertheless.
    """

    def __init__(
        self,
        data_type: DataType,
        memory: SenderMemory | None = None,
        outlets: Sequence[Outlet] = (),
        *,
        frame_limit_bytes: int = 256 << 20,
        lossless: bool = False,
        losing: Sequence[bool] = (),
    ) -> None:
        super().__init__(data_type, len(outlets))
        self._must_reach = [lossless and not loses for loses in losing or (False,) * len(outlets)]
        self._memory = memory
        self._outlets = tuple(outlets)
        self._frame_limit_bytes = frame_limit_bytes
        self._unsent: deque[Slot] = deque()

    @property
    def listened(self) -> bool:
        """Whether anything subscribes."""
        return self._memory is not None

    def submit(self, item: StreamItem) -> None:
        """Send one item. Never waits: a subscriber with a full queue loses it.

        Raises:
            StreamError: The item does not fit the stream, or the stream has ended.
        """
        if self.data_type is DataType.Frame:
            self._submit_frame(item)
        else:
            self._submit_signal_block(item)

    def _submit_frame(self, item: object) -> None:
        if not isinstance(item, Frame):
            raise codec.wrong_type(item, self.data_type)
        pixels = item.view
        if not isinstance(pixels, np.ndarray):
            raise StreamError(f"frame.mat must be a NumPy array, not {type(pixels).__name__}")
        loaned = self.loan_frame(pixels.shape, pixels.dtype)
        np.copyto(loaned.array, pixels)
        loaned.send(index=item.index, time_usec=item.time_usec)

    def _submit_signal_block(self, item: object) -> None:
        timestamps, data = codec.checked_signal_block(item, self.data_type)
        assert isinstance(item, SignalBlock)
        size = codec.HEADER_BYTES + timestamps.nbytes + data.nbytes
        with self._lock:
            self._check_open()
            if self._memory is not None:
                slot = self._take(self._memory, size)
                address = self._memory.address(slot)
                codec.write_signal_block(address, self.sent, timestamps, data)
                self._publish(self._memory, slot)
            self.sent += 1

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> LoanedFrame:
        """Loan memory for a frame; ordinary memory when there are no subscribers.

        Args:
            shape: H×W or H×W×C.
            dtype: Type of a pixel's elements.

        Raises:
            StreamError: The frame cannot be sent, memory is used up, or the stream has ended.
        """
        if self.data_type is not DataType.Frame:
            raise StreamError(f"a {self.data_type.name} port has no frames to loan")
        element = np.dtype(dtype)
        codec.element_code(element)
        count = int(np.prod(shape, dtype=np.int64))
        if not 2 <= len(shape) <= _MAX_FRAME_DIMENSIONS or count == 0:
            raise StreamError(
                f"a frame must be H×W or H×W×C and not empty, not of shape {tuple(shape)}"
            )
        size = count * element.itemsize
        if size > self._frame_limit_bytes:
            raise StreamError(
                f"a frame of {size} bytes is larger than the limit of "
                f"{self._frame_limit_bytes} bytes"
            )
        with self._lock:
            memory = self._memory
            if memory is None:
                return LoanedFrame(self, None, np.empty(shape, element))
            self._check_open()
            slot = self._take(memory, codec.HEADER_BYTES + size)
            loan = _Loan(slot, memory.keep, self._unsent)
        address = memory.address(slot) + codec.HEADER_BYTES
        return LoanedFrame(self, loan, codec.array_at(address, tuple(shape), element, loan))

    def send_loan(
        self, loan: _Loan | None, array: NDArray[Any], *, index: int, time_usec: int
    ) -> None:
        """Number and publish a loaned frame; called by LoanedFrame.

        Args:
            loan: The slot that was loaned; None without subscribers.
            array: The frame's pixels in that slot.
            index: The frame's index.
            time_usec: The frame's time in µs on the master timer.

        Raises:
            StreamError: The stream has ended, or in a replay a queue is full.
        """
        with self._lock:
            self._check_open()
            if self._memory is not None and loan is not None and loan.slot is not None:
                slot, loan.slot = loan.slot, None
                codec.write_array_header(
                    self._memory.address(slot), self.sent, array, index=index, time_usec=time_usec
                )
                self._publish(self._memory, slot)
            self.sent += 1

    def _take(self, memory: SenderMemory, size: int) -> Slot:
        """Take a free slot, for large items the one that was returned last.

        That one is in the processor's cache, which saves more than the system calls cost.
        """
        while self._unsent:
            memory.give_back(self._unsent.popleft())
        if size >= _LARGE_ITEM_BYTES or not memory.has_free(size):
            for number in range(len(self._outlets)):
                self._collect(memory, number)
        return memory.take(size)

    def _collect(self, memory: SenderMemory, number: int) -> None:
        """Free the slots that one subscriber has returned; all that it held when it is gone."""
        outlet, bit = self._outlets[number], 1 << number
        returned = [memory.find(offset) for offset in outlet.returned()]
        if not outlet.alive:
            returned = list(memory.slots())
        for slot in returned:
            if slot is not None and slot.lent_to & bit:
                slot.lent_to &= ~bit
                if not slot.lent_to:
                    memory.give_back(slot)

    def _publish(self, memory: SenderMemory, slot: Slot) -> None:
        """Offer a filled slot to each subscription, and count those that it does not reach."""
        record = RECORD.pack(self.sent, slot.offset)
        refused = False
        for number, outlet in enumerate(self._outlets):
            if outlet.is_full:
                self._collect(memory, number)
            if outlet.offer(record):
                slot.lent_to |= 1 << number
            else:
                self.lost[number] += 1
                refused |= self._must_reach[number]
        if not slot.lent_to:
            memory.give_back(slot)
        if refused:
            raise StreamError(
                f"item {self.sent} did not reach all its subscribers: a queue is full",
                remedy="In virtual time nothing may be lost: give the inputs of this stream a "
                'longer queue in the bench, e.g. frames-in = { from = "cam.video", queue = 1000 }.',
            )

    def close(self) -> None:
        """Give the memory and the outlets back."""
        with self._lock:
            self.ended = True
            for outlet in self._outlets:
                outlet.close()
            self._outlets = ()
            if self._memory is not None:
                self._memory.close()
                self._memory = None
