"""The rendered scene: each picture has its number and its time, and frames are on schedule."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError, StreamError
from mlink.types import Frame
from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.catalog import CameraSettings, camera_generic
from mlink_drivers.camera.module import CameraModule
from mlink_hil.scene import camera as scene_camera
from mlink_hil.scene.camera import SceneCamera, read_marks
from mlink_hil.scene.faults import CameraOrder, order_camera, orders_path
from mlink_hil.scene.marks import TIME_MODULUS, draw_marks
from tests.support.boards.chip_bench import wait_until
from tests.support.fake_context import FakeContext


class SimulatedTime:
    """Stands in for the module `time` of the camera: sleeping moves the clock at once."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_123
        self.slept: list[float] = []

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def simulated(monkeypatch):
    """Let the scene's camera run in simulated time."""
    clock = SimulatedTime()
    monkeypatch.setattr(scene_camera, "time", clock)
    return clock


def open_scene(address="virtual:scene", **request):
    camera = SceneCamera()
    # the module `time` of the camera may be a simulated one
    request.setdefault("now_ns", scene_camera.time.monotonic_ns)
    info = camera.open(address, CameraRequest(**request))
    return camera, info


def take(camera, info):
    stamp = camera.grab()
    assert isinstance(stamp, Stamp)
    image = np.empty(info.shape, info.dtype)
    assert camera.retrieve(image)
    return stamp, image


@given(st.integers(0, 2**32 - 1), st.integers(0, TIME_MODULUS - 1))
def test_marks_are_read_as_they_were_drawn(number, time_usec):
    image = np.full((60, 160, 3), 77, np.uint8)
    draw_marks(image, number, time_usec)
    assert read_marks(image) == (number, time_usec)
    assert read_marks(np.ascontiguousarray(image[:, :, 0])) == (number, time_usec)


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_without_marks_is_refused(value):
    with pytest.raises(StreamError, match="no readable marks"):
        read_marks(np.full((480, 640, 3), value, np.uint8))


def test_a_damaged_mark_is_refused():
    image = np.zeros((480, 640, 3), np.uint8)
    draw_marks(image, 5, 6)
    image[:20, :20] = 255 - image[:20, :20]
    with pytest.raises(StreamError):
        read_marks(image)


