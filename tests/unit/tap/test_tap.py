"""The tap: its module and its link, joined by a real socket, without a run."""

from __future__ import annotations

import queue
import socket
import struct
from dataclasses import replace

import numpy as np
import pytest

from mlink.clock import ManualClock, MasterClock, VirtualClock
from mlink.errors import ControlError, ModuleError
from mlink.tap import messages
from mlink.tap import module as tap_module
from mlink.tap.catalog import TapSettings, TapStream, drive_port, tap_type
from mlink.tap.link import TapLink
from mlink.tap.module import TapModule
from mlink.types import (
    DataType,
    Frame,
    LineCommand,
    LineCommandKind,
    LineModeFlags,
    LineReading,
)
from tests.support.fake_context import FakeContext

READINGS, COMMANDS, ROWS, FRAMES = "board.fmdata", "loop.ctl", "loop.rows", "cam.video"
STREAMS = {
    READINGS: DataType.LineReading,
    COMMANDS: DataType.LineCommand,
    ROWS: DataType.TableRow,
    FRAMES: DataType.Frame,
}
T0_NS = 5_000_000_000
WAIT_SEC = 10.0


class Clock(MasterClock):
    """A master clock that a test sets."""

    time_usec = 0

    def now_usec(self) -> int:
        return self.time_usec


class Joined:
    """A tap and its link; `items` receives (item, uncertainty)."""

    def __init__(self, tmp_path, metadata) -> None:
        self.items: queue.SimpleQueue = queue.SimpleQueue()
        path = tmp_path / "tap"
        self.link = TapLink(path, lambda *item: self.items.put(item))
        streams = tuple(TapStream(name, kind) for name, kind in STREAMS.items())
        settings = TapSettings(socket=str(path), streams=streams, driven=("tester",))
        self.clock = Clock(T0_NS)
        self.context = FakeContext(tap_type, settings, tmp_path, clock=self.clock)
        for stream, found in metadata.items():
            self.context.inputs[stream].metadata = found
        self.module = TapModule(self.context)
        self.module.prepare()

    def start(self) -> None:
        self.module.start()
        assert self.link.hello.wait(WAIT_SEC)

    def send(self, stream, item, *, lost=0, sent_usec=0) -> None:
        port = self.context.inputs[stream]
        port.taken += lost + 1
        port.sent_ns = T0_NS + sent_usec * 1000
        port.on_item(item)

    def received(self):
        return self.items.get(timeout=WAIT_SEC)

    def wait_for_all(self) -> None:
        """Wait until the link has handled all that was sent so far."""
        self.link.catch_up()

    def picture(self, index, value, *, size=(4, 6)) -> None:
        self.send(FRAMES, Frame.from_array(np.full(size, value, np.uint8), index, index * 100))

    def serve(self, *turns) -> None:
        """Run the module's loop; each turn is called in the place of `context.serve`."""
        left = list(turns)

        def serve(_timeout_usec: int) -> None:
            left.pop(0)()
            self.context.running = bool(left)

        self.context.serve = serve
        self.context.running = True
        self.module.run()

    def close(self) -> None:
        self.module.close()
        self.link.close()


@pytest.fixture
def tap(tmp_path):
    joined = Joined(tmp_path, {READINGS: {"uncertainty_usec": 99.6}, FRAMES: {"framerate": 30.0}})
    yield joined
    joined.close()


def test_the_start_brings_the_runs_zero_its_folder_and_the_streams_metadata(tap):
    assert not tap.link.hello.is_set()
    tap.start()
    assert tap.link.t0_ns == T0_NS
    assert tap.link.to_usec(T0_NS + 7_000) == 7
    assert tap.link.recording_dir == tap.context.run_info.recording_dir
    assert tap.link.metadata[FRAMES] == {"framerate": 30.0}
    assert tap.link.uncertainty_usec(READINGS) == 100
    assert tap.link.uncertainty_usec(FRAMES) == tap.link.uncertainty_usec("no.such") == 0


def test_in_virtual_time_zero_is_the_virtual_time_of_the_start(tap):
    tap.context.clock = VirtualClock(ManualClock(), zero_usec=30_000)
    tap.start()
    assert tap.link.to_usec(31_500_000) == 1_500


def test_after_catching_up_all_that_the_tap_has_handled_is_there(tap):
    tap.start()
    for number in range(100):
        tap.send(READINGS, LineReading(7, 1, number))
    tap.link.catch_up()
    assert tap.items.qsize() == 100


def test_after_catching_up_an_item_that_has_not_come_is_lost(tap):
    tap.start()
    tap.send(READINGS, LineReading(7, 1, 100))
    tap.context.inputs[READINGS].taken += 1  # such as the last one before a test looks
    tap.link.catch_up()
    assert tap.link.lost == {READINGS: 1}
    assert tap.link.drained_usec == 0  # what was sent since the last report may be on its way


