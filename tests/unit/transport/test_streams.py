"""Frames and signal blocks in shared memory: order, gaps, overflow, ends, frames in place."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlink.errors import StreamError
from mlink.transport.doorbell import Doorbell
from mlink.transport.node import Publisher, Subscriber, TransportNode
from mlink.transport.plan import StreamPlan
from mlink.transport.reader import StreamReader
from mlink.transport.writer import StreamWriter
from mlink.types import DataType, Frame, SignalBlockF32

BORROWED = 8
Readers = Callable[..., StreamReader]


class Stream:
    """One stream of a test: a writer, and as many readers as the test opens."""

    def __init__(
        self,
        node: TransportNode,
        data_type: DataType,
        *,
        subscribers: int = 1,
        borrowed: int = BORROWED,
    ) -> None:
        self.plan = StreamPlan("stream", data_type.value, 64, 256, borrowed, subscribers)
        self.bell = Doorbell()
        self.node, self.data_type = node, data_type
        self.writer = StreamWriter(
            data_type, node.publisher(self.plan), [Doorbell(os.dup(self.bell.fd))]
        )

    def reader(self, queue: int = 64) -> StreamReader:
        subscriber = self.node.subscriber(self.plan, queue)
        return StreamReader(self.data_type, subscriber, max_borrowed=self.plan.max_borrowed)


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


def test_the_newest_half_of_the_held_frames_stays_in_place(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    kept = []
    for number in range(BORROWED - 1):
        stream.writer.submit(picture(number))
        kept.append(reader.receive())
    assert all(frame.is_shared for frame in kept)
    stream.writer.submit(picture(BORROWED))
    kept.append(reader.receive())
    copied = BORROWED - 1 - BORROWED // 2
    assert [frame.is_shared for frame in kept] == [False] * copied + [True] * (BORROWED - copied)


def test_where_one_frame_may_be_borrowed_the_one_before_is_copied(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame, borrowed=1)
    reader = stream.reader()
    kept = []
    for number in range(3):
        stream.writer.submit(picture(number))
        kept.append(reader.receive())
    assert [frame.is_shared for frame in kept] == [False, False, True]
    assert [int(frame.view[0, 0]) for frame in kept] == [0, 1, 2]


def test_views_of_too_many_frames_are_an_error_with_a_remedy(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    views = []
    for number in range(BORROWED):
        stream.writer.submit(picture(number))
        views.append(reader.receive().view)
    stream.writer.submit(picture(BORROWED))
    with pytest.raises(StreamError, match="cannot receive") as caught:
        reader.receive()
    assert "kept = frame.mat" in caught.value.remedy
    views.clear()
    assert reader.receive().index == BORROWED


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
    stream.writer.submit(block)
    for _ in range(2):
        got = reader.receive()
        assert np.array_equal(got.timestamps, block.timestamps)
        assert np.array_equal(got.data, block.data)
    assert (stream.writer.sent, reader.received, reader.lost) == (2, 2, 0)
    assert os.eventfd_read(stream.bell.fd) == 2


@pytest.mark.parametrize(
    ("times", "data", "match"),
    [
        ([0, 1], np.zeros((2, 1, 1)), "must be a 2-D array of float32"),
        ([0, 1], np.zeros((2, 1), np.complex64), "must be a 2-D array of float32"),
        ([[0], [1]], np.zeros((2, 1)), "1-D array of uint64"),
        ([-1, 0], np.zeros((2, 1)), "1-D array of uint64"),
        ([0, 1, 2], np.zeros((2, 1)), "3 timestamps for 2 samples"),
    ],
    ids=["dimensions", "type", "times' dimensions", "times' type", "lengths"],
)
def test_signal_blocks_that_do_not_fit(times: Any, data: Any, match: str) -> None:
    writer = StreamWriter(DataType.SignalBlockF32)
    block = SignalBlockF32()
    block.timestamps, block.data = times, data
    with pytest.raises(StreamError, match=match):
        writer.submit(block)
    with pytest.raises(StreamError, match="a Frame was submitted to a port of type SignalBlockF32"):
        writer.submit(picture(0))
    assert writer.sent == 0


@pytest.mark.parametrize(
    ("shape", "dtype", "match"),
    [
        ((8,), np.uint8, "H×W or H×W×C"),
        ((2, 2, 2, 2), np.uint8, "H×W or H×W×C"),
        ((0, 8), np.uint8, "not empty"),
        ((5, 5), np.float32, "a frame of 100 bytes is larger than the limit of 99 bytes"),
        ((2, 2), np.complex64, "arrays of complex64 cannot be sent"),
    ],
)
def test_frames_that_cannot_be_sent(shape: tuple[int, ...], dtype: Any, match: str) -> None:
    writer = StreamWriter(DataType.Frame, frame_limit_bytes=99)
    with pytest.raises(StreamError, match=match):
        writer.loan_frame(shape, dtype)
    with pytest.raises(StreamError, match=match):
        writer.submit(Frame.from_array(np.zeros(shape, dtype)))
    writer.loan_frame((9, 11)).send(index=0, time_usec=0)  # of 99 bytes
    assert writer.sent == 1


def test_only_frames_are_loaned() -> None:
    with pytest.raises(StreamError, match="a SignalBlockF32 port has no frames to loan"):
        StreamWriter(DataType.SignalBlockF32).loan_frame((2, 2))


def test_no_frame_is_loaned_or_sent_after_the_end(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    reader = stream.reader()
    loaned = stream.writer.loan_frame((2, 2))
    stream.writer.end()
    with pytest.raises(StreamError, match="ended"):
        loaned.send(index=0, time_usec=0)
    with pytest.raises(StreamError, match="ended"):
        stream.writer.loan_frame((2, 2))
    assert reader.receive() is None
    assert stream.writer.sent == 0


def test_loans_are_limited_and_discarded_ones_are_free_again(node: TransportNode) -> None:
    stream = Stream(node, DataType.Frame)
    discarded = []
    for _ in range(20):
        discarded.append(stream.writer.loan_frame((2, 2)))
        discarded[-1].array = None  # a view of the pixels keeps them
        discarded[-1].discard()
    loans = [stream.writer.loan_frame((2, 2)) for _ in range(4)]
    with pytest.raises(StreamError, match="no shared memory for an item of 68 bytes"):
        stream.writer.loan_frame((2, 2))
    for loan in loans:
        loan.discard()


class Memory:
    """A publisher whose loans are exactly as large as they were asked for."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.closed = 0
        self._kept: list[Any] = []

    def loan(self, size: int) -> Any:
        self.sizes.append(size)
        self._kept.append(np.zeros(size, np.uint8))
        return SimpleNamespace(payload_ptr=self._kept[-1].ctypes.data)

    def send(self, _loan: Any) -> int:
        return 1

    def close(self) -> None:
        self.closed += 1