def test_a_picture_has_its_own_number_and_stamp(simulated):
    camera, info = open_scene(size=(320, 240), framerate=200)
    camera.start()
    for number in range(5):
        stamp, image = take(camera, info)
        assert simulated.now_ns >= stamp.time_ns
        assert read_marks(image) == (number, stamp.time_ns // 1000)
        assert stamp.number == number


def test_frames_are_due_on_an_absolute_schedule(simulated):
    camera, _ = open_scene(framerate=300)
    camera.start()
    stamps = []
    for _ in range(20):
        simulated.now_ns += 1_234_567  # the reader's own time is not added to the period
        stamps.append(camera.grab())
    first = stamps[0]
    for number, stamp in enumerate(stamps):
        assert stamp.number == number
        late = stamp.time_ns - first.time_ns - round(number * 1e9 / 300)
        assert abs(late) <= 1000  # stamps are whole µs


def test_the_first_frame_is_late_by_the_phase(simulated):
    stamps = []
    for address in ("virtual:scene", "virtual:scene?phase_usec=7000"):
        simulated.now_ns = 5_000_000_000
        camera, info = open_scene(address, framerate=50)
        camera.start()
        stamps.append([take(camera, info)[0] for _ in range(2)])
    (first, second), (late, later) = stamps
    assert (late.number, late.time_ns - first.time_ns) == (0, 7_000_000)
    assert later.time_ns - second.time_ns == 7_000_000


def test_a_late_reader_misses_frames_and_the_numbers_show_it(simulated):
    camera, info = open_scene(framerate=100)
    camera.start()
    assert take(camera, info)[0].number == 0
    simulated.now_ns += 105_000_000
    stamp, image = take(camera, info)
    assert stamp.number == 10 - 3
    assert read_marks(image).number == stamp.number
    assert camera.grab().number == stamp.number + 1


def test_a_reader_less_than_four_frames_late_misses_none_and_their_times_are_right(simulated):
    camera, info = open_scene(framerate=25)
    camera.start()
    first = take(camera, info)[0]
    simulated.now_ns += 159_000_000
    seen = [take(camera, info) for _ in range(3)]
    assert [stamp.number for stamp, _ in seen] == [1, 2, 3]
    assert [stamp.time_ns - first.time_ns for stamp, _ in seen] == [
        40_000_000 * n for n in (1, 2, 3)
    ]
    assert [read_marks(image).number for _, image in seen] == [1, 2, 3]


def test_a_fault_that_comes_while_a_frame_is_waited_for_acts_on_that_frame(tmp_path, simulated):
    path = orders_path(tmp_path, "eye")
    camera, info = open_scene(f"virtual:scene?orders={path}", framerate=10)
    camera.start()
    zeroth, before = take(camera, info)
    sleep = simulated.sleep

    def order_and_sleep(seconds):
        order_camera(tmp_path, "eye", CameraOrder(frozen=True, late_usec=7))
        sleep(seconds)

    simulated.sleep = order_and_sleep
    first, kept = take(camera, info)
    second, repeated = take(camera, info)
    camera.close()
    assert not np.array_equal(before, kept)
    assert np.array_equal(kept, repeated)
    assert first.time_ns - zeroth.time_ns == 100_007_000
    assert second.time_ns - first.time_ns == 100_000_000


def test_a_slow_scene_returns_within_a_second(simulated):
    camera, _ = open_scene(framerate=0.1)
    camera.start()
    assert isinstance(camera.grab(), Stamp)
    simulated.slept.clear()
    assert camera.grab() is NoFrame.NOT_YET
    assert simulated.slept == [1.0]


def test_the_seed_decides_the_picture():
    def background(address):
        camera, _ = open_scene(address)
        return camera._background

    assert np.array_equal(background("virtual:scene?seed=1"), background("virtual:scene?seed=1"))
    assert not np.array_equal(background("virtual:scene?seed=1"), background("virtual:scene"))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("virtual:scene?sead=1", "sead"),
        ("virtual:scene?seed=x", "not a whole number"),
        ("virtual:scene?phase_usec=-1", "phase_usec of the scene is out of range"),
        ("virtual:scene?phase_usec=1000001", "phase_usec of the scene is out of range"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(address, reason):
    with pytest.raises(DeviceError, match=reason):
        open_scene(address)


def test_a_picture_too_small_for_marks_is_refused():
    with pytest.raises(DeviceError, match="too small"):
        open_scene(size=(64, 48))


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (960, 720)])
def test_marks_survive_h264(tmp_path, simulated, size):
    camera, info = open_scene(size=size, framerate=500)
    camera.start()
    path = tmp_path / "scene.mkv"
    sent = []
    with av.open(str(path), "w") as container:
        options = {"crf": "28", "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(10):
            stamp, image = take(camera, info)
            sent.append((stamp.number, stamp.time_ns // 1000))
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        read = [read_marks(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]
    assert read == sent


def test_through_the_module_marks_and_frames_agree(tmp_path):
    context = FakeContext(
        camera_generic,
        CameraSettings(size=(320, 240), framerate=100),
        tmp_path,
        device=DeviceEndpoint(name="eye", spec="virtual:scene", address="virtual:scene"),
        clock=MasterClock(),
    )
    module = CameraModule(context)
    module.prepare()
    context.clock.t0_monotonic_ns = time.monotonic_ns()
    module.start()
    frames = context.outputs["video"].items
    wait_until(lambda: len(frames) > 5 or context.failures)
    module.halt()
    module.close()
    assert not context.failures
    assert len(frames) > 5
    assert frames[0].index == 0
    assert frames[0].time_usec >= 0
    assert context.outputs["video"].metadata["timestamp_source"] == "generator"
    offsets = set()
    for frame in frames:
        assert isinstance(frame, Frame)
        marks = read_marks(frame)
        assert marks.number == frame.index
        offsets.add(marks.time_usec - frame.time_usec)
    assert len(offsets) == 1  # the marks' clock and the master timer differ by a constant
