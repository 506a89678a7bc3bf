"""Frames and signal blocks in shared memory: order, gaps, overflow, ends, frames in place."""

from __future__ import annotations

import mmap
import os
import signal
from typing import Any

import numpy as np
import pytest

from mlink.errors import StreamError
from mlink.transport.doorbell import Doorbell
from mlink.transport.reader import StreamReader
from mlink.transport.writer import StreamWriter
from mlink.types import DataType, Frame, SignalBlockF32
from tests.support.streams import SharedStream

BORROWED = 8
LIKELY_BYTES = 4096


class Stream(SharedStream):
    """A stream with both ends open."""

    def __init__(
        self, data_type: DataType, *queues: int, borrowed: int = BORROWED, lossless: bool = False
    ) -> None:
        super().__init__(data_type, *queues, likely_bytes=LIKELY_BYTES, borrowed=borrowed)
        self.writer = super().writer(lossless=lossless)
        self.readers = [super(Stream, self).reader(n) for n in range(len(self.queues))]
        self.reader = self.readers[0]


def everything(reader: StreamReader) -> list:
    return list(iter(reader.receive, None))


def picture(number: int) -> Frame:
    return Frame.from_array(np.full((6, 8), number & 255, np.uint8), index=number)


def conserved(stream: Stream) -> bool:
    """Whether sent = received + lost + waiting, for each subscription, by the sender's counts."""
    waiting = [len(everything_kept(reader)) for reader in stream.readers]
    return all(
        stream.writer.sent == reader.received + lost + left
        for reader, lost, left in zip(stream.readers, stream.writer.lost, waiting, strict=True)
    )


def everything_kept(reader: StreamReader) -> list:
    reader.read_ahead()
    return list(reader._ahead)


def test_a_full_queue_refuses_for_that_subscriber_alone_and_the_sender_counts_it() -> None:
    stream = Stream(DataType.Frame, 4, 64)
    slow, quick = stream.readers
    taken = []
    for number in range(20):
        stream.writer.submit(picture(number))
        taken.append(quick.receive().index)
        assert stream.writer.lost == [max(0, number - 3), 0]
    assert taken == list(range(20))
    assert [frame.index for frame in everything(slow)] == list(range(4))
    assert (slow.lost, quick.lost) == (0, 0)  # the receiver sees a gap with the next item

    stream.writer.submit(picture(20))
    assert slow.receive().index == 20
    assert (slow.gap, slow.lost, slow.received) == (16, 16, 5)
    assert quick.receive().index == 20
    assert (quick.gap, quick.lost) == (0, 0)
    assert stream.writer.lost == [16, 0]
    assert conserved(stream)


@pytest.mark.parametrize("queue", [1, 2, 7, 100])
def test_a_queue_holds_the_items_of_its_limit(queue: int) -> None:
    stream = Stream(DataType.Frame, queue)
    for number in range(queue + 5):
        stream.writer.submit(picture(number))
    assert stream.writer.lost == [5]
    assert [frame.index for frame in map(take, [stream.reader] * queue)] == list(range(queue))


def take(reader: StreamReader) -> Frame:
    frame = reader.receive()
    frame.detach()
    return frame


def test_what_a_source_lost_is_lost_to_each_subscription() -> None:
    stream = Stream(DataType.Frame, 8, 8)
    stream.writer.submit(picture(0))
    stream.writer.skip(3)
    stream.writer.submit(picture(4))
    assert (stream.writer.sent, stream.writer.lost) == (5, [3, 3])
    for reader in stream.readers:
        assert [frame.index for frame in everything(reader)] == [0, 4]
        assert reader.lost == 3
    assert conserved(stream)


def test_a_subscriber_that_died_costs_its_own_items_only() -> None:
    stream = Stream(DataType.Frame, 4, 4)
    dead, alive = stream.readers
    for number in range(3):
        stream.writer.submit(picture(number))
    dead.close()
    for number in range(3, 50):
        assert take(alive)
        stream.writer.submit(picture(number))
    assert stream.writer.lost == [47, 0]
    assert stream.used_bytes() <= 16 * 4096  # the slots that it held are used again


def test_a_killed_process_leaves_neither_slots_nor_memory_taken() -> None:
    stream = Stream(DataType.Frame, 4)
    stream.writer.submit(picture(0))
    pid = os.fork()
    if pid == 0:
        held = stream.reader.receive()
        assert held.index == 0
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    stream.reader.close()
    for number in range(30):
        stream.writer.submit(picture(number))
    assert stream.writer.lost == [30]
    assert stream.used_bytes() <= 2 * 4096


