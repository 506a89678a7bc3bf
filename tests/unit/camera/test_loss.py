"""A camera that is lost during a run: the run ends, or waits and marks the gap."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink.types import ControlCommand, ControlCommandKind
from mlink_drivers.camera import module as camera_module
from mlink_drivers.camera.backend import Answer, CameraInfo, Stamp
from mlink_drivers.camera.catalog import CameraSettings, camera_generic
from mlink_drivers.camera.changes import parse_value
from mlink_drivers.camera.module import CameraModule
from tests.support.fake_context import FakeContext

PERIOD_NS = 5_000_000
SHAPE = (48, 64, 3)


class Plug:
    """A camera's cable, and every backend that was made for it."""

    def __init__(self, *, numbers=False, shapes=(SHAPE,)):
        self.plugged = True
        self.numbers = numbers
        self.shapes = list(shapes)
        self.opened = []
        self.controls = {}
        self.begun = threading.Event()
        self.closed = 0
        self.vanishes = 0
        """How many openings from the second on fail because the node has gone meanwhile."""

    def make(self, address):
        return PluggedCamera(self, address)


class PluggedCamera:
    def __init__(self, plug, address):
        self.plug = plug
        self.address = address
        self.count = 0

    def open(self, address, request):
        assert address == self.address
        self.check()
        if self.plug.opened and self.plug.vanishes:
            self.plug.vanishes -= 1
            raise FileNotFoundError(2, "No such file or directory", "/dev/v4l/by-id/webcam")
        self.plug.opened.append(address)
        self.plug.controls = dict(request.controls)
        shape = self.plug.shapes[min(len(self.plug.opened), len(self.plug.shapes)) - 1]
        answers = tuple(self.adjust(*item) for item in request.controls.items())
        return CameraInfo(shape, np.dtype(np.uint8), 1e9 / PERIOD_NS, "test", 1,
                          identity="usb:serial=A1", answers=answers)  # fmt: skip

    def check(self):
        if not self.plug.plugged:
            raise DeviceError("the camera is away", remedy="Plug it in.")

    def start(self):
        self.begin_ns = time.monotonic_ns()

    def grab(self):
        self.check()
        due_ns = self.begin_ns + (self.count + 1) * PERIOD_NS
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        self.check()
        self.count += 1
        if self.count >= 5:
            self.plug.begun.set()
        return Stamp(due_ns, self.count - 1 if self.plug.numbers else -1)

    def retrieve(self, into):
        into[...] = 1
        return True

    def adjust(self, control, value):
        self.plug.controls[control] = value
        got = min(value, 10_000) if isinstance(value, int) else value
        return Answer(control, str(value), str(got), got == value)

    def close(self):
        self.plug.closed += 1


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    monkeypatch.setattr("mlink_drivers.camera.loss._RETRY_SEC", 0.01)
    made = []

    def make(plug, **settings):
        monkeypatch.setattr(camera_module, "make_backend", plug.make)
        context = FakeContext(
            camera_generic,
            CameraSettings(**settings),
            tmp_path,
            name="eye",
            device=DeviceEndpoint(name="eye", spec="test:1", address="test:1"),
            clock=MasterClock(),
        )
        module = CameraModule(context)
        made.append(module)
        module.prepare()
        context.clock.t0_monotonic_ns = time.monotonic_ns()
        return module, context

    yield make
    for module in made:
        module.close()


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def unplug_for(plug, module, seconds):
    """Pull the cable once frames come, put it in again after a while, and wait for frames."""
    assert plug.begun.wait(60)
    plug.plugged = False
    until(lambda: module._loss.lost)
    time.sleep(seconds)
    plug.begun.clear()
    plug.plugged = True
    assert plug.begun.wait(60)


def test_a_loss_ends_the_run_by_default(make_module):
    plug = Plug()
    module, context = make_module(plug)
    module.start()
    assert plug.begun.wait(60)
    plug.plugged = False
    assert context.failed.wait(60)
    module.halt()
    assert str(context.failures[0]) == "the camera is away\n  → Plug it in."
    assert context.outputs["changes"].items[-1][1:] == ["connection", "", "lost"]


