"""Recorded streams as sequences of items to send again, with the same contents and times."""

from __future__ import annotations

import functools
import queue
import threading
from array import array
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.module import OutputPort
from mlink.recording.journal.reading import Journal
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.table import Table
from mlink.recording.video import Video
from mlink.storage.runs import expand
from mlink.transport.codec import SIGNAL_BLOCKS, small_decoder
from mlink.types import DataType, Frame, LineReading

_ROWS = 4096
"""Rows that are made into items at once: as Python's numbers they need many times the memory."""
_EMPTY_BLOCKS = 1 << 20
"""Blocks without rows that a recording may have."""
_NEVER = 1 << 62
_FRAME_TIME, _FIRST_STAMP = 1, 0
"""Which of the two numbers in a journal identifies a frame, and a block."""
_LARGEST_READING = np.array([0xFFFF, 0xFFFFFFFF])
"""Line and value of a LineReading."""
_DECODED_AHEAD = 8
"""Frames decoded ahead in a thread, so that sending a frame need not wait for its decoding."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a stream: its master time in µs, and the function that sends it."""

    time_usec: int
    send: Callable[[], None]


Feed: TypeAlias = Generator[Item, None, None]


class Deliveries:
    """When modules received the items of a stream: a replay has to send each before.

    An item may have a time that is later than its arrival: of an estimate, or of a board's clock. A
    module with a journal receives it when it did in the lab, so by then it must have been sent.

    Args:
        journals: Those of the modules that received the stream.
        source: The stream, "module.port".
    """

    def __init__(self, journals: Sequence[Journal], source: str) -> None:
        self._journals, self._source = journals, source

    def bound(
        self, times: NDArray[np.int64], keys: NDArray[np.int64], place: int
    ) -> NDArray[np.int64]:
        """Return the times at which items are sent: their own, but no later than received.

        Args:
            times: Times of all items in µs, in their order.
            keys: What identifies each of them in a journal.
            place: _FRAME_TIME or _FIRST_STAMP.
        """
        known, number = np.unique(keys, return_inverse=True)
        earliest = np.full(len(known), _NEVER)
        for journal in self._journals:
            found, received = array("q"), array("q")
            for time_usec, what in journal.deliveries_of(self._source):
                if abs(what[place]) < _NEVER:
                    found.append(what[place])
                    received.append(time_usec)
            wanted = np.frombuffer(found, np.int64)
            at = np.searchsorted(known, wanted)
            recorded = np.isin(wanted, known)  # others the recorder has lost
            np.minimum.at(earliest, at[recorded], np.frombuffer(received, np.int64)[recorded])
        latest = earliest[number]
        in_order = np.minimum.accumulate(latest[::-1])[::-1]  # each before those that follow it
        return np.minimum(times, in_order)


def open_feed(
    dataset: RecordedStream, output: OutputPort, deliveries: Deliveries | None = None
) -> Feed:
    """Return the items of a dataset, to be sent on an output.

    Args:
        dataset: The recorded stream.
        output: Where its items are sent.
        deliveries: When frames and signal blocks were received; None if no journal has that.

    Raises:
        StorageError: The dataset has no such items, or some that cannot be sent as they were.
            (A picture that cannot be decoded: by the returned generator.)
    """
    if isinstance(dataset, Video):
        return _frames(dataset, output, deliveries)
    if isinstance(dataset, Table):
        return _rows(dataset, output)
    if not isinstance(dataset, Signals):
        return _nothing()  # the source sent nothing, so the dataset has no file
    if output.data_type is DataType.LineReading:
        return _readings(dataset, output)
    if output.data_type is DataType.TableRow:
        return _json_rows(dataset, output)
    return _blocks(dataset, output, deliveries)


def has_times(dataset: RecordedStream) -> bool:
    """Return whether the items of a dataset have times; those of others are sent at time 0."""
    try:
        _ = dataset.times_usec
    except StorageError:
        return False
    return True


def journal_feed(journal: Journal, source: str, output: OutputPort) -> Feed:
    """Return the items of a stream as a script received them, at the times of their delivery.

    Args:
        journal: The journal of a module that received the stream.
        source: The stream, "module.port".
        output: Where the items are sent.
    """
    decode = small_decoder(output.data_type)
    for time_usec, payload in journal.items_of(source):
        yield Item(time_usec, functools.partial(output.submit, decode(payload)))


def _nothing() -> Feed:
    yield from ()


def _frames(video: Video, output: OutputPort, deliveries: Deliveries | None) -> Feed:
    indices = expand(video.attributes.get("source_index_runs"), len(video))
    if indices is None or "source_index_first" not in video.attributes:
        indices = np.arange(len(video), dtype=np.int64)
    if (indices < 0).any():
        raise StorageError(f"'{video.name}' has frame numbers that no camera counts")
    due = video.times_usec
    if deliveries is not None:
        due = deliveries.bound(due, due, _FRAME_TIME)

    def items() -> Feed:
        for frame in _decoded_ahead(video):
            time_usec = int(due[frame.index])
            frame.index = int(indices[frame.index])
            yield Item(time_usec, functools.partial(output.submit, frame))

    return items()


