"""`canvas`: shows the newest frame at a limited rate, and never blocks its stream."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import numpy as np
import pytest

from mlink.modules.image.canvas import CanvasModule, display_problem, shown
from mlink.modules.image.catalog import CanvasSettings, canvas
from mlink.types import ControlCommand, ControlCommandKind, Frame
from tests.support.fake_context import FakeContext


class FakeWindow:
    def __init__(self):
        self.pictures = []
        self.closed = False
        self.user_closes = False

    def show(self, picture):
        if self.user_closes:
            return False
        self.pictures.append(int(picture[0, 0]))
        return True

    def close(self):
        self.closed = True


@pytest.fixture
def make(tmp_path, monkeypatch):
    def make(*, display=True, **settings):
        problem = "" if display else "there is no display"
        monkeypatch.setattr(
            "mlink.modules.image.canvas.display_problem", lambda environment: problem
        )
        window = FakeWindow()
        monkeypatch.setattr(CanvasModule, "_open_window", lambda self, title: window)
        context = FakeContext(canvas, CanvasSettings(**settings), tmp_path)
        module = CanvasModule(context)
        module.prepare()
        module.start()
        return module, context, window

    return make


def frame(number):
    return Frame.from_array(np.full((4, 4), number, np.uint8), number)


def run_for(module, context, seconds, every_serve=lambda: None):
    """Run the module's loop for this time of a clock that only serving advances."""
    now = 0.0

    def serve(timeout_usec=-1):
        nonlocal now
        now += max(0, timeout_usec) / 1e6
        every_serve()
        context.running = now < seconds

    context.serve = serve
    context.waiting = SimpleNamespace(now_ns=lambda: round(now * 1e9))
    module.run()


def test_only_the_newest_frame_is_drawn_and_no_more_often_than_asked(make):
    module, context, window = make(max_framerate=50)
    sent = iter(range(10_000))

    def ten_frames():
        for _ in range(10):
            context.inputs["frames-in"].on_item(frame(next(sent) % 250))

    run_for(module, context, 0.3, ten_frames)
    module.stop()
    assert len(window.pictures) == 15  # one each 20 ms
    assert all(number % 10 == 9 for number in window.pictures)  # the last of each ten
    assert context.reports["frames_shown"] == len(window.pictures)


def test_nothing_is_drawn_twice(make):
    module, context, window = make()
    context.inputs["frames-in"].on_item(frame(3))
    run_for(module, context, 0.1)
    assert window.pictures == [3]


@pytest.mark.parametrize("kind", [ControlCommandKind.STOP, ControlCommandKind.PAUSE])
def test_stop_and_pause_hold_the_picture_and_any_other_command_lets_it_go_on(make, kind):
    module, context, window = make()
    show, control = context.inputs["frames-in"].on_item, context.inputs["control"].on_item
    show(frame(1))
    control(ControlCommand(kind))
    show(frame(2))
    run_for(module, context, 0.05)
    assert window.pictures == []
    control(ControlCommand(ControlCommandKind.STEP))
    show(frame(3))
    context.running = True
    run_for(module, context, 0.05)
    assert window.pictures == [3]


def test_without_a_display_it_is_off_with_one_line_and_the_run_goes_on(make, caplog):
    caplog.set_level("INFO")
    module, context, _ = make(display=False)
    assert [record.message for record in caplog.records] == [
        "nothing is shown: there is no display"
    ]
    assert context.inputs["frames-in"].on_item is None  # frames pass by unlooked at
    assert context.status == "off"
    module.run()
    module.stop()
    module.close()
    assert not context.failures


def test_a_window_that_the_user_closes_stays_closed(make):
    module, context, window = make()
    context.inputs["frames-in"].on_item(frame(1))
    window.user_closes = True
    run_for(module, context, 0.1)
    assert window.closed
    assert context.inputs["frames-in"].on_item is None


def test_a_highgui_without_windows_is_no_failure(make, monkeypatch, caplog, tmp_path):
    caplog.set_level("INFO")

    def no_gui(self, title):
        raise RuntimeError("The function is not implemented\nRebuild the library")

    make()
    monkeypatch.setattr(CanvasModule, "_open_window", no_gui)
    context = FakeContext(canvas, CanvasSettings(), tmp_path)
    CanvasModule(context).start()
    assert "nothing is shown: The function is not implemented" in caplog.text
    assert "Rebuild" not in caplog.text


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
def test_the_bits_that_are_used_are_shown_as_black_to_white_and_saturated_pixels_in_red(bits):
    top = (1 << bits) - 1
    picture = np.array([[0, top // 2, top - 1, top]], np.uint16)
    grey = shown(picture, bits, red=False)
    assert (grey.dtype, grey[0, 0], grey[0, 3]) == (np.uint8, 0, 255)
    assert abs(int(grey[0, 1]) - 127) <= 1
    marked = shown(picture, bits, red=True)
    assert marked[0, 3].tolist() == [0, 0, 255]
    assert marked[0, 2].tolist() == [grey[0, 2]] * 3


def test_8_bits_are_shown_as_they_are_and_saturated_pixels_in_red():
    picture = np.array([[10, 255]], np.uint8)
    assert shown(picture, 8, red=True).tolist() == [[[10, 10, 10], [0, 0, 255]]]
    assert shown(picture, 8, red=False) is picture


@pytest.mark.parametrize("red", [True, False])
@pytest.mark.parametrize(("channels", "left"), [(1, 1), (4, 3)])
def test_alpha_is_neither_shown_nor_saturated(red, channels, left):
    picture = np.full((2, 2, channels), 255, np.uint8)
    picture[..., :3] = 9
    assert np.unique(shown(picture, 8, red=red)).tolist() == [9]
    assert shown(picture, 8, red=False).size == 4 * left


def test_a_display_that_does_not_answer_is_none(tmp_path):
    assert display_problem({}) == "there is no display"
    assert "is not a display" in display_problem({"DISPLAY": "tv"})
    assert "does not answer" in display_problem({"DISPLAY": ":7"}, tmp_path)
    with socket.socket(socket.AF_UNIX) as screen:
        screen.bind(str(tmp_path / "X7"))
        screen.listen()
        assert display_problem({"DISPLAY": ":7"}, tmp_path) == ""
        assert display_problem({"DISPLAY": ":7.0"}, tmp_path) == ""