@pytest.mark.parametrize("numbers", [False, True])
def test_a_camera_that_comes_back_goes_on_with_the_stream_and_the_gap_shows(make_module, numbers):
    plug = Plug(numbers=numbers)
    module, context = make_module(plug, on_loss="continue")
    module.start()
    unplug_for(plug, module, 0.1)
    module.halt()
    assert not context.failures
    frames = context.outputs["video"].items
    times = np.diff([frame.time_usec for frame in frames])
    steps = np.diff([frame.index for frame in frames])
    assert (times > 0).all()
    at = int(times.argmax())
    assert times[at] > 90_000
    # the numbers jump by as many frames as would have come, and `lost` has that number
    assert steps[at] == pytest.approx(times[at] * 1000 / PERIOD_NS, abs=1)
    assert steps[at] - 1 <= context.reports["lost"]
    assert context.reports["outages"] == 1
    assert context.reports["outage_s"] > 0.09


def test_a_node_that_vanishes_while_it_is_opened_is_waited_for(make_module, caplog):
    caplog.set_level("INFO")
    plug = Plug()
    plug.vanishes = 3
    module, context = make_module(plug, on_loss="continue")
    module.start()
    unplug_for(plug, module, 0)
    module.halt()
    assert not context.failures
    assert plug.vanishes == 0
    assert caplog.text.count("still waiting: [Errno 2] No such file") == 1


def test_the_camera_is_found_again_by_its_identity(make_module):
    plug = Plug()
    module, _ = make_module(plug, on_loss="continue")
    module.start()
    unplug_for(plug, module, 0)
    module.halt()
    assert plug.opened == ["test:1", "usb:serial=A1"]


def test_loss_and_return_are_rows_with_their_times_and_lines_of_the_log(make_module, caplog):
    caplog.set_level("INFO")
    plug = Plug()
    module, context = make_module(plug, on_loss="continue")
    module.start()
    unplug_for(plug, module, 0.05)
    module._show()
    module.halt()
    rows = context.outputs["changes"].items
    assert [row[1:] for row in rows] == [
        ["connection", "", "lost"],
        ["connection", "", "open"],
    ]
    assert int(rows[1][0]) - int(rows[0][0]) > 45_000
    assert "the camera is away; waiting for it" in caplog.text
    assert "test:1 is back after" in caplog.text


def test_the_state_is_shown_while_the_camera_is_away(make_module):
    plug = Plug()
    module, context = make_module(plug, on_loss="continue")
    module.start()
    assert plug.begun.wait(60)
    plug.plugged = False
    until(lambda: module._loss.lost)
    module._show()
    assert context.status == "lost"
    module.halt()
    assert not context.failures  # a run may end while it waits
    assert context.reports["outages"] == 1


def test_the_return_may_end_the_run(make_module):
    plug = Plug()
    module, context = make_module(plug, on_loss="continue", on_reconnect="stop")
    module.start()
    unplug_for(plug, module, 0)
    module.halt()
    assert not context.running
    assert not context.failures


def test_a_camera_that_comes_back_with_other_pictures_ends_the_run(make_module):
    plug = Plug(shapes=[SHAPE, (24, 32, 3)])
    module, context = make_module(plug, on_loss="continue")
    module.start()
    assert plug.begun.wait(60)
    plug.plugged = False
    until(lambda: module._loss.lost)
    plug.plugged = True
    assert context.failed.wait(60)
    module.halt()
    assert "came back with pictures of (24, 32, 3)" in str(context.failures[0])


def test_every_backend_that_was_opened_is_closed(make_module):
    plug = Plug()
    module, _ = make_module(plug, on_loss="continue")
    module.start()
    unplug_for(plug, module, 0)
    module.halt()
    module.close()
    assert plug.closed >= len(plug.opened) == 2


# --- changes during a run ----------------------------------------------------------------------


def custom(text):
    return ControlCommand(ControlCommandKind.CUSTOM, command=text)


def test_a_command_changes_a_control_and_becomes_a_row_with_its_time(make_module):
    plug = Plug()
    module, context = make_module(plug)
    module.start()
    assert plug.begun.wait(60)
    before = context.clock.now_usec()
    context.inputs["control-in"].on_item(custom("exposure=5000; gain=3"))
    after = context.clock.now_usec()
    module.halt()
    rows = context.outputs["changes"].items
    assert [row[1:] for row in rows] == [["exposure", "5000", "5000"], ["gain", "3", "3"]]
    assert before <= int(rows[0][0]) <= int(rows[1][0]) <= after
    assert plug.controls == {"exposure": 5000, "gain": 3}
    assert context.reports["changes"] == 2
    assert context.outputs["changes"].metadata["table_header"] == [
        "time_usec",
        "control",
        "asked",
        "got",
    ]