def _decoded_ahead(video: Video) -> Generator[Frame, None, None]:
    """Yield the frames of a video; a thread decodes a few frames ahead."""
    frames: queue.Queue[Frame | BaseException | None] = queue.Queue(_DECODED_AHEAD)
    cancelled = threading.Event()

    def put(item: Frame | BaseException | None) -> bool:
        while not cancelled.is_set():
            try:
                frames.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def decode() -> None:
        try:
            for frame in video:
                if not put(frame):
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised where the frames are taken
            put(error)

    thread = threading.Thread(target=decode, name=f"decode {video.name}", daemon=True)
    thread.start()
    try:
        while (item := frames.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        cancelled.set()
        thread.join()


def _readings(data: Signals, output: OutputPort) -> Feed:
    if data.names != ["line_id", "value"]:
        raise StorageError(
            f"'{data.name}' has no line readings, but the columns {', '.join(data.names)}"
        )
    times, values = data.times_usec, data.values
    is_whole = not len(values) or values.dtype.kind in "iu"
    if not (is_whole and (values >= 0).all() and (values <= _LARGEST_READING).all()):
        raise StorageError(f"'{data.name}' has lines or values that no board sends")

    def items() -> Feed:
        for at in range(0, len(values), _ROWS):
            stamps = times[at : at + _ROWS].tolist()
            for stamp, (line, value) in zip(stamps, values[at : at + _ROWS].tolist(), strict=True):
                reading = LineReading(line, value, stamp)
                yield Item(stamp, functools.partial(output.submit, reading))

    return items()


def _rows(table: Table, output: OutputPort) -> Feed:
    """Return rows at the times of their time column; without one all at time 0."""
    rows = table.rows
    times = table.times_usec if has_times(table) else np.zeros(len(rows), np.int64)

    def items() -> Feed:
        for at in range(0, len(rows), _ROWS):
            stamps = times[at : at + _ROWS].tolist()
            for stamp, row in zip(stamps, rows[at : at + _ROWS], strict=True):
                yield Item(stamp, functools.partial(output.submit, row))

    return items()


def _json_rows(data: Signals, output: OutputPort) -> Feed:
    values = data.values

    def items() -> Feed:
        for row in values:
            yield Item(0, functools.partial(output.submit, row.tolist()))

    return items()


def _blocks(data: Signals, output: OutputPort, deliveries: Deliveries | None) -> Feed:
    kind = SIGNAL_BLOCKS[output.data_type]
    times = data.times_usec
    stamps = _exact(data.timestamps, np.dtype(np.uint64), f"timestamps of '{data.name}'")
    values = _exact(data.values, kind.dtype, f"values of '{data.name}'")
    starts = _starts(data)
    titles = data.attributes.get("stream", {}).get("signal_names")
    if isinstance(titles, list) and len(titles) != len(data.names):
        raise StorageError(f"'{data.name}' has {len(data.names)} of {len(titles)} channels")

    ends = np.append(starts[1:], len(stamps))
    due, keys = np.zeros((2, len(starts)), np.int64)  # what blocks without samples have
    due[ends > starts] = times[ends[ends > starts] - 1]
    keys[ends > starts] = stamps[starts[ends > starts]]
    if deliveries is not None:
        due = deliveries.bound(due, keys, _FIRST_STAMP)

    def items() -> Feed:
        for first, end, time_usec in zip(starts, ends, due, strict=True):
            block = kind()
            block.timestamps = stamps[first:end].copy()
            block.data = values[first:end].copy()
            yield Item(int(time_usec), functools.partial(output.submit, block))

    return items()


def _starts(data: Signals) -> NDArray[np.int64]:
    """Return the row at which each block begins; one for each row where it is not known."""
    count = data.attributes.get("block_count")
    if count is None:
        return np.arange(len(data), dtype=np.int64)
    if not 0 <= count <= len(data) + _EMPTY_BLOCKS:
        raise StorageError(f"'{data.name}' has {len(data)} rows, which are not {count} blocks")
    starts = expand(data.attributes.get("block_start_runs"), count)
    if starts is None:
        return np.arange(len(data), dtype=np.int64)
    edges = np.concatenate([starts, [len(data)]])
    if edges[0] != 0 or (np.diff(edges) < 0).any():
        raise StorageError(f"'{data.name}' has blocks that do not follow one another")
    return starts


def _exact(found: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return numbers as another type, which has to have each of them.

    Raises:
        StorageError: It has not.
    """
    if not len(found) or found.dtype == dtype:
        return found.astype(dtype, copy=False)
    if found.dtype.kind not in "iuf":
        raise StorageError(f"the {what} are no numbers")
    kept = np.empty(found.shape, dtype)
    for at in range(0, len(found), _ROWS):
        part = found[at : at + _ROWS]
        with np.errstate(all="ignore"):
            kept[at : at + _ROWS] = converted = part.astype(dtype)
            if dtype.kind == "f":  # the text of a number has its digits, but may be too large
                is_kept = np.isfinite(converted) | ~np.isfinite(part)
            else:
                limits = np.iinfo(dtype)
                in_range = (part >= limits.min) & (part <= limits.max)
                is_kept = in_range & (converted.astype(part.dtype) == part)
        if not is_kept.all():
            raise StorageError(f"the {what} have some that {dtype} cannot have")
    return kept
