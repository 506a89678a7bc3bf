"""An output of a worker: sends a module's items to the subscriptions of its stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from mlink.errors import MlinkError, StreamError
from mlink.metadata import Metadata
from mlink.module import PortSpec
from mlink.transport.memory import SenderMemory
from mlink.transport.outlet import Outlet
from mlink.transport.plan import StreamPlan
from mlink.transport.records import RecordWriter
from mlink.transport.writer import LoanedFrame, StreamWriter
from mlink.types import DataType, StreamItem


class WorkerOutput:
    """One output port; it rejects items before `open` or `open_pipes`.

    `submit`, `loan_frame` and `note_lost` may be called from any thread.
    """

    def __init__(self, spec: PortSpec) -> None:
        self.id = spec.id
        self.title = spec.title or spec.id
        self.data_type: DataType = spec.data_type
        self.metadata: Metadata = {}
        self.frozen = False
        self.while_full: Callable[[], object] | None = None
        """In virtual time: called while a subscriber's queue is full, instead of dropping."""
        self.losing: Sequence[bool] = ()
        """With `while_full`: whether each subscription loses items nevertheless."""
        self.note: Callable[[bytes], object] | None = None
        """Called with the payload of each small item that is sent."""
        self.now_ns: Callable[[], int] | None = None
        """Clock of the times that travel with items; None is CLOCK_MONOTONIC."""
        self._sender: int | None = None
        """The only thread that may send; None allows all."""
        self._refused: Callable[[MlinkError], object] | None = None
        self._writer: StreamWriter | RecordWriter | None = None

    @property
    def connected(self) -> bool:
        """Whether the stream has a subscriber."""
        return self._writer is not None and self._writer.listened

    @property
    def sent(self) -> int:
        """Number of items sent.

        Skipped items are included.
        """
        return 0 if self._writer is None else self._writer.sent

    @property
    def lost(self) -> list[int]:
        """Items that did not get into each subscription, in the order of the subscriptions.

        Counted when it happens, so that sent = received + lost + queued at every moment.
        """
        return [] if self._writer is None else list(self._writer.lost)

    @property
    def skipped(self) -> int:
        """Items that the source lost before it could send them.

        They are counted in `sent` and `lost`, too.
        """
        return 0 if self._writer is None else self._writer.skipped

    def _begin(self, writer: StreamWriter | RecordWriter) -> None:
        """Send by this writer, by its own method: two calls less for each item."""
        self._writer = writer
        if self._sender is None:
            self.submit = writer.submit  # type: ignore[method-assign]

    def restrict_to(self, thread: int, refused: Callable[[MlinkError], object]) -> None:
        """Let this thread alone send: in virtual time a module sends in its turns.

        Args:
            thread: Its identifier.
            refused: Called with why another thread's item was not sent, in that thread; the error
                that it gets as well may end it unseen.
        """
        self._sender, self._refused = thread, refused
        self.__dict__.pop("submit", None)  # the method of this class looks at the thread

    def open_pipes(self, pipes: list[int], queues: list[int]) -> None:
        """Begin a stream of small items, with the pipe and the store of each subscription."""
        ends = list(zip(pipes[::2], pipes[1::2], strict=True))
        writer = RecordWriter(
            self.data_type, ends, queues, while_full=self.while_full, losing=self.losing
        )
        writer.note = self.note
        if self.now_ns is not None:
            writer.now_ns = self.now_ns
        self._begin(writer)

    def open(self, plan: StreamPlan | None, descriptors: list[int]) -> None:
        """Begin a stream in shared memory; without a plan items are only counted.

        Args:
            plan: The stream's layout; None without subscribers.
            descriptors: The memory, then the pipe of records and the pipe of returned slots of
                each subscription, in the order of `plan.queues`.
        """
        if plan is None:
            self._begin(StreamWriter(self.data_type))
            return
        memory, *pipes = descriptors
        outlets = [
            Outlet(records, returned, queue_items=queue, borrowed_items=plan.max_borrowed)
            for records, returned, queue in zip(pipes[::2], pipes[1::2], plan.queues, strict=True)
        ]
        writer = StreamWriter(
            self.data_type,
            SenderMemory(memory, plan.item_bytes),
            outlets,
            lossless=self.while_full is not None,
            losing=self.losing,
        )
        self._begin(writer)

    def submit(self, item: StreamItem) -> None:
        """Send one item; never waits in real time.

        Raises:
            StreamError: The run has not started, the stream has ended, or the item has the wrong
                type or size.
        """
        self._open_writer().submit(item)

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> LoanedFrame:
        """Loan shared memory for a frame.

        Args:
            shape: (height, width) or (height, width, channels) in pixels.
            dtype: Type of one value.

        Raises:
            StreamError: The stream is not open, or is no stream of frames.
        """
        writer = self._open_writer()
        if not isinstance(writer, StreamWriter):
            raise StreamError(f"'{self.id}' of {self.data_type.name} has no frames to loan")
        return writer.loan_frame(shape, dtype)

    def note_lost(self, count: int) -> None:
        """Leave a gap of `count` items in the stream: they were lost before they could be sent.

        Subscribers see the gap in the sequence numbers and count the items as lost.
        """
        if self._writer is not None:
            self._writer.skip(count)

    def cut_off(self) -> None:
        """Refuse to send, in a fork of the process."""
        if self._writer is not None:
            self._writer.cut_off()

    def _open_writer(self) -> StreamWriter | RecordWriter:
        if self._writer is None:
            raise StreamError(
                f"nothing can be sent on '{self.id}' yet: the run has not started",
                remedy="Send from start() on; prepare() is for metadata.",
            )
        if self._sender is not None and threading.get_ident() != self._sender:
            error = StreamError(
                f"the thread '{threading.current_thread().name}' sends on '{self.id}': in virtual "
                "time a module sends in its turns, which are in its main thread",
                remedy="Let context.waiting or context.call_later make the call that sends, or run "
                "in real time.",
            )
            if self._refused is not None:
                self._refused(error)
            raise error
        return self._writer

    def end(self) -> int:
        """End the stream; return the number of items sent.

        Skipped items are included. Sending after it raises StreamError.
        """
        return 0 if self._writer is None else self._writer.end()

    def close(self) -> None:
        """Close the pipes or the publisher."""
        if self._writer is not None:
            self._writer.close()