def test_a_run_that_is_not_recorded_has_no_folder(tap):
    tap.context.run_info = replace(tap.context.run_info, recording_dir=None)
    tap.start()
    assert tap.link.recording_dir is None


def test_items_arrive_in_order_with_their_times_and_the_uncertainty_of_their_stream(tap):
    tap.start()
    tap.clock.time_usec = 9000  # when the tap reads an item matters nothing
    tap.send(READINGS, LineReading(7, 1, 250))
    tap.send(COMMANDS, LineCommand(LineCommandKind.WRITE_DIGITAL, 8, 1), sent_usec=260)
    tap.send(ROWS, ["a", "b"], sent_usec=270)
    tap.picture(3, 0)
    assert [tap.received() for _ in range(4)] == [
        (messages.Reading(READINGS, 0, 7, 1, 250), 100),
        (messages.Command(COMMANDS, 0, int(LineCommandKind.WRITE_DIGITAL), 8, 1, 260), 0),
        (messages.Row(ROWS, 0, ["a", "b"], 270), 0),
        (messages.FrameSeen(FRAMES, 0, 3, 300, {}), 0),
    ]


def test_drained_is_the_start_of_a_turn_in_which_nothing_came(tap):
    tap.start()

    def row_until(time_usec):
        def turn() -> None:
            tap.send(ROWS, ["x"])
            tap.clock.time_usec = time_usec

        return turn

    tap.clock.time_usec = 30_000
    tap.serve(row_until(60_000), row_until(90_000))
    tap.wait_for_all()
    assert tap.link.drained_usec == 0
    tap.serve(lambda: None)
    tap.wait_for_all()
    assert tap.link.drained_usec == 90_000


def test_drained_is_reported_every_20_ms_at_most(tap):
    tap.start()

    def nothing_until(time_usec):
        def turn() -> None:
            tap.clock.time_usec = time_usec

        return turn

    tap.clock.time_usec = 30_000
    tap.serve(nothing_until(49_000), lambda: None)
    tap.wait_for_all()
    assert tap.link.drained_usec == 30_000


def test_frames_are_kept_and_fetched_by_index(tap):
    tap.start()
    for index in range(3):
        tap.picture(index, 10 * index)
    newest, first = tap.link.fetch(FRAMES, -1), tap.link.fetch(FRAMES, 0)
    assert (newest.index, newest.time_usec) == (2, 200)
    assert (newest.view == 20).all()
    assert newest.view.shape == (4, 6)
    newest.mat[0, 0] = 7  # a test may draw into it
    assert (first.view == 0).all()
    assert tap.link.fetch(FRAMES, 3) is None


def test_a_kept_frame_is_a_copy(tap):
    tap.start()
    pixels = np.zeros((4, 6), np.uint8)
    tap.send(FRAMES, Frame.from_array(pixels, 0, 0))
    pixels[:] = 255  # the publisher reuses its memory
    assert (tap.link.fetch(FRAMES, 0).view == 0).all()


def test_the_oldest_frames_are_dropped_beyond_the_limit_and_the_newest_is_always_kept(
    tap, monkeypatch
):
    monkeypatch.setattr(tap_module, "_KEPT_FRAME_BYTES", 50)
    tap.start()
    for index in range(3):
        tap.picture(index, 0)  # 24 bytes each
    assert [tap.link.fetch(FRAMES, index) is not None for index in range(3)] == [False, True, True]
    tap.picture(3, 0, size=(100, 100))
    assert tap.link.fetch(FRAMES, 2) is None
    assert tap.link.fetch(FRAMES, -1).index == 3


def test_a_region_reports_the_frames_that_are_kept_and_then_each_new_one(tap):
    tap.start()
    pixels = np.zeros((4, 6), np.uint8)
    pixels[1:3, 2:5] = 90
    tap.send(FRAMES, Frame.from_array(pixels, 0, 1000))
    seen: queue.SimpleQueue = queue.SimpleQueue()
    tap.link.add_region(FRAMES, (2, 1, 3, 2), lambda *each: seen.put(each))
    assert seen.get_nowait() == (1000, 90.0)
    pixels[1, 2:5] = 30
    tap.send(FRAMES, Frame.from_array(pixels, 1, 2000))
    assert seen.get(timeout=WAIT_SEC) == (2000, 60.0)


def test_a_region_outside_the_picture_is_dark(tap):
    tap.start()
    tap.picture(0, 200)
    seen = []
    tap.link.add_region(FRAMES, (50, 50, 3, 3), lambda *each: seen.append(each))
    assert seen == [(0, 0.0)]


def test_lost_items_are_counted_by_stream(tap):
    tap.start()
    tap.send(READINGS, LineReading(7, 1, 250), lost=3)
    tap.context.inputs[READINGS].taken += 2  # the end of the stream has shown them
    tap.module.drained()
    tap.wait_for_all()
    assert tap.link.lost == {READINGS: 5}
    assert tap.link.complete