def test_what_the_camera_makes_of_it_is_in_the_row_and_a_warning(make_module, caplog):
    _, context = make_module(Plug())
    context.inputs["control-in"].on_item(custom("exposure=99999"))
    assert context.outputs["changes"].items[0][1:] == ["exposure", "99999", "10000"]
    assert "exposure: asked 99999, got 10000" in caplog.text


@pytest.mark.parametrize(
    "command", [custom("louder"), custom("=3"), ControlCommand(ControlCommandKind.START)]
)
def test_a_command_that_cannot_be_parsed_is_a_warning_with_an_example(make_module, caplog, command):
    _, context = make_module(Plug())
    context.inputs["control-in"].on_item(command)
    assert context.outputs["changes"].items == []
    assert "exposure=5000" in caplog.text


def test_a_camera_that_comes_back_gets_the_changes_again(make_module):
    plug = Plug()
    module, context = make_module(plug, on_loss="continue", controls={"brightness": 5})
    module.start()
    assert plug.begun.wait(60)
    context.inputs["control-in"].on_item(custom("gain=3"))
    unplug_for(plug, module, 0)
    module.halt()
    assert plug.controls == {"brightness": 5, "gain": 3}


def test_texts_become_the_values_that_they_mean():
    texts = ["3", "-2", "0.5", "true", "False", "auto", "Manual Mode"]
    assert [parse_value(text) for text in texts] == [
        3, -2, 0.5, True, False, "auto", "Manual Mode",
    ]  # fmt: skip


# --- settings ----------------------------------------------------------------------------------


def test_controls_are_set_in_a_fixed_order_and_reported_as_asked_and_got(make_module, caplog):
    plug = Plug()
    settings = {"gain": 3, "exposure": 5000, "controls": {"sharpness": 2}}
    _, context = make_module(plug, **settings)
    assert list(plug.controls) == ["exposure", "gain", "sharpness"]
    assert context.reports["exposure"] == "asked 5000, got 5000"


def test_a_control_taken_otherwise_is_a_warning_or_strictly_an_error(make_module, caplog):
    make_module(Plug(), exposure=20_000)
    assert "exposure: asked 20000, got 10000" in caplog.text
    with pytest.raises(DeviceError, match="asked 20000, got 10000"):
        make_module(Plug(), exposure=20_000, strict=True)


def test_a_source_without_controls_is_reported(make_module, monkeypatch, caplog):
    plug = Plug()
    plain = type("Plain", (PluggedCamera,), {"adjust": None})
    plug.make = lambda address: plain(plug, address)
    monkeypatch.setattr(PluggedCamera, "open", lambda self, address, request: CameraInfo(
        SHAPE, np.dtype(np.uint8), 200.0, "test", 1))  # fmt: skip
    make_module(plug, gain=3)
    assert "gain: asked 3, got this source has no such control" in caplog.text


def test_a_region_of_interest_in_grey_is_all_that_is_sent(make_module):
    plug = Plug()
    module, context = make_module(plug, roi=(8, 4, 20, 10), greyscale=True)
    metadata = context.outputs["video"].metadata
    assert tuple(metadata["size"]) == (20, 10)
    assert metadata["has_color"] is False
    module.start()
    assert plug.begun.wait(60)
    module.halt()
    assert {frame.view.shape for frame in context.outputs["video"].items} == {(10, 20)}


def test_a_region_outside_the_picture_is_an_error_before_the_run(make_module):
    with pytest.raises(DeviceError, match="is not within the 64×48 pixels of test:1"):
        make_module(Plug(), roi=(60, 0, 10, 10))


def test_the_capture_thread_stays_on_its_processors(make_module, caplog):
    caplog.set_level("INFO")
    plug = Plug()
    cpu = min(os.sched_getaffinity(0))
    module, _ = make_module(plug, affinity=(cpu,))
    module.start()
    assert plug.begun.wait(60)
    module.halt()
    assert f"capture thread: on processors {cpu} only" in caplog.text
