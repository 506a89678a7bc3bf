"""A worker's ports over a real pipe: the end of a stream, gaps, throttle, refusals."""

from __future__ import annotations

import os

import pytest

from mlink.control import InputCount
from mlink.errors import StreamError
from mlink.module import PortSpec
from mlink.transport.records import RecordWriter, open_pipe
from mlink.types import DataType, LineReading
from mlink.worker import input_port
from mlink.worker.input_port import WorkerInput
from mlink.worker.output_port import WorkerOutput


class Link:
    """An input and the writer of its pipe."""

    def __init__(self, *, lossless: bool = False) -> None:
        pipe = open_pipe()
        self.writer = RecordWriter(DataType.LineReading, [(pipe.write, os.dup(pipe.store))])
        self.input = WorkerInput(PortSpec("in", DataType.LineReading))
        self.input.source = "board.readings"
        self.input.connect_pipe(pipe.read, pipe.store, lossless=lossless)
        self.items: list[LineReading] = []
        self.input.on_item = self.items.append
        self.gaps: list[int] = []
        self.input.on_gap = self.gaps.append
        self.now_usec = 0

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.writer.submit(LineReading(7, self.writer.sent, self.writer.sent))

    def take(self, limit: int = 64) -> bool:
        return self.input.take(limit, lambda: self.now_usec)

    @property
    def values(self) -> list[int]:
        return [item.value for item in self.items]

    def close(self) -> None:
        self.writer.close()
        self.input.close()


@pytest.fixture
def link():
    link = Link()
    yield link
    link.close()


def test_items_sent_after_the_last_read_are_dispatched_before_the_end(link):
    """The pipe's reader answers None once after a short read, without asking the kernel."""
    link.send()
    assert link.take(limit=1)
    link.send(2)
    link.input.note_end(3)
    assert not link.take()
    assert link.values == [0, 1, 2]
    assert link.input.ended
    assert (link.gaps, link.input.count.lost) == ([], 0)