def test_what_the_tap_took_and_never_sent_is_lost(tap):
    tap.start()
    tap.send(ROWS, ["x"])
    tap.context.inputs[ROWS].taken += 1  # an item that the tap did not pass on
    tap.clock.time_usec = 30_000
    tap.serve(lambda: None)
    tap.wait_for_all()
    assert tap.link.lost == {ROWS: 1}
    assert tap.link.accounts[ROWS].unseen(0, 30_000) is not None
    assert not tap.link.complete


def test_a_queue_that_may_have_been_full_leaves_its_stream_in_doubt(tap):
    tap.start()
    tap.context.inputs[ROWS].doubtful = True
    tap.clock.time_usec = 30_000
    tap.serve(lambda: None)
    tap.wait_for_all()
    assert tap.link.accounts[ROWS].doubtful
    assert not tap.link.accounts[READINGS].doubtful


def test_an_item_that_comes_twice_is_passed_on_once(tap):
    tap.start()
    tap.send(ROWS, ["x"])
    tap.context.inputs[ROWS].on_item(["x"])
    tap.picture(0, 0)
    assert [type(tap.received()[0]) for _ in range(2)] == [messages.Row, messages.FrameSeen]
    assert tap.link.accounts[ROWS].repeated == 1


def test_a_link_that_breaks_reports_why_and_does_not_hold_up_the_tap(tap):
    tap.start()

    def fail(*_):
        raise ValueError("no room")

    tap.link._on_item = fail
    tap.send(ROWS, ["x"])
    assert tap.link.ended.wait(WAIT_SEC)
    assert "ValueError('no room')" in tap.link.broken
    for index in range(50):
        tap.picture(index, 0)
    assert tap.context.failures == []


def test_a_line_is_driven_as_an_output_and_released_as_an_input_with_pull_up(tap):
    tap.start()
    tap.link.drive("tester", 4, True)
    tap.link.drive("tester", 4, None)
    tap.wait_for_all()
    assert tap.context.outputs[drive_port("tester")].items == [
        LineCommand(LineCommandKind.SET_MODE, 4, flags=LineModeFlags.IS_OUTPUT),
        LineCommand(LineCommandKind.WRITE_DIGITAL, 4, value=1),
        LineCommand(
            LineCommandKind.SET_MODE, 4, flags=LineModeFlags.IS_INPUT | LineModeFlags.PULL_UP
        ),
    ]


def test_requests_before_the_start_and_after_the_end_are_errors(tmp_path):
    link = TapLink(tmp_path / "tap", lambda *_: None)
    with pytest.raises(ControlError, match="has not started yet"):
        link.drive("tester", 4, True)
    link.close()
    with pytest.raises(ControlError):
        link.fetch(FRAMES, -1)


def test_a_tap_that_has_gone_is_an_error(tap):
    tap.start()
    tap.module.close()
    tap.link._thread.join(WAIT_SEC)
    with pytest.raises(ControlError, match="the run has ended"):
        tap.link.fetch(FRAMES, -1)


def test_a_tap_that_does_not_answer_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("mlink.tap.link._ANSWER_SEC", 0.01)
    link = TapLink(tmp_path / "tap", lambda *_: None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.connect(str(tmp_path / "tap"))
        silent.sendall(messages.pack(messages.Hello(0, "", {})))
        assert link.hello.wait(WAIT_SEC)
        with pytest.raises(ControlError, match=r"did not answer a request on cam\.video"):
            link.fetch(FRAMES, -1)
    link.close()


def test_a_subscriber_that_has_gone_does_not_end_the_run(tap):
    tap.start()
    tap.link.close()
    for index in range(100):
        tap.picture(index, 0)
        tap.send(ROWS, ["x"])
    assert tap.context.failures == []


def test_a_tap_without_a_subscriber_fails(tmp_path):
    settings = TapSettings(socket=str(tmp_path / "nothing"))
    module = TapModule(FakeContext(tap_type, settings, tmp_path))
    with pytest.raises(ModuleError, match=r"cannot connect to .*nothing: No such file"):
        module.prepare()
    module.close()


# messages ---------------------------------------------------------------------------------------


def received(data):
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.close()
    with ours:
        receiver = messages.Receiver(ours)
        try:
            return receiver.to_tap(), receiver.to_tap()
        finally:
            receiver.close()


def test_a_message_that_was_cut_is_the_end():
    whole = messages.pack(messages.Fetch(1, FRAMES, -1))
    assert received(whole) == (messages.Fetch(1, FRAMES, -1), None)
    for cut in (0, 3, 4, len(whole) - 1):
        assert received(whole[:cut]) == (None, None)


def test_bytes_that_are_no_message_are_an_error():
    with pytest.raises(ControlError, match="disagree on a message"):
        received(struct.pack("<I", 3) + b"\xc1\xc1\xc1")
