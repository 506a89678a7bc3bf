"""Recorded streams as sequences of items to send again, with the same contents and times."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mlink.errors import StorageError
from mlink.module import OutputPort
from mlink.recording.journal import Journal
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.table import Table
from mlink.recording.video import Video
from mlink.storage.runs import expand
from mlink.transport.codec import SIGNAL_BLOCKS, small_decoder
from mlink.types import DataType, Frame, LineReading

_DECODED_AHEAD = 8
"""Frames decoded ahead in a thread, so that sending a frame need not wait for its decoding."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a stream: its master time in µs, and the function that sends it."""

    time_usec: int
    send: Callable[[], None]


Feed: TypeAlias = Generator[Item, None, None]


def open_feed(dataset: RecordedStream, output: OutputPort) -> Feed:
    """Return the items of a dataset, to be sent on an output.

    Raises:
        StorageError: By the returned generator, when the dataset does not match the output.
    """
    if isinstance(dataset, Video):
        return _frames(dataset, output)
    if isinstance(dataset, Table):
        return _rows(dataset, output)
    if not isinstance(dataset, Signals):
        return _nothing()  # the source sent nothing, so the dataset has no file
    if output.data_type is DataType.LineReading:
        return _readings(dataset, output)
    if output.data_type is DataType.TableRow:
        return _json_rows(dataset, output)
    return _blocks(dataset, output)


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


def _frames(video: Video, output: OutputPort) -> Feed:
    indices = expand(video.attributes.get("source_index_runs"), len(video))
    if indices is None or "source_index_first" not in video.attributes:
        indices = np.arange(len(video), dtype=np.int64)
    for frame in _decoded_ahead(video):
        frame.index = int(indices[frame.index])
        yield Item(frame.time_usec, functools.partial(output.submit, frame))


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
    values = data.values.tolist()
    for time_usec, (line_id, value) in zip(data.times_usec.tolist(), values, strict=True):
        reading = LineReading(line_id, value, time_usec)
        yield Item(time_usec, functools.partial(output.submit, reading))


def _rows(table: Table, output: OutputPort) -> Feed:
    """Yield rows at the times of their time column; without one all at time 0."""
    try:
        times = table.times_usec.tolist()
    except StorageError:
        times = [0] * len(table)
    for time_usec, row in zip(times, table.rows, strict=True):
        yield Item(time_usec, functools.partial(output.submit, row))


def _json_rows(data: Signals, output: OutputPort) -> Feed:
    for row in data.values.tolist():
        yield Item(0, functools.partial(output.submit, row))


def _blocks(data: Signals, output: OutputPort) -> Feed:
    kind = SIGNAL_BLOCKS[output.data_type]
    stamps, values, times = data.timestamps, data.values, data.times_usec
    count = data.attributes.get("block_count")
    starts = None if count is None else expand(data.attributes.get("block_start_runs"), count)
    if starts is None:
        starts = np.arange(len(data), dtype=np.int64)
    for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(data)], strict=True):
        block = kind()
        block.timestamps = stamps[first:end].astype(np.uint64)
        block.data = values[first:end].astype(kind.dtype)
        time_usec = int(times[end - 1]) if end > first else 0
        yield Item(time_usec, functools.partial(output.submit, block))
