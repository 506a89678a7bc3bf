"""The module that feeds a view, joined to a socket of the test."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from mlink.clock import ManualClock
from mlink.tap.catalog import TapSettings, TapStream, view_type
from mlink.types import (
    ControlCommand,
    ControlCommandKind,
    DataType,
    Frame,
    LineCommand,
    LineCommandKind,
    LineReading,
    SignalBlockF32,
)
from mlink.view.messages import Batch, FeedBegins, Picture, Want
from mlink.view.run.feed import FeedModule
from mlink.view.wire import pack
from tests.support.fake_context import FakeContext
from tests.support.view_messages import read_all

STREAMS = {
    "board.fmdata": DataType.LineReading,
    "loop.ctl": DataType.LineCommand,
    "loop.run": DataType.ControlCommand,
    "loop.rows": DataType.TableRow,
    "cam.video": DataType.Frame,
    "src.float": DataType.SignalBlockF32,
}


class Joined:
    """A feed, and the program's end of its socket."""

    def __init__(self, tmp_path, *, listens=True):
        self.clock = ManualClock()
        self.listener = socket.socket(socket.AF_UNIX)
        path = tmp_path / "view"
        if listens:
            self.listener.bind(str(path))
            self.listener.listen()
        streams = tuple(TapStream(name, kind) for name, kind in STREAMS.items())
        settings = TapSettings(socket=str(path), streams=streams)
        self.context = FakeContext(view_type, settings, tmp_path, clock=self.clock)
        self.module = FeedModule(self.context)
        self.module.prepare()
        self.peer = self.listener.accept()[0] if listens else None
        self.module.start()

    def put(self, stream, item, *, sent_usec=0):
        port = self.context.inputs[stream]
        port.sent_ns = sent_usec * 1000
        port.on_item(item)

    def turn(self, msec=60):
        self.clock.advance(msec * 1000)
        self.module._exchange()

    def received(self):
        """Return all that has arrived so far."""
        self.peer.setblocking(False)
        data = b""
        while True:
            try:
                more = self.peer.recv(1 << 20)
            except BlockingIOError:
                break
            if not more:
                break
            data += more
        return read_all(data)

    def close(self):
        self.module.close()
        self.listener.close()
        if self.peer is not None:
            self.peer.close()


@pytest.fixture
def joined(tmp_path):
    joined = Joined(tmp_path)
    yield joined
    joined.close()


def items_of(messages, stream):
    found = [i for m in messages if isinstance(m, Batch) for i in m.items if i.stream == stream]
    assert found
    return found[-1]


def test_items_come_as_columns_with_their_times(joined):
    joined.put("board.fmdata", LineReading(7, 1, 1000))
    joined.put("board.fmdata", LineReading(7, 0, 2000))
    pulse = LineCommand(LineCommandKind.WRITE_DIGITAL_PULSE, 8, value=1, duration_usec=500)
    joined.put("loop.ctl", pulse, sent_usec=3000)
    joined.put("loop.run", ControlCommand(ControlCommandKind.START), sent_usec=4000)
    joined.put("loop.rows", ["a", "b" * 1000], sent_usec=5000)
    joined.turn()
    found = joined.received()
    assert isinstance(found[0], FeedBegins)
    readings = items_of(found, "board.fmdata")
    assert readings.columns == {"line": [7, 7], "value": [1, 0], "time_usec": [1000, 2000]}
    commands = items_of(found, "loop.ctl").columns
    assert commands["command"] == ["WRITE_DIGITAL_PULSE"]
    assert (commands["value"], commands["time_usec"]) == ([500], [3000])
    assert items_of(found, "loop.run").columns == {"command": ["START"], "time_usec": [4000]}
    (cells,) = items_of(found, "loop.rows").columns["cells"]
    assert cells == ["a", "b" * 200]


def test_signals_keep_their_extremes_when_they_are_thinned(joined):
    block = SignalBlockF32()
    block.timestamps = np.arange(10_000) * 100
    values = np.zeros((10_000, 2))
    values[5_555, 0], values[7_777, 1] = 9.0, -4.0
    block.data = values
    joined.put("src.float", block)
    joined.turn()
    columns = items_of(joined.received(), "src.float").columns
    assert len(columns["time_usec"]) == len(columns["data"][0]) == len(columns["data"][1]) <= 402
    assert max(columns["data"][0]) == 9.0
    assert min(columns["data"][1]) == -4.0
    assert columns["time_usec"] == sorted(columns["time_usec"])


def test_numbered_samples_have_times_by_their_rate_or_are_left_out(joined):
    block = SignalBlockF32()
    block.timestamps, block.data = np.array([0, 10]), np.array([[1.0], [np.nan]])
    metadata = joined.context.inputs["src.float"].metadata
    metadata["time_unit"] = "index"
    joined.put("src.float", block)
    metadata["sample_rate"] = 1000.0
    joined.put("src.float", block)
    joined.turn()
    columns = items_of(joined.received(), "src.float").columns
    assert columns == {"time_usec": [0, 10_000], "data": [[1.0, None]]}


def test_more_items_than_a_page_can_show_are_counted(joined):
    for number in range(2_000):
        joined.put("board.fmdata", LineReading(7, 1, number))
    joined.context.inputs["board.fmdata"].on_gap(3)
    joined.turn()
    found = items_of(joined.received(), "board.fmdata")
    assert (len(found.columns["line"]), found.count, found.missed) == (500, 2_000, 3)


def test_a_picture_comes_when_it_is_asked_for_and_only_then(joined):
    frame = Frame.from_array(np.zeros((48, 64, 3), np.uint8), 3, 1_000)
    joined.put("cam.video", frame)
    joined.turn()
    first = joined.received()
    assert not any(isinstance(message, Picture) for message in first)
    assert items_of(first, "cam.video").last["index"] == 3
    joined.peer.sendall(pack(Want("cam.video", 320)) + pack(Want("no.such", 320)))
    joined.turn()
    assert list(joined.module._wanted) == ["cam.video"]
    frame = Frame.from_array(np.zeros((48, 64, 3), np.uint8), 4, 2_000)
    for _ in range(5):
        joined.put("cam.video", frame)
    joined.turn()
    pictures = [message for message in joined.received() if isinstance(message, Picture)]
    assert [(picture.index, picture.width) for picture in pictures] == [(4, 320)]


def test_a_program_that_reads_nothing_costs_a_bounded_memory_and_no_wait(joined):
    for _ in range(3_000):
        for number in range(20):
            joined.put("loop.rows", ["x" * 200] * 8, sent_usec=number)
        joined.turn()
    assert joined.module._line.waiting_bytes < 6 << 20
    assert len(joined.module._pending) == 1


def test_a_program_that_has_gone_is_forgotten(joined, caplog):
    joined.peer.close()
    joined.turn()
    for _ in range(10):
        joined.put("board.fmdata", LineReading(7, 1, 1))
        joined.turn()
    assert not joined.module._line.is_open
    assert not joined.module._line.waiting_bytes


def test_without_a_program_the_run_goes_on_with_a_warning(tmp_path, caplog):
    joined = Joined(tmp_path, listens=False)
    joined.put("board.fmdata", LineReading(7, 1, 1))
    joined.turn()
    assert "the run goes on without it" in caplog.text
    joined.close()


def test_what_is_no_message_ends_the_connection_and_not_the_run(joined, caplog):
    joined.peer.sendall(b"\xff" * 64)
    joined.turn()
    assert "goes on without a view" in caplog.text
    assert not joined.module._line.is_open