def test_no_signal_block_is_sent_after_the_end() -> None:
    memory = Memory()
    writer = StreamWriter(DataType.SignalBlockF32, memory)
    writer.end()
    with pytest.raises(StreamError, match="ended"):
        writer.submit(SignalBlockF32())
    assert memory.sizes == []


def test_where_all_must_be_reached_a_full_queue_is_an_error() -> None:
    writer = StreamWriter(DataType.Frame, Memory(), must_reach=1)
    writer.submit(picture(0))
    writer = StreamWriter(DataType.Frame, Memory(), must_reach=2)
    with pytest.raises(StreamError, match="item 0 did not reach all its subscribers"):
        writer.submit(picture(0))
    assert writer.sent == 0


def test_a_loan_is_the_header_and_the_payload() -> None:
    signals, frames = Memory(), Memory()
    block = SignalBlockF32()
    block.timestamps, block.data = np.arange(10), np.zeros((10, 3))
    StreamWriter(DataType.SignalBlockF32, signals).submit(block)
    StreamWriter(DataType.Frame, frames).submit(Frame.from_array(np.zeros((5, 7), np.uint16)))
    assert signals.sizes == [64 + 10 * 8 + 10 * 3 * 4]
    assert frames.sizes == [64 + 5 * 7 * 2]


def test_closing_gives_the_publisher_and_the_doorbells_back_once() -> None:
    memory, bell = Memory(), Doorbell()
    writer = StreamWriter(DataType.Frame, memory, [bell])
    assert writer.listened
    writer.close()
    writer.close()
    assert memory.closed == 1
    assert bell.fd == -1
    assert not writer.listened
    with pytest.raises(StreamError, match="ended"):
        writer.submit(picture(0))


class Port:
    """Stands for a port of iceoryx2."""

    deleted = 0

    def delete(self) -> None:
        self.deleted += 1


@pytest.mark.parametrize("kind", [Publisher, Subscriber])
def test_a_port_is_given_back_once(kind: type[Publisher | Subscriber]) -> None:
    port = Port()
    end = kind(port)
    end.close()
    end.close()
    assert port.deleted == 1


def test_all_that_a_crash_could_leave_bears_the_runs_name(
    node: TransportNode, prefix: str, tmp_path: Path
) -> None:
    shared = {path.name for path in Path("/dev/shm").iterdir()}
    stream = Stream(node, DataType.Frame)
    stream.reader()
    made = {path.name for path in Path("/dev/shm").iterdir()} - shared
    assert [name for name in made if name.startswith(prefix)]
    assert any(path.name.startswith(prefix) for path in tmp_path.rglob("*"))


def test_a_doorbell_is_an_eventfd_that_never_waits() -> None:
    bell = Doorbell()
    assert bell.fileno() == bell.fd
    for _ in range(3):
        bell.ring()
    assert os.eventfd_read(bell.fileno()) == 3
    os.eventfd_write(bell.fd, (1 << 64) - 2)  # its largest count
    bell.ring()
    bell.clear()
    bell.clear()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(bell.fd)
    bell.close()
    bell.close()
    assert bell.fd == -1
