"""Frames and signal blocks in shared memory: order, gaps, overflow, ends, frames in place."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mlink.errors import StreamError
from mlink.transport.doorbell import Doorbell
from mlink.transport.node import TransportNode
from mlink.transport.plan import StreamPlan
from mlink.transport.reader import StreamReader
from mlink.transport.writer import StreamWriter
from mlink.types import DataType, Frame, SignalBlockF32

BORROWED = 8
Readers = Callable[..., StreamReader]


class Stream:
    """One stream of a test: a writer, and as many readers as the test opens."""

    def __init__(self, node: TransportNode, data_type: DataType, *, subscribers: int = 1) -> None:
        self.plan = StreamPlan("stream", data_type.value, 64, 256, BORROWED, subscribers)
        self.bell = Doorbell()
        self.node, self.data_type = node, data_type
        self.writer = StreamWriter(
            data_type, node.publisher(self.plan), [Doorbell(os.dup(self.bell.fd))]
        )

    def reader(self, queue: int = 64) -> StreamReader:
        subscriber = self.node.subscriber(self.plan, queue)
        return StreamReader(self.data_type, subscriber, max_borrowed=BORROWED)


def remove_shared_memory(prefix: str) -> None:
    for left in Path("/dev/shm").glob(f"{prefix}*"):
        left.unlink(missing_ok=True)


@pytest.fixture
def prefix() -> Iterator[str]:
    name = f"mltest{os.getpid()}_"
    yield name
    gc.collect()
    remove_shared_memory(name)


@pytest.fixture
def node(prefix: str, tmp_path: Path) -> TransportNode:
    return TransportNode(prefix, str(tmp_path))


def everything(reader: StreamReader) -> list:
    return list(iter(reader.receive, None))


def picture(number: int) -> Frame:
    return Frame.from_array(np.full((6, 8), number, np.uint8), index=number)


def test_the_doorbell_rings_for_each_item(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    for number in range(5):
        stream.writer.submit(picture(number))
    assert os.eventfd_read(stream.bell.fd) == 5


def test_a_full_queue_refuses_for_that_subscriber_alone(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame, subscribers=2)
    slow, quick = stream.reader(queue=4), stream.reader(queue=64)
    taken = []
    for number in range(20):
        stream.writer.submit(picture(number))
        taken.append(quick.receive().index)
    assert taken == list(range(20))
    assert [frame.index for frame in everything(slow)] == list(range(4))
    assert (slow.lost, quick.lost) == (0, 0)  # a gap shows with the next item

    stream.writer.submit(picture(20))
    assert slow.receive().index == 20
    assert (slow.gap, slow.lost, slow.received) == (16, 16, 5)
    assert quick.receive().index == 20
    assert (quick.gap, quick.lost) == (0, 0)


def test_the_end_counts_what_is_missing_once(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader(queue=4)
    for number in range(10):
        stream.writer.submit(picture(number))
    assert len(everything(reader)) == 4
    sent = stream.writer.end()
    assert sent == 10
    assert reader.note_end(sent) == 6
    assert reader.note_end(sent) == 0
    assert reader.lost == 6


def test_nothing_is_sent_after_the_end(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    stream.writer.submit(picture(0))
    assert stream.writer.end() == 1
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(picture(1))
    assert stream.writer.sent == 1
    stream.writer.close()
    stream.writer.close()


def test_frames_are_read_in_place(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    picture = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    stream.writer.submit(Frame.from_array(picture, index=3, time_usec=-7))
    frame = reader.receive()
    assert (frame.index, frame.time_usec, frame.is_shared) == (3, -7, True)
    assert np.array_equal(frame.view, picture)
    with pytest.raises(ValueError, match="read-only"):
        frame.view[0, 0, 0] = 1
    frame.mat[0, 0, 0] = 99  # a copy of the script's own
    assert not frame.is_shared


def test_a_loaned_frame_is_written_where_it_is_read(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    loaned = stream.writer.loan_frame((4, 6), np.uint16)
    loaned.array[:] = 777
    loaned.send(index=1, time_usec=2)
    frame = reader.receive()
    assert frame.view.dtype == np.uint16
    assert (frame.view == 777).all()
    with pytest.raises(StreamError, match="already"):
        loaned.send(index=2, time_usec=3)
    stream.writer.loan_frame((4, 6)).discard()
    assert stream.writer.sent == 1


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_non_contiguous_and_other_pixels(node: TransportNode, dtype: str) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    picture = np.arange(400, dtype=dtype).reshape(20, 20)[::2, ::-3]
    stream.writer.submit(Frame.from_array(picture))
    assert np.array_equal(reader.receive().view, picture)


def test_held_frames_are_copied_out_when_the_limit_nears(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    kept = []
    for number in range(5 * BORROWED):
        stream.writer.submit(Frame.from_array(np.full((6, 8), number, np.uint8), index=number))
        kept.append(reader.receive())
        assert sum(frame.is_shared for frame in kept) < BORROWED
    assert reader.lost == 0
    assert kept[-1].is_shared
    assert not kept[0].is_shared
    for number, frame in enumerate(kept):
        assert (frame.view == number).all()


def test_frames_let_go_are_never_copied(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    for number in range(3 * BORROWED):
        stream.writer.submit(Frame.from_array(np.zeros((6, 8), np.uint8), index=number))
        frame = reader.receive()
        assert frame.is_shared
        assert frame.index == number


def test_a_view_outlives_its_frame(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    stream.writer.submit(Frame.from_array(np.full((6, 8), 5, np.uint8)))
    view = reader.receive().view
    for number in range(20):
        stream.writer.submit(Frame.from_array(np.full((6, 8), number + 100, np.uint8)))
        reader.receive()
    assert (view == 5).all()


def test_signal_blocks(node: TransportNode) -> None:
    stream = Stream(node, DataType.SignalBlockF32)
    reader = stream.reader()
    block = SignalBlockF32()
    block.timestamps = np.arange(50, dtype=np.uint64) * 1000
    block.data = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    stream.writer.submit(block)
    got = reader.receive()
    assert np.array_equal(got.timestamps, block.timestamps)
    assert np.array_equal(got.data, block.data)