def test_a_batch_ends_at_its_time_and_the_slowest_item_is_known(link, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(input_port, "monotonic", lambda: now[0])

    def work(item: LineReading) -> None:
        link.items.append(item)
        now[0] += 0.5 if item.value == 1 else 0.1

    link.input.on_item = work
    link.send(9)
    assert link.input.take(64, lambda: 0, 100.3)
    assert link.values == [0, 1]
    assert link.input.slowest_s == pytest.approx(0.6)
    assert link.input.take(64, lambda: 0, 100.3)
    assert link.values == [0, 1, 2]
    assert not link.take()
    assert link.values == list(range(9))
    assert link.input.slowest_s == pytest.approx(0.6)


def test_items_sent_by_a_handler_are_dispatched_before_the_end(link):
    def answer(item: LineReading) -> None:
        link.items.append(item)
        if item.value == 0:
            link.send()
            link.input.note_end(2)

    link.input.on_item = answer
    link.send()
    while link.take():
        pass
    assert link.values == [0, 1]
    assert link.input.ended
    assert link.gaps == []


def test_what_is_missing_at_the_end_is_reported_once(link):
    link.send(2)
    link.input.note_end(5)
    while link.take():
        pass
    assert not link.take()
    assert link.values == [0, 1]
    assert link.gaps == [3]
    assert link.input.count.lost == 3


def test_a_stream_of_unknown_length_ends_without_a_loss(link):
    link.send(2)
    link.input.note_end(-1)  # its worker died
    while link.take():
        pass
    assert link.input.ended
    assert (link.values, link.gaps) == ([0, 1], [])


def test_an_empty_input_waits_while_its_end_is_not_known(link):
    assert not link.take()
    assert not link.input.ended
    assert not link.input.end_known


def test_a_batch_is_bounded(link):
    link.send(5)
    assert link.take(limit=3)
    assert link.values == [0, 1, 2]
    assert link.take(limit=3) is False
    assert link.values == [0, 1, 2, 3, 4]


def test_a_gap_is_reported_before_the_item_after_it(link):
    order: list[object] = []
    link.input.on_gap = lambda lost: order.append(f"{lost} lost")
    link.input.on_item = lambda item: order.append(item.value)
    link.send()
    link.writer.skip(4)
    link.send()
    link.take()
    assert order == [0, "4 lost", 5]
    count = link.input.count
    assert count == InputCount(2, 4, count.first_item_ns)


def test_a_loss_on_a_lossless_stream_is_an_error():
    link = Link(lossless=True)
    link.writer.skip(1)
    link.send()
    with pytest.raises(StreamError, match=r"1 item.*board\.readings.*'in'"):
        link.take()
    assert link.items == []
    link.close()


def test_an_input_that_discards_reports_no_gap_to_the_module_and_raises_nothing():
    link = Link(lossless=True)
    link.input.discard = True
    link.input.on_gap = lambda _lost: pytest.fail("reported")
    link.writer.skip(1)
    link.send()
    link.take()
    assert link.items == []
    assert link.input.count.lost == 1
    link.close()


def test_a_throttle_lets_one_item_through_in_each_interval(link):
    link.input.set_throttle(10)
    for now_usec in (0, 99_999, 100_000, 150_000, 200_000):
        link.now_usec = now_usec
        link.send()
        while link.take():
            pass
    assert link.values == [0, 2, 4]
    link.input.set_throttle(0)
    link.send()
    while link.take():
        pass
    assert link.values == [0, 2, 4, 5]


@pytest.mark.parametrize("noted", [False, True])
def test_without_a_throttle_every_item_passes_also_at_the_same_time(link, noted):
    link.input.note = (lambda *_: 0) if noted else None
    link.input.set_throttle(0)
    link.send(3)
    while link.take():
        pass
    assert (link.now_usec, link.values) == (0, [0, 1, 2])


def test_a_throttle_may_allow_less_than_one_item_per_second(link):
    link.input.set_throttle(0.5)
    for now_usec in (0, 1_999_999, 2_000_000):
        link.now_usec = now_usec
        link.send()
        while link.take():
            pass
    assert link.values == [0, 2]


def test_an_item_is_noted_with_its_number_before_it_is_dispatched(link):
    noted: list[tuple[int, bytes | None, int]] = []

    def note(seq, payload, item) -> int:
        noted.append((seq, payload, len(link.items)))
        return 0

    link.input.note = note
    link.send(2)
    link.take()
    assert [(seq, before) for seq, _, before in noted] == [(0, 0), (1, 1)]
    assert all(noted[0][1] for _ in noted)


def test_a_pulled_item_is_dispatched_later_under_the_same_rules(link):
    link.send(2)
    first, second = link.input.pull()
    assert link.items == []
    link.input.dispatch(first, 0)
    assert link.values == [0]
    link.input.discard = True
    link.input.dispatch(second, 0)
    assert link.values == [0]


def test_an_unconnected_input_has_nothing():
    port = WorkerInput(PortSpec("in", DataType.LineReading))
    assert not port.connected
    assert not port.hung_up
    assert port.count == InputCount(0, 0)
    assert not port.take(64, lambda: 0)
    assert list(port.pull()) == []
    port.close()


def test_an_output_refuses_items_before_the_run_starts_and_after_its_end():
    pipe = open_pipe()
    port = WorkerOutput(PortSpec("out", DataType.LineReading))
    with pytest.raises(StreamError, match=r"'out'.*not started"):
        port.submit(LineReading(7, 0, 0))
    port.note_lost(3)
    assert (port.end(), port.sent, port.connected) == (0, 0, False)
    port.open_pipes([pipe.write, os.dup(pipe.store)], [0])
    assert port.connected
    port.submit(LineReading(7, 0, 0))
    port.note_lost(3)
    assert port.end() == port.sent == 4
    assert (port.lost, port.skipped) == ([3], 3)
    with pytest.raises(StreamError, match="ended"):
        port.submit(LineReading(7, 0, 0))
    with pytest.raises(StreamError, match="no frames to loan"):
        port.loan_frame((2, 2))
    port.close()
    reader = WorkerInput(PortSpec("in", DataType.LineReading))
    reader.connect_pipe(pipe.read, pipe.store, lossless=False)
    reader.close()
