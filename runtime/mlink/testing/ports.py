"""Ports of a script that runs without a bench.

A test feeds the inputs and reads what was sent from the outputs. Items are checked and copied as by
the streams of a real run, with the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlink.errors import StreamError
from mlink.metadata import Metadata
from mlink.module import PortSpec
from mlink.transport import codec
from mlink.transport.codec import is_small
from mlink.transport.records import RecordWriter
from mlink.transport.writer import StreamWriter
from mlink.types import DataType, Frame, SignalBlock, StreamItem


def received(item: Any, data_type: DataType) -> Any:
    """Return a copy of an item as another module would receive it; cells of rows become text.

    Small items are encoded and decoded as in a pipe; frames and signal blocks are copied.
    """
    if codec.is_small(data_type):
        return codec.small_decoder(data_type)(codec.small_encoder(data_type)(item))
    if data_type is DataType.Frame:
        frame = cast("Frame", item)
        return Frame.from_shared(frame.view.copy(), frame.index, frame.time_usec)
    block = cast("SignalBlock", item)
    copy = type(block)()
    copy.timestamps = block.timestamps.copy()
    copy.data = block.data.copy()
    return copy


def unsubscribed_writer(data_type: DataType) -> StreamWriter | RecordWriter:
    """Return a writer without subscribers, which checks items and counts them.

    It raises the same errors for wrong items as the writer of a run.
    """
    return RecordWriter(data_type) if is_small(data_type) else StreamWriter(data_type)


class RunnerInput:
    """An input port, fed by a test through `accept` and `deliver`.

    Args:
        spec: Its id and type.
        metadata: Of the stream that the test stands for.
    """

    def __init__(self, spec: PortSpec, metadata: Metadata) -> None:
        self.id = spec.id
        self.data_type = spec.data_type
        self.connected = True
        self.sent_ns = 0
        self.metadata = metadata
        self.taken = 0
        self.doubtful = False
        self.on_item: Callable[[Any], object] | None = None
        self.on_gap: Callable[[int], None] | None = None
        self._throttle_usec = 0
        self._next_allowed_usec = 0
        self._check = unsubscribed_writer(spec.data_type)

    def set_throttle(self, items_per_sec: float) -> None:
        """Deliver at most this many items per second; 0 delivers all.

        Skipped items count as taken, as in a run.
        """
        self._throttle_usec = round(1_000_000 / items_per_sec) if items_per_sec > 0 else 0

    def accept(self, item: Any) -> Any:
        """Return the item as the script will receive it.

        Raises:
            StreamError: It is not of the port's type.
        """
        self._check.submit(item)
        return received(item, self.data_type)

    def deliver(self, item: Any, now_usec: int) -> None:
        """Call `on_item` with an item, unless it is not set or the throttle skips the item.

        Args:
            item: As `accept` has returned it.
            now_usec: Master time in µs, for the throttle.
        """
        self.taken += 1
        if self.on_item is None or (self._throttle_usec and now_usec < self._next_allowed_usec):
            return
        self._next_allowed_usec = now_usec + self._throttle_usec
        self.on_item(item)


class RunnerLoan:
    """A loaned frame in ordinary memory."""

    def __init__(self, port: RunnerOutput, array: NDArray[Any]) -> None:
        self.array = array
        self._port = port

    def send(self, *, index: int, time_usec: int) -> None:
        """Send the frame."""
        self._port.submit(Frame.from_array(self.array, index, time_usec))

    def discard(self) -> None:
        """Do nothing; the memory is freed with the object."""


class RunnerOutput:
    """An output port; `items` are what was sent, as subscribers would receive it.

    Args:
        spec: Its id and type.
        metadata: Filled by the script.
    """

    def __init__(self, spec: PortSpec, metadata: Metadata) -> None:
        self.id = spec.id
        self.data_type = spec.data_type
        self.connected = True
        self.metadata = metadata
        self.frozen = False
        self.items: list[Any] = []
        self._writer: StreamWriter | RecordWriter | None = None

    def open(self) -> None:
        """Allow sending, from the start of the run."""
        self._writer = unsubscribed_writer(self.data_type)

    def end(self) -> None:
        """Refuse further items, after stop() has returned.

        Sending after it raises StreamError, as in a run.
        """
        if self._writer is not None:
            self._writer.end()

    def submit(self, item: StreamItem) -> None:
        """Check an item as a stream does, and keep it.

        Raises:
            StreamError: The run has not started or has ended, or the item does not fit.
        """
        if self._writer is None:
            raise StreamError(
                f"nothing can be sent on '{self.id}' yet: the run has not started",
                remedy="Send from start() on; prepare() is for metadata.",
            )
        self._writer.submit(item)
        self.items.append(received(item, self.data_type))

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> RunnerLoan:
        """Return ordinary memory for a frame."""
        return RunnerLoan(self, np.zeros(shape, dtype))

    def note_lost(self, count: int) -> None:
        """Leave a gap of `count` items in the stream.

        Sequence numbers are skipped; before the start it does nothing.
        """
        if self._writer is not None:
            self._writer.skip(count)
