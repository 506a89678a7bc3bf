"""Small items in pipes: order, sizes, gaps, overflow, ends, and two processes."""

from __future__ import annotations

import fcntl
import itertools
import multiprocessing
import os
import resource
import select
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack
from msgspec.structs import replace

from mlink.errors import StreamError
from mlink.transport.codec import SMALL_ITEM_LIMIT
from mlink.transport.records import INLINE_BYTES, RecordReader, RecordWriter, open_pipe
from mlink.transport.store import STORE_BYTES, create_store
from mlink.types import (
    ControlCommand,
    ControlCommandKind,
    DataType,
    LineCommand,
    LineCommandKind,
    LineReading,
)


class Stream:
    """A writer and its readers."""

    def __init__(self, data_type: DataType, *queues: int | None) -> None:
        limits = [queue or 0 for queue in queues or (None,)]
        pipes = [open_pipe(limit) for limit in limits]
        ends = [(pipe.write, os.dup(pipe.store)) for pipe in pipes]
        self.writer = RecordWriter(data_type, ends, limits)
        self.readers = [
            RecordReader(data_type, pipe.read, pipe.store, queue=limit)
            for pipe, limit in zip(pipes, limits, strict=True)
        ]

    def close(self) -> None:
        self.writer.close()
        for reader in self.readers:
            reader.close()


@pytest.fixture
def make() -> Iterator[type[Stream]]:
    made: list[Stream] = []

    class Made(Stream):
        def __init__(self, data_type: DataType, *queues: int | None) -> None:
            super().__init__(data_type, *queues)
            made.append(self)

    yield Made
    for stream in made:
        stream.close()


LARGEST_CELL = SMALL_ITEM_LIMIT - 6
"""One cell that makes the largest row: msgpack adds 1 byte for the list, and 5 for the text."""


def shrink(reader: RecordReader, size: int = 4096) -> None:
    """Give the reader's pipe another size; one page is the smallest."""
    fcntl.fcntl(reader.fileno(), fcntl.F_SETPIPE_SZ, size)


def everything(reader: RecordReader) -> list:
    """Take all that waits; the first None may only mean that the last read took everything."""
    return list(iter(reader.receive, None)) + list(iter(reader.receive, None))


ITEMS = {
    DataType.LineReading: LineReading(7, 4_000_000_000, -5),
    DataType.LineCommand: LineCommand(LineCommandKind.WRITE_DIGITAL_PULSE, 3, 1, 20, extra=b"\0x"),
    DataType.ControlCommand: ControlCommand(ControlCommandKind.CUSTOM, 12, "µ" * 500),
    DataType.TableRow: ["", "a;b", "µ" * 2000],
}


@pytest.mark.parametrize("data_type", ITEMS, ids=lambda data_type: data_type.name)
def test_items_arrive_as_they_were(make: type[Stream], data_type: DataType) -> None:
    stream = make(data_type)
    for _ in range(20):
        stream.writer.submit(ITEMS[data_type])
    (reader,) = stream.readers
    assert everything(reader) == [ITEMS[data_type]] * 20
    assert (reader.received, reader.lost, stream.writer.sent) == (20, 0, 20)


def test_items_of_all_sizes_keep_their_order(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    edge = INLINE_BYTES
    sizes = (0, 1, edge - 5, edge - 4, edge - 3, edge, 2 * edge, 3, 300_000, 1)
    rows = [["x" * size] for size in sizes]
    received = []
    for row in rows:
        stream.writer.submit(row)
        received += everything(stream.readers[0])
    assert received == rows


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text(max_size=3000), max_size=4), max_size=20))
def test_any_rows_come_back(rows: list[list[str]]) -> None:
    stream = Stream(DataType.TableRow)
    try:
        received = []
        for row in rows:
            stream.writer.submit(row)
            received += everything(stream.readers[0])
        assert received == rows
    finally:
        stream.close()