def test_a_forked_child_does_not_return_what_its_parent_has_borrowed() -> None:
    stream = Stream(DataType.Frame, 4)
    stream.writer.submit(picture(7))
    frame = stream.reader.receive()
    view = frame.view
    pid = os.fork()
    if pid == 0:
        del frame, view  # returned by the child, the slot would be written again
        os._exit(0)
    os.waitpid(pid, 0)
    for number in range(20):
        stream.writer.submit(picture(number))
        for held in range(3):
            del held
        stream.reader.receive()
    assert (view == 7).all()


def test_memory_grows_with_the_items_that_wait_and_not_with_those_that_were_sent() -> None:
    stream = Stream(DataType.Frame, 64)
    for number in range(500):
        stream.writer.submit(picture(number))
        stream.reader.receive()
    assert stream.used_bytes() <= 4 * 4096


def test_a_frame_larger_than_expected_gets_a_larger_slot() -> None:
    stream = Stream(DataType.Frame)
    large = np.arange(3 * LIKELY_BYTES, dtype=np.uint8).reshape(64, -1)
    for number in range(5):
        stream.writer.submit(picture(number))
        stream.writer.submit(Frame.from_array(large, index=number))
        assert stream.reader.receive().index == number
        assert np.array_equal(stream.reader.receive().view, large)
    assert stream.writer.lost == [0]


def test_without_memory_the_sender_gets_an_error_and_no_signal(monkeypatch) -> None:
    stream = Stream(DataType.Frame)

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlink.transport.memory.os.posix_fallocate", full)
    with pytest.raises(StreamError, match="no shared memory for an item of 112 bytes: No space"):
        stream.writer.submit(picture(0))
    assert stream.writer.sent == 0


