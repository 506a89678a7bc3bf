"""The publisher's end of a stream of frames or signal blocks, in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlink.errors import StreamError
from mlink.transport import codec
from mlink.transport.counts import SendingEnd
from mlink.transport.doorbell import Doorbell
from mlink.transport.node import Publisher
from mlink.types import DataType, Frame, SignalBlock, StreamItem

_MAX_FRAME_DIMENSIONS = 3


class LoanedFrame:
    """A frame's memory, loaned from its stream. Write to `array`, then call `send` or `discard`."""

    __slots__ = ("_loan", "_writer", "array")

    def __init__(self, writer: StreamWriter, loan: Any, array: NDArray[Any]) -> None:
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

    Args:
        data_type: Type of the stream.
        publisher: The publisher, to be owned. None, when there are no subscribers, checks and
            counts items only.
        doorbells: Doorbells of the subscribers, to be owned; rung after each item.
        frame_limit_bytes: Largest frame that is accepted.
        must_reach: Number of subscribers that each item has to reach; fewer are a StreamError.
    """

    def __init__(
        self,
        data_type: DataType,
        publisher: Publisher | None = None,
        doorbells: Sequence[Doorbell] = (),
        *,
        frame_limit_bytes: int = 256 << 20,
        must_reach: int = 0,
    ) -> None:
        super().__init__(data_type)
        self._publisher = publisher
        self._doorbells = tuple(doorbells)
        self._frame_limit_bytes = frame_limit_bytes
        self._must_reach = must_reach

    @property
    def listened(self) -> bool:
        """Whether there are subscribers."""
        return self._publisher is not None

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
            if self._publisher is not None:
                loan = self._publisher.loan(size)
                codec.write_signal_block(loan.payload_ptr, self.sent, timestamps, data)
                self._publish(self._publisher, loan)
            self.sent += 1
        self._ring()

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> LoanedFrame:
        """Loan memory for a frame; ordinary memory when there are no subscribers.

        Args:
            shape: H×W or H×W×C.
            dtype: Type of a pixel's elements.

        Raises:
            StreamError: The frame cannot be sent, memory is used up, or the stream has ended.
        """
        if self.data_type is not DataType.Frame:
            raise StreamError(f"a {self.data_type.value} port has no frames to loan")
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
        if self._publisher is None:
            return LoanedFrame(self, None, np.empty(shape, element))
        with self._lock:
            self._check_open()
            loan = self._publisher.loan(codec.HEADER_BYTES + size)
        array = codec.array_at(loan.payload_ptr + codec.HEADER_BYTES, tuple(shape), element, loan)
        return LoanedFrame(self, loan, array)

    def send_loan(self, loan: Any, array: NDArray[Any], *, index: int, time_usec: int) -> None:
        """Publish a loaned frame with the next sequence number; called by LoanedFrame."""
        with self._lock:
            self._check_open()
            if self._publisher is not None:
                codec.write_array_header(
                    loan.payload_ptr, self.sent, array, index=index, time_usec=time_usec
                )
                self._publish(self._publisher, loan)
            self.sent += 1
        self._ring()

    def _publish(self, publisher: Publisher, loan: Any) -> None:
        if publisher.send(loan) < self._must_reach:
            raise StreamError(
                f"item {self.sent} did not reach all its subscribers: a queue is full",
                remedy="In a replay nothing may be lost: give the inputs of this stream a longer "
                'queue in the bench, e.g. frames-in = { from = "cam.video", queue = 1000 }.',
            )

    def _ring(self) -> None:
        for doorbell in self._doorbells:
            doorbell.ring()

    def close(self) -> None:
        """Close the publisher and the doorbells; calling it again does nothing."""
        with self._lock:
            self.ended = True
            if self._publisher is not None:
                self._publisher.close()
                self._publisher = None
        for doorbell in self._doorbells:
            doorbell.close()
        self._doorbells = ()