def test_a_full_pipe_refuses_for_that_subscriber_alone(make: type[Stream]) -> None:
    stream = make(DataType.LineReading, None, None)
    slow, quick = stream.readers
    shrink(slow)
    for number in range(2000):
        stream.writer.submit(LineReading(value=number))
    assert [item.value for item in everything(quick)] == list(range(2000))
    kept = [item.value for item in everything(slow)]
    assert kept == list(range(len(kept)))
    assert 50 < len(kept) < 1000
    assert slow.lost == 0  # the reader sees a gap with the next item
    assert stream.writer.lost == [2000 - len(kept), 0]  # the sender counts it at once

    stream.writer.submit(LineReading(value=2000))
    assert everything(slow)[0].value == 2000
    assert slow.gap == slow.lost == 2000 - len(kept)
    assert everything(quick)[0].value == 2000
    assert quick.lost == 0


def test_a_large_item_needs_no_more_of_the_pipe_than_its_record(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    (reader,) = stream.readers
    shrink(reader)
    rows = [["a" * 30_000, str(number)] for number in range(4096 // 12)]
    for row in [*rows, ["b" * 30_000]]:
        stream.writer.submit(row)
    assert stream.writer.lost == [1]
    assert everything(reader) == rows
    stream.writer.submit(["c"])
    assert everything(reader) == [["c"]]
    assert reader.lost == 1


def test_the_end_counts_what_is_missing_once(make: type[Stream]) -> None:
    stream = make(DataType.LineReading, 1)
    (reader,) = stream.readers
    for number in range(1000):
        stream.writer.submit(LineReading(value=number))
    received = len(everything(reader))
    sent = stream.writer.end()
    assert sent == 1000
    assert reader.note_end(sent) == 1000 - received
    assert reader.note_end(sent) == 0
    assert reader.lost == 1000 - received


def test_nothing_is_sent_after_the_end(make: type[Stream]) -> None:
    stream = make(DataType.LineReading)
    stream.writer.submit(LineReading())
    assert stream.writer.end() == 1
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(LineReading())
    stream.writer.skip(3)
    assert stream.writer.sent == 1


def test_no_large_item_is_sent_after_the_end(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    stream.writer.end()
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(["x" * 10_000])
    assert everything(stream.readers[0]) == []


def test_nothing_is_sent_once_the_writer_is_closed(make: type[Stream]) -> None:
    stream = make(DataType.LineReading)
    stream.writer.close()
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(LineReading())


@pytest.mark.parametrize(
    "item",
    [
        LineReading(0xFFFF, 0xFFFF_FFFF),
        LineReading(0, 0),
        LineCommand(LineCommandKind.WRITE_DIGITAL, 0xFFFF, 0xFFFF_FFFF),
        LineCommand(LineCommandKind.WRITE_DIGITAL, 0, 0),
    ],
    ids=str,
)
def test_lines_and_values_up_to_their_limits(item: LineReading | LineCommand) -> None:
    writer = RecordWriter(DataType[type(item).__name__])
    writer.submit(item)
    for beyond in (
        replace(item, line_id=0x1_0000),
        replace(item, line_id=-1),
        replace(item, value=0x1_0000_0000),
        replace(item, value=-1),
    ):
        with pytest.raises(StreamError, match="out of range"):
            writer.submit(beyond)
    assert writer.sent == 1


def test_rows_are_sequences_of_cells(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    stream.writer.submit((1, 2.5, "x", None))
    assert everything(stream.readers[0]) == [["1", "2.5", "x", "None"]]
    for wrong in ("a row", b"a row", 5, {"a": 1}):
        with pytest.raises(StreamError, match="must be a sequence of cells"):
            stream.writer.submit(wrong)


def test_without_listeners_items_are_checked_and_counted() -> None:
    writer = RecordWriter(DataType.LineReading)
    assert not writer.listened
    writer.submit(LineReading())
    with pytest.raises(StreamError, match="a str was submitted"):
        writer.submit("no reading")
    with pytest.raises(StreamError, match="out of range"):
        writer.submit(LineReading(line_id=70_000))
    assert writer.end() == 1


def test_a_refused_item_leaves_no_gap(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    stream.writer.submit(["1"])
    with pytest.raises(StreamError, match="too large"):
        stream.writer.submit(["x" * (LARGEST_CELL + 1)])
    stream.writer.submit(["2"])
    assert everything(stream.readers[0]) == [["1"], ["2"]]
    assert stream.readers[0].lost == 0


def test_an_item_of_the_largest_size_arrives(make: type[Stream]) -> None:
    writer = make(DataType.TableRow).writer
    payloads: list[bytes] = []
    writer.note = payloads.append
    writer.submit(["x" * LARGEST_CELL])
    assert [len(payload) for payload in payloads] == [SMALL_ITEM_LIMIT]
    assert (writer.sent, writer.lost) == (1, [0])


def test_a_reader_that_died_does_not_disturb_the_others(make: type[Stream]) -> None:
    stream = make(DataType.LineReading, None, None)
    os.close(os.dup(stream.readers[0].fileno()))
    dead = stream.readers.pop(0)
    dead.close()
    for number in range(3):
        stream.writer.submit(LineReading(value=number))
    assert [item.value for item in everything(stream.readers[0])] == [0, 1, 2]


def test_a_writer_that_is_gone_shows_when_all_is_read(make: type[Stream]) -> None:
    stream = make(DataType.LineReading)
    (reader,) = stream.readers
    stream.writer.submit(LineReading(value=1))
    stream.writer.close()
    assert [item.value for item in everything(reader)] == [1]
    assert reader.receive() is None
    assert reader.hung_up


def test_several_threads_may_send_at_once(make: type[Stream]) -> None:
    stream = make(DataType.LineReading)
    threads = [
        threading.Thread(
            target=lambda line=line: [
                stream.writer.submit(LineReading(line, value)) for value in range(500)
            ]
        )
        for line in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    items = everything(stream.readers[0])
    assert len(items) == 2000
    for line in range(4):
        assert [item.value for item in items if item.line_id == line] == list(range(500))
    assert stream.readers[0].lost == 0


@pytest.mark.parametrize(
    ("queue", "cell_bytes"),
    [
        *itertools.product([1, 10, 40], [0, 100, 2100, 5000, 20_000, LARGEST_CELL - 9]),
        (5_000, 2100), (86_000, 0),
    ],
)  # fmt: skip
def test_a_queue_counts_items_whatever_their_size(
    make: type[Stream], queue: int, cell_bytes: int
) -> None:
    stream = make(DataType.TableRow, queue)
    (reader,) = stream.readers
    rows = [[str(number), "x" * cell_bytes] for number in range(queue + 7)]
    for row in rows:
        stream.writer.submit(row)
    assert stream.writer.lost == [7]
    assert reader.receive() == rows[0]
    stream.writer.submit(["room for one more"])
    stream.writer.submit(["and no second one"])
    assert stream.writer.lost == [8]
    assert everything(reader) == [*rows[1:queue], ["room for one more"]]
    assert reader.note_end(stream.writer.end()) == 1
    assert reader.received + reader.lost == stream.writer.sent


def test_rows_of_5_kb_pass_a_short_queue_one_by_one(make: type[Stream]) -> None:
    stream = make(DataType.TableRow, 1)
    for number in range(20):
        stream.writer.submit([str(number), "x" * 5000])
        assert everything(stream.readers[0])[0][0] == str(number)
    assert stream.writer.lost == [0]


def test_the_largest_item_passes_an_empty_queue(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    row = ["x" * (SMALL_ITEM_LIMIT - 6)]
    stream.writer.submit(row)
    assert everything(stream.readers[0]) == [row]
    with pytest.raises(StreamError, match=f"limit {SMALL_ITEM_LIMIT}"):
        stream.writer.submit(["x" * SMALL_ITEM_LIMIT])


def test_a_smaller_queue_than_wanted_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    control = fcntl.fcntl

    def refuse(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError(1, "Operation not permitted")
        return control(fd, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    for fd in open_pipe():
        os.close(fd)
    assert "a queue holds 64 kB instead of 1024 kB: Operation not permitted" in caplog.text


class CountedReads:
    """Counts how often a reader asks the kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._read = os.read
        monkeypatch.setattr(os, "read", self.read)

    def read(self, fd: int, length: int) -> bytes:
        self.count += 1
        return self._read(fd, length)


def test_items_that_wait_together_take_one_read(
    make: type[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make(DataType.LineReading)
    (reader,) = stream.readers
    for number in range(100):
        stream.writer.submit(LineReading(value=number))
    reads = CountedReads(monkeypatch)
    assert len(list(iter(reader.receive, None))) == 100
    assert reads.count == 1


def test_all_that_waits_may_be_read_ahead(
    make: type[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make(DataType.TableRow)
    (reader,) = stream.readers
    rows = [[str(number), "x" * 1000] for number in range(200)]  # more than one read takes
    for row in rows[:3]:
        stream.writer.submit(row)
    assert reader.receive() == rows[0]  # the pipe is empty, as far as the reader knows
    for row in rows[3:]:
        stream.writer.submit(row)
    reader.read_ahead()
    reads = CountedReads(monkeypatch)
    assert [reader.receive() for _ in rows[1:]] == rows[1:]
    assert reads.count == 0


def test_what_a_journal_keeps_of_an_item(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    (reader,) = stream.readers
    payloads: list[bytes] = []
    stream.writer.note = payloads.append
    assert (reader.payload, reader.seq, reader.gap, reader.first_item_ns) == (None, -1, 0, 0)
    first_ns = []
    for number, row in enumerate((["a"], ["b" * 10_000])):
        stream.writer.submit(row)
        assert everything(reader) == [row]
        assert (reader.payload, reader.seq) == (payloads[-1], number)
        first_ns.append(reader.first_item_ns)
    assert first_ns[0] == first_ns[1] > 0
    stream.writer.end()
    with pytest.raises(StreamError, match="ended"):
        stream.writer.submit(["c"])
    assert len(payloads) == 2


def receive_elsewhere(fd: int, store: int, parent: Connection) -> None:
    """Take 5,000 readings in another process, woken by the pipe."""
    reader = RecordReader(DataType.LineReading, fd, store)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    values: list[int] = []
    while len(values) < 5000 and poll.poll(5000):
        values += [item.value for item in everything(reader)]
    parent.send((values == list(range(5000)), reader.lost))


def test_two_processes(make: type[Stream]) -> None:
    forked = multiprocessing.get_context("fork")
    ours, theirs = forked.Pipe()
    stream = make(DataType.LineReading)
    ends = stream.readers[0].fileno(), stream.readers[0]._store.fd
    child = forked.Process(target=receive_elsewhere, args=(*ends, theirs), daemon=True)
    child.start()
    try:
        for number in range(5000):
            stream.writer.submit(LineReading(value=number))
        assert ours.poll(10), "the readings did not arrive"
        assert ours.recv() == (True, 0)
    finally:
        child.join(60)
        child.kill()


def test_a_second_sender_is_found_and_never_counts_less_than_nothing(make: type[Stream]) -> None:
    stream = make(DataType.TableRow)
    queue = stream.writer._queues[0]
    copy = RecordWriter(DataType.TableRow, [(os.dup(queue.fd), os.dup(queue.store.fd))])
    stream.writer.submit(["ours"])
    copy.submit(["theirs"])
    (reader,) = stream.readers
    assert reader.receive() == ["ours"]
    with pytest.raises(StreamError, match="number 0: a second process sends"):
        reader.receive()
    assert (reader.received, reader.lost) == (1, 0)
    copy.close()


def test_items_that_the_source_lost_are_a_gap_at_every_reader(make: type[Stream]) -> None:
    stream = make(DataType.TableRow, None, None)
    stream.writer.submit(["a"])
    stream.writer.skip(3)
    stream.writer.submit(["b"])
    stream.writer.skip(2)
    assert stream.writer.end() == 7
    for reader in stream.readers:
        assert reader.receive() == ["a"]
        assert reader.gap == 0
        assert reader.receive() == ["b"]
        assert reader.gap == 3
        assert reader.note_end(7) == 2
        assert reader.lost == 5


# commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [b"", b"x" * 9_000], ids=["one record", "several records"])
@pytest.mark.parametrize("queue", [None, 4], ids=["bytes", "counted"])
@pytest.mark.parametrize("kind", [DataType.LineCommand, DataType.TableRow])
def test_commands_and_rows_have_the_time_of_their_sending(make, kind, extra, queue) -> None:
    stream = make(kind, queue)
    item: Any = [extra.decode(), "8"]
    if kind is DataType.LineCommand:
        item = LineCommand(LineCommandKind.DEVICE_SPECIFIC, 8, extra=extra)
    noted: list[bytes] = []
    stream.writer.note = noted.append
    before = time.monotonic_ns()
    stream.writer.submit(item)
    after = time.monotonic_ns()
    (reader,) = stream.readers
    assert everything(reader) == [item]
    assert before <= reader.sent_ns <= after
    assert noted == [reader.payload]  # journals hold no times of the host


def test_the_largest_command_may_have_its_time(make) -> None:
    stream = make(DataType.LineCommand)
    overhead = len(msgpack.encode(LineCommand(extra=b"x" * 70_000))) - 70_000
    largest = LineCommand(extra=b"x" * (SMALL_ITEM_LIMIT - overhead))
    stream.writer.submit(largest)
    assert everything(stream.readers[0]) == [largest]
    with pytest.raises(StreamError, match=f"an item of {SMALL_ITEM_LIMIT + 1} bytes"):
        stream.writer.submit(replace(largest, extra=largest.extra + b"x"))


def test_other_items_have_no_time(make) -> None:
    stream = make(DataType.LineReading)
    stream.writer.submit(LineReading(1, 2, 3))
    assert everything(stream.readers[0])
    assert stream.readers[0].sent_ns == 0


@pytest.mark.parametrize("pages", [1, 2, 4, 16])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_an_emptied_queue_that_is_not_in_doubt_has_lost_nothing_that_is_unknown(
    pages: int, data: st.DataObject
) -> None:
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, pages * 4096)
    store = create_store()
    writer = RecordWriter(DataType.TableRow, [(write_fd, os.dup(store))])
    reader = RecordReader(DataType.TableRow, read_fd, store)
    turns = st.tuples(st.integers(1, 400), st.sampled_from((1, 90, 2000, 2100, 4000, 9000)))
    try:
        for count, size in data.draw(st.lists(turns, min_size=1, max_size=12)):
            for _ in range(count):
                writer.submit(["x" * size])
            everything(reader)
            assert reader.doubtful or reader.lost == writer.lost[0]
            assert not reader.doubtful or count * (size + 20) > pages * 4096 // 5
        sent = writer.end()
        everything(reader)
        reader.note_end(sent)
        assert reader.lost == writer.lost[0]
    finally:
        writer.close()
        reader.close()


def test_a_doubt_ends_with_the_next_item_or_with_the_stream(make: type[Stream]) -> None:
    stream = make(DataType.LineReading)
    (reader,) = stream.readers
    for number in range(80_000):
        stream.writer.submit(LineReading(value=number))
    everything(reader)
    assert stream.writer.lost[0] > 0
    assert reader.doubtful
    stream.writer.submit(LineReading())
    everything(reader)
    assert not reader.doubtful
    assert reader.lost == stream.writer.lost[0]
    for number in range(80_000):
        stream.writer.submit(LineReading(value=number))
    everything(reader)
    assert reader.doubtful
    reader.note_end(stream.writer.end())
    assert not reader.doubtful


def held(reader: RecordReader) -> int:
    """Return the memory of a reader's store in bytes."""
    return os.fstat(reader._store.fd).st_blocks * 512


@pytest.mark.parametrize("queue", [None, 3, 50])
def test_many_items_of_all_sizes_pass_a_queue_and_leave_no_memory(
    make: type[Stream], queue: int | None
) -> None:
    """More than the store's ring has places: it begins again several times."""
    stream = make(DataType.TableRow, queue)
    (reader,) = stream.readers
    sizes = itertools.cycle((LARGEST_CELL - 9, 5, 70_000, 4070, LARGEST_CELL - 400, 300_000))
    for number in range(500):
        rows = [[f"{number:04}", chr(97 + number % 26) * next(sizes)] for _ in range(2)]
        for row in rows:
            stream.writer.submit(row)
        assert everything(reader) == rows
    assert (reader.lost, stream.writer.lost) == (0, [0])
    assert held(reader) <= 1 << 18


def test_a_queue_without_a_number_holds_many_large_items_and_counts_those_beyond(
    make: type[Stream],
) -> None:
    stream = make(DataType.TableRow)
    (reader,) = stream.readers
    rows = [[f"{number:04}", "x" * 900_000] for number in range(90)]
    for row in rows:
        stream.writer.submit(row)
    (lost,) = stream.writer.lost
    assert held(reader) <= STORE_BYTES + (1 << 20)
    assert STORE_BYTES // 910_000 - 2 <= 90 - lost <= STORE_BYTES // 900_000
    assert everything(reader) == rows[: 90 - lost]
    assert reader.doubtful
    stream.writer.submit(["there is room again"])
    assert everything(reader) == [["there is room again"]]
    assert reader.lost == lost


@pytest.mark.parametrize("queue", [None, 20])
def test_what_was_read_ahead_frees_the_store(make: type[Stream], queue: int | None) -> None:
    stream = make(DataType.TableRow, queue)
    (reader,) = stream.readers
    rows = [[f"{number:04}", "x" * size] for number, size in enumerate((5, 900_000, 70_000) * 5)]
    for row in rows:
        stream.writer.submit(row)
    reader.read_ahead()
    assert held(reader) <= 1 << 18
    for row in rows:
        stream.writer.submit(row)
    reader.read_ahead()
    reader.read_ahead()
    assert everything(reader) == rows + rows
    assert stream.writer.lost == [0]


@pytest.fixture
def small_files() -> Iterator[int]:
    """A limit of file sizes, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    yield 1_000_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("queue", [None, 8])
def test_a_limit_of_file_sizes_bounds_what_waits_and_not_what_passes(
    make: type[Stream],
    queue: int | None,
    small_files: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = make(DataType.TableRow, queue)
    (reader,) = stream.readers
    assert "holds less: the limit of file sizes is 976 kB" in caplog.text
    sizes = itertools.cycle((400_000, 5000, 200_000, 4090, 70_000, 9000, 450_000))
    lost = 0
    for number in range(900):
        rows = [[f"{number:04}", chr(97 + number % 26) * next(sizes)] for _ in range(number % 5)]
        for row in rows:
            stream.writer.submit(row)
        received = everything(reader)
        assert [row for row in rows if row in received] == received
        lost += len(rows) - len(received)
        assert stream.writer.lost == [lost]
        if len(rows) == 1:
            assert received == rows
    assert lost
    stream.writer.submit(["x" * (small_files // 2)])
    assert stream.writer.lost == [lost + 1]
    assert held(reader) <= small_files


def test_without_memory_an_item_is_counted_as_lost(
    make: type[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make(DataType.TableRow, None, 5)

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    stream.writer.submit(["x" * 5000])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        stream.writer.submit(["y" * 5000])
    stream.writer.submit(["z" * 5000])
    assert stream.writer.lost == [1, 1]
    for reader in stream.readers:
        assert everything(reader) == [["x" * 5000], ["z" * 5000]]
        assert reader.lost == 1


@pytest.mark.parametrize(("queue", "doubtful"), [(10, True), (11, False)])
def test_a_counted_queue_is_in_doubt_when_as_many_items_were_read_at_a_stretch(
    make: type[Stream], queue: int, doubtful: bool
) -> None:
    stream = make(DataType.TableRow, queue)
    (reader,) = stream.readers
    for number in range(10):
        stream.writer.submit([number])
    everything(reader)
    assert reader.doubtful is doubtful


def test_a_pipe_that_holds_less_than_its_queue_names_the_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    control = fcntl.fcntl

    def refuse(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ and argument > 1 << 20:
            raise PermissionError(1, "Operation not permitted")
        return control(fd, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    for fd in open_pipe(200_000, "the queue of rows.in"):
        os.close(fd)
    assert "the queue of rows.in holds 86,955 items instead of 200,000" in caplog.text
    assert "fs.pipe-max-size" in caplog.text