def test_no_other_mapping_of_the_memory_is_writable() -> None:
    stream = Stream(DataType.Frame)
    stream.writer.submit(picture(0))
    with pytest.raises(PermissionError):
        os.write(stream.memory_fd, b"x")
    with pytest.raises(PermissionError):
        mmap.mmap(stream.memory_fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    with pytest.raises(PermissionError):
        os.ftruncate(stream.memory_fd, 0)


def test_an_unsent_loan_is_used_again() -> None:
    stream = Stream(DataType.Frame)
    for _ in range(50):
        stream.writer.loan_frame((6, 8)).discard()
        loaned = stream.writer.loan_frame((6, 8))
        del loaned
    assert stream.used_bytes() <= 2 * 4096


def test_the_end_counts_what_is_missing_once() -> None:
    stream = Stream(DataType.Frame, 4)
    reader = stream.reader
    for number in range(10):
        stream.writer.submit(picture(number))
    assert len(everything(reader)) == 4
    sent = stream.writer.end()
    assert sent == 10
    assert reader.note_end(sent) == 6
    assert reader.note_end(sent) == 0
    assert reader.lost == 6


def test_nothing_is_sent_after_the_end() -> None:
    stream = Stream(DataType.Frame)
    stream.writer.submit(picture(0))
    assert stream.writer.end() == 1
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(picture(1))
    assert stream.writer.sent == 1
    stream.writer.close()
    stream.writer.close()


def test_frames_are_read_in_place() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
    picture = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    stream.writer.submit(Frame.from_array(picture, index=3, time_usec=-7))
    frame = reader.receive()
    assert (frame.index, frame.time_usec, frame.is_shared) == (3, -7, True)
    assert np.array_equal(frame.view, picture)
    with pytest.raises(ValueError, match="read-only"):
        frame.view[0, 0, 0] = 1
    frame.mat[0, 0, 0] = 99  # a copy of the script's own
    assert not frame.is_shared


def test_a_loaned_frame_is_written_where_it_is_read() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
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
def test_non_contiguous_and_other_pixels(dtype: str) -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
    picture = np.arange(400, dtype=dtype).reshape(20, 20)[::2, ::-3]
    stream.writer.submit(Frame.from_array(picture))
    assert np.array_equal(reader.receive().view, picture)


def test_held_frames_are_copied_out_when_the_limit_nears() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
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


def test_frames_let_go_are_never_copied() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
    for number in range(3 * BORROWED):
        stream.writer.submit(Frame.from_array(np.zeros((6, 8), np.uint8), index=number))
        frame = reader.receive()
        assert frame.is_shared
        assert frame.index == number


def test_a_view_outlives_its_frame() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
    stream.writer.submit(Frame.from_array(np.full((6, 8), 5, np.uint8)))
    view = reader.receive().view
    for number in range(20):
        stream.writer.submit(Frame.from_array(np.full((6, 8), number + 100, np.uint8)))
        reader.receive()
    assert (view == 5).all()


def test_signal_blocks() -> None:
    stream = Stream(DataType.SignalBlockF32)
    reader = stream.reader
    block = SignalBlockF32()
    block.timestamps = np.arange(50, dtype=np.uint64) * 1000
    block.data = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    stream.writer.submit(block)
    got = reader.receive()
    assert np.array_equal(got.timestamps, block.timestamps)
    assert np.array_equal(got.data, block.data)


def test_the_newest_half_of_the_held_frames_stays_in_place() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
    kept = []
    for number in range(BORROWED - 1):
        stream.writer.submit(picture(number))
        kept.append(reader.receive())
    assert all(frame.is_shared for frame in kept)
    stream.writer.submit(picture(BORROWED))
    kept.append(reader.receive())
    copied = BORROWED - 1 - BORROWED // 2
    assert [frame.is_shared for frame in kept] == [False] * copied + [True] * (BORROWED - copied)


def test_where_one_frame_may_be_borrowed_the_one_before_is_copied() -> None:
    stream = Stream(DataType.Frame, borrowed=1)
    reader = stream.reader
    kept = []
    for number in range(3):
        stream.writer.submit(picture(number))
        kept.append(reader.receive())
    assert [frame.is_shared for frame in kept] == [False, False, True]
    assert [int(frame.view[0, 0]) for frame in kept] == [0, 1, 2]


def test_views_of_too_many_frames_are_an_error_with_a_remedy() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
    views = []
    for number in range(BORROWED):
        stream.writer.submit(picture(number))
        views.append(reader.receive().view)
    stream.writer.submit(picture(BORROWED))
    with pytest.raises(StreamError, match="8 frames of this stream are held") as caught:
        reader.receive()
    assert "kept = frame.mat" in caught.value.remedy
    views.clear()
    assert reader.receive().index == BORROWED


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


def test_no_frame_is_loaned_or_sent_after_the_end() -> None:
    stream = Stream(DataType.Frame)
    reader = stream.reader
    loaned = stream.writer.loan_frame((2, 2))
    stream.writer.end()
    with pytest.raises(StreamError, match="ended"):
        loaned.send(index=0, time_usec=0)
    with pytest.raises(StreamError, match="ended"):
        stream.writer.loan_frame((2, 2))
    assert reader.receive() is None
    assert stream.writer.sent == 0


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


def test_no_signal_block_is_sent_after_the_end() -> None:
    stream = Stream(DataType.SignalBlockF32)
    stream.writer.end()
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(SignalBlockF32())
    assert stream.reader.receive() is None


def test_where_all_must_be_reached_a_full_queue_is_an_error() -> None:
    stream = Stream(DataType.Frame, 1, 4, lossless=True)
    stream.writer.submit(picture(0))
    with pytest.raises(StreamError, match="item 1 did not reach all its subscribers"):
        stream.writer.submit(picture(1))
    assert stream.writer.sent == 1


def test_closing_gives_memory_and_pipes_back_once() -> None:
    stream = Stream(DataType.Frame)
    open_before = len(os.listdir("/proc/self/fd"))
    stream.writer.close()
    stream.writer.close()
    stream.reader.close()
    stream.reader.close()
    # two pipes have two ends each, the reader has the memory, and the sender's mapping a copy
    assert open_before - len(os.listdir("/proc/self/fd")) == 6
    assert not stream.writer.listened
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(picture(0))


@pytest.mark.parametrize("turns", [(1, 3, 2), (4, 1), (9, 2, 9), (3, 3, 9)])
def test_an_emptied_queue_that_is_not_in_doubt_has_lost_nothing_that_is_unknown(
    turns: tuple[int, ...],
) -> None:
    stream = Stream(DataType.Frame, 4)
    for count in turns:
        for _ in range(count):
            stream.writer.submit(picture(stream.writer.sent))
        while take_if_any(stream.reader):
            pass
        assert stream.reader.doubtful == (count >= 4)
        assert stream.reader.doubtful or stream.reader.lost == stream.writer.lost[0]
    stream.reader.note_end(stream.writer.end())
    assert not stream.reader.doubtful


def take_if_any(reader: StreamReader) -> bool:
    frame = reader.receive()
    if frame is not None:
        frame.detach()
    return frame is not None
