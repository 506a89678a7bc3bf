"""Input and output ports of a worker: a module's ends of its streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from mlink.control import InputCount
from mlink.errors import StreamError
from mlink.metadata import Metadata
from mlink.module import PortSpec
from mlink.transport.memory import SenderMemory
from mlink.transport.outlet import Outlet
from mlink.transport.plan import StreamPlan
from mlink.transport.reader import StreamReader
from mlink.transport.records import RecordReader, RecordWriter
from mlink.transport.writer import LoanedFrame, StreamWriter
from mlink.types import DataType, StreamItem


class Pulled(NamedTuple):
    """An item that was received but not dispatched; `payload` is None for shared memory."""

    seq: int
    payload: bytes | None
    item: Any


class WorkerInput:
    """One input port; the host calls `take` to dispatch the items that have arrived.

    All methods belong to the worker's main thread.
    """

    def __init__(self, spec: PortSpec) -> None:
        self.id = spec.id
        self.title = spec.title or spec.id
        self.data_type: DataType = spec.data_type
        self.metadata: Metadata = {}
        self.on_item: Callable[[Any], object] | None = None
        self.on_gap: Callable[[int], None] | None = None
        self.source = ""
        self.feedback = False
        self.ended = False
        self.discard = False
        self.waiting = False
        """Whether items may have arrived that are not dispatched yet."""
        self.slowest_s = 0.0
        """Longest `take` that was ended by its time, in s: it has the slowest item."""
        self.note: Callable[[int, bytes | None, Any], int] | None = None
        """Called with (sequence number, payload, item) before a dispatch; returns the time."""
        self.before: Callable[[], object] | None = None
        """In virtual time: called before a dispatch, lets the module's computing time pass."""
        self.timed: Callable[[Callable[[Any], object], Any], object] | None = None
        """Called with the handler and an item, to call it and take its time."""
        self._reader: StreamReader | RecordReader | None = None
        self._lossless = False
        self._end_count: int | None = None
        self._throttle_usec = 0
        self._next_allowed_usec = 0

    @property
    def connected(self) -> bool:
        """Whether a stream is subscribed."""
        return self._reader is not None

    @property
    def sent_ns(self) -> int:
        """See `InputPort`."""
        return 0 if self._reader is None else self._reader.sent_ns

    @property
    def count(self) -> InputCount:
        """Counts of items received and lost so far.

        Zeros without a subscription.
        """
        reader = self._reader
        if reader is None:
            return InputCount(0, 0)
        return InputCount(reader.received, reader.lost, reader.first_item_ns)

    @property
    def taken(self) -> int:
        """Items of the stream that were received or are known to be lost.

        So it is also the number that the stream's next item has.
        """
        reader = self._reader
        return 0 if reader is None else reader.received + reader.lost

    @property
    def doubtful(self) -> bool:
        """Whether items may be lost that neither a later one nor the end has shown yet."""
        return self._reader is not None and self._reader.doubtful

    @property
    def hung_up(self) -> bool:
        """Whether the pipe's writer is gone and everything was read.

        While the end of the stream is not known, this means that the source has died.
        """
        return self._reader is not None and self._reader.hung_up

    def connect_pipe(self, fd: int, store: int, *, lossless: bool, queue: int = 0) -> None:
        """Open the subscription to a stream of small items.

        Args:
            fd: The pipe's reading end; owned by the input from then on.
            store: The subscription's store; owned, too.
            lossless: Whether a gap ends the run, as of commands.
            queue: Items that may wait; 0 bounds them by bytes.
        """
        self._lossless = lossless
        self._reader = RecordReader(self.data_type, fd, store, queue=queue)

    def connect(self, plan: StreamPlan, memory: int, records: int, returned: int) -> None:
        """Open the subscription to a stream in shared memory, with its three descriptors.

        Args:
            plan: Layout of the shared memory.
            memory: Descriptor of the memory.
            records: The pipe that brings slot numbers.
            returned: The pipe that takes them back.
        """
        self._reader = StreamReader(
            self.data_type,
            records,
            returned,
            memory,
            max_borrowed=plan.max_borrowed,
            queue_items=min(plan.queues, default=1),
        )

    def set_throttle(self, items_per_sec: float) -> None:
        """Dispatch at most this many items per second and drop the others; 0 removes the limit.

        Dropped items count as received, not as lost.
        """
        self._throttle_usec = round(1_000_000 / items_per_sec) if items_per_sec > 0 else 0
        self._next_allowed_usec = self._next_allowed_usec if self._throttle_usec else 0

    def cut_off(self) -> None:
        """Dispatch no further item, in a fork of the process."""
        if self._reader is not None:
            self._reader.cut_off()

    def pull(self) -> Iterator[Pulled]:
        """Yield the items that have arrived, without dispatching them.

        `dispatch` dispatches them later, under the same rules as at once.
        """
        reader = self._reader
        while reader is not None and (item := reader.receive()) is not None:
            yield Pulled(reader.seq, reader.payload, item)

    def dispatch(self, pulled: Pulled, now_usec: int) -> None:
        """Dispatch an item of `pull`; `now_usec` is master time, for the throttle.

        An input without a handler, or that discards, drops the item.
        """
        if self.discard or self.on_item is None:
            return
        if self.note is not None:
            self.note(pulled.seq, pulled.payload, pulled.item)
        if self._allowed(now_usec):
            self.on_item(pulled.item)

    @property
    def end_known(self) -> bool:
        """Whether the source has declared how many items its stream has."""
        return self._end_count is not None

    def read_ahead(self) -> None:
        """Read all items from the pipe into memory, to be dispatched later; empties the pipe.

        In virtual time this makes room for a source that waits, so that no item is lost.
        """
        if self._reader is not None:
            self._reader.read_ahead()

    def note_end(self, sent: int) -> None:
        """Set the number of items of the stream, which is complete; -1 if that is unknown.

        `take` ends the input when this many items were received or are known to be lost.
        """
        self._end_count = sent
        self.waiting = True

    def take(self, limit: int, now_usec: Callable[[], int], until_s: float = inf) -> bool:
        """Dispatch the items that have arrived.

        Args:
            limit: Most items to dispatch.
            now_usec: Returns master time in µs, for the throttle.
            until_s: Dispatch no further item after this time (time.monotonic).

        Returns:
            Whether more items may wait.

        Raises:
            StreamError: An item of a lossless stream was lost.
        """
        reader = self._reader
        if reader is None or self.ended:
            return False
        began_s = monotonic()
        for _ in range(limit):
            item = reader.receive()
            if item is None:
                if self._end_count is None:
                    return False
                # After a short read the reader returns None once without asking the kernel. The
                # last items arrived before their count did, so they are there by now.
                item = reader.receive()
            if item is None:
                self._finish_if_ended(reader)
                return False
            if reader.gap:
                self._gap(reader.gap)
            if self.discard or self.on_item is None:
                continue
            if self.note is not None or self._throttle_usec:
                if self.note is None:
                    now = now_usec()
                else:
                    now = self.note(reader.seq, reader.payload, item)
                if not self._allowed(now):
                    continue
            if self.before is not None:
                self.before()
            if self.timed is None:
                self.on_item(item)
            else:
                self.timed(self.on_item, item)
            if (now_s := monotonic()) >= until_s:
                self.slowest_s = max(self.slowest_s, now_s - began_s)
                return True
        return True

    def _allowed(self, now_usec: int) -> bool:
        """Return whether the throttle allows an item now, and start its next interval."""
        if now_usec < self._next_allowed_usec:
            return False
        if self._throttle_usec:
            self._next_allowed_usec = now_usec + self._throttle_usec
        return True

    def _finish_if_ended(self, reader: StreamReader | RecordReader) -> None:
        if self._end_count is None:
            return
        self.ended = True
        if missing := reader.note_end(self._end_count):
            self._gap(missing)

    def _gap(self, lost: int) -> None:
        """Pass a gap to the module; the engine logs it, as it knows the cause."""
        if self.on_gap is not None and not self.discard:
            self.on_gap(lost)
        if self._lossless and not self.discard:
            raise StreamError(
                f"{lost} item(s) of the control stream {self.source} were lost: "
                f"input '{self.id}' could not keep up",
                remedy="Send fewer commands at once, or give the input a longer queue.",
            )

    def close(self) -> None:
        """Close the subscription."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


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
        self.sender: int | None = None
        """In virtual time: the only thread that may send; None allows all."""
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

    def open_pipes(self, pipes: list[int], queues: list[int]) -> None:
        """Begin a stream of small items, with the pipe and the store of each subscription."""
        ends = list(zip(pipes[::2], pipes[1::2], strict=True))
        self._writer = RecordWriter(
            self.data_type, ends, queues, while_full=self.while_full, losing=self.losing
        )
        self._writer.note = self.note
        if self.now_ns is not None:
            self._writer.now_ns = self.now_ns

    def open(self, plan: StreamPlan | None, descriptors: list[int]) -> None:
        """Begin a stream in shared memory; without a plan items are only counted.

        Args:
            plan: The stream's layout; None without subscribers.
            descriptors: The memory, then the pipe of records and the pipe of returned slots of
                each subscription, in the order of `plan.queues`.
        """
        if plan is None:
            self._writer = StreamWriter(self.data_type)
            return
        memory, *pipes = descriptors
        outlets = [
            Outlet(records, returned, queue_items=queue, borrowed_items=plan.max_borrowed)
            for records, returned, queue in zip(pipes[::2], pipes[1::2], plan.queues, strict=True)
        ]
        self._writer = StreamWriter(
            self.data_type,
            SenderMemory(memory, plan.item_bytes),
            outlets,
            lossless=self.while_full is not None,
            losing=self.losing,
        )

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
            raise StreamError(f"'{self.id}' of {self.data_type.value} has no frames to loan")
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
        if self.sender is not None and threading.get_ident() != self.sender:
            raise StreamError(
                f"the thread '{threading.current_thread().name}' sends on '{self.id}': in virtual "
                "time a module sends in its turns, which are in its main thread",
                remedy="Let context.waiting or context.call_later make the call that sends, or run "
                "in real time.",
            )
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
