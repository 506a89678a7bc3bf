"""An input of a worker: receives the items of one subscription and dispatches them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from mlink.control import InputCount
from mlink.errors import StreamError
from mlink.metadata import Metadata
from mlink.module import PortSpec
from mlink.transport.conversion import Convert, conversion
from mlink.transport.plan import StreamPlan
from mlink.transport.reader import StreamReader
from mlink.transport.records import RecordReader
from mlink.types import DataType


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
        self.in_place: WorkerInput | None = None
        """The input beside this one whose item is handled now."""
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
        self._convert: Convert | None = None
        """Converts the stream's items to the input's type; None if they are of that type."""
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
        if self.in_place is not None:
            return self.in_place.sent_ns
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
        source = DataType[plan.data_type]
        if source is not self.data_type:
            self._convert = conversion(source, self.data_type)
        self._reader = StreamReader(
            source,
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
            item = pulled.item
            self.on_item(item if self._convert is None else self._convert(item))

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
            if self._convert is not None:
                item = self._convert(item)
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
