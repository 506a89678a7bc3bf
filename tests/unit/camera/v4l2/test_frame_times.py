"""The origin of a V4L2 frame's time, with a fake OpenCV capture."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.opencv import cv2
from mlink_drivers.camera.v4l2 import camera as camera_module


class SteppedTime:
    """Stands in for the module `time` in the backend; only sleeping and grabbing move it."""

    def __init__(self):
        self.now_ns = 5_000_000_000_000

    def monotonic_ns(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


class FakeCapture:
    """Grabs in `delay_sec` of stepped time; `driver_ms` gives the driver's time at a moment in ns.

    The driver's time is in ms, as OpenCV returns it.
    """

    def __init__(self, clock, driver_ms, size=(64, 48), framerate=30.0):
        self.clock = clock
        self.driver_ms = driver_ms
        self.values = {
            cv2.CAP_PROP_FPS: framerate,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
        }
        self.image = np.zeros((size[1], size[0], 3), np.uint8)
        self.delay_sec = 0.003  # longer than taking a frame that waits
        self.fails = False

    def isOpened(self):
        return True

    def grab(self):
        self.clock.sleep(self.delay_sec)
        if self.fails:
            return False
        self.values[cv2.CAP_PROP_POS_MSEC] = self.driver_ms(self.clock.now_ns)
        return True

    def retrieve(self, into=None):
        return True, self.image if into is None else into

    def get(self, key):
        return self.values[key]

    def set(self, key, value):
        return True

    def release(self):
        pass


def on_our_clock(now_ns):
    return now_ns / 1e6 - 1.0  # 1 ms before delivery


def unix_time(now_ns):
    return now_ns / 1e6 + 1.7e12


def no_time(_now_ns):
    return 0.0


@pytest.fixture
def opened(monkeypatch):
    def open_camera(driver_ms, **request):
        clock = SteppedTime()
        capture = FakeCapture(clock, driver_ms)
        monkeypatch.setattr(camera_module, "time", clock)
        monkeypatch.setattr(camera_module, "check_node", lambda node: None)
        monkeypatch.setattr(camera_module, "gone", lambda node: False)
        monkeypatch.setattr(camera_module.cv2, "VideoCapture", lambda address, api: capture)
        monkeypatch.setattr(camera_module.cv2, "setNumThreads", lambda count: None)
        camera = camera_module.V4L2Camera()
        asked = {"size": (64, 48), **request}
        return camera, camera.open("/dev/video0", CameraRequest(**asked)), capture

    return open_camera


def test_a_drivers_time_on_our_clock_is_the_frames_time(opened):
    camera, info, capture = opened(on_our_clock)
    assert info.timestamp_source == "v4l2-monotonic"
    assert info.uncertainty_usec == 1000
    camera.start()
    stamp = camera.grab()
    assert stamp.time_ns == capture.clock.now_ns - 1_000_000
    assert not stamp.estimated


def stuck(_now_ns):
    return 12345.0


def too_fast(now_ns):
    return now_ns / 1e3  # a driver that counts µs where OpenCV expects ms


@pytest.mark.parametrize("driver_ms", [no_time, stuck, too_fast])
def test_without_a_steady_time_a_frame_has_the_moment_of_its_arrival(opened, driver_ms):
    camera, info, capture = opened(driver_ms)
    assert info.timestamp_source == "host"
    assert info.uncertainty_usec == 33_333  # one frame period
    capture.driver_ms = no_time
    assert camera.grab().time_ns == capture.clock.now_ns


def test_another_steady_clock_makes_the_moments_of_arrival_steadier(opened):
    camera, info, capture = opened(unix_time)
    assert info.timestamp_source == "v4l2-synchronised"
    assert info.uncertainty_usec == 33_333
    camera.start()
    capture.delay_sec = 0
    now_ns = capture.clock.now_ns
    arrivals = random.Random(1)
    steps = []
    for n in range(1500):  # 30 frames a second by the camera's clock, up to 10 ms late here
        taken_ns = now_ns + n * 33_333_333
        arrived_ns = taken_ns + round(arrivals.uniform(0, 10e6))
        capture.clock.now_ns = arrived_ns
        capture.driver_ms = lambda _now_ns, taken_ns=taken_ns: unix_time(taken_ns)
        steps.append(camera.grab().time_ns)
    jitter = np.diff(steps[-300:]) - 33_333_333
    # whatever the strategy does with a sample within tolerance, times stay in order
    assert (np.diff(steps) > 0).all()
    assert np.abs(jitter).max() <= 10e6


def test_a_time_that_has_not_come_yet_is_not_on_our_clock(opened):
    _, info, _ = opened(lambda now_ns: now_ns / 1e6 + 20)
    assert info.timestamp_source == "v4l2-synchronised"


def test_a_repeated_time_is_no_frame(opened):
    camera, _, capture = opened(on_our_clock)
    camera.grab()
    again = capture.values[cv2.CAP_PROP_POS_MSEC]
    capture.driver_ms = lambda _now_ns: again
    assert camera.grab() is NoFrame.REPEATED


def test_one_impossible_time_is_replaced_and_marked(opened):
    camera, _, capture = opened(on_our_clock)
    assert isinstance(camera.grab(), Stamp)
    capture.driver_ms = no_time
    stamp = camera.grab()
    assert stamp.estimated
    capture.driver_ms = on_our_clock
    assert not camera.grab().estimated


def test_frames_that_waited_since_opening_are_thrown_away_when_stamped_by_arrival(opened):
    camera, _, capture = opened(no_time)
    grabbed = []
    waits = iter([0, 0, 0.005])  # two that waited, then one that had to be waited for

    def grab():
        capture.clock.sleep(next(waits))
        grabbed.append(1)
        return True

    capture.grab = grab
    camera.start()
    assert len(grabbed) == 3


def test_what_the_camera_did_not_take_is_listed(opened):
    _, info, _ = opened(on_our_clock, size=(640, 480), framerate=60.0, pixel_format="MJPG")
    assert [str(difference) for difference in info.differences] == [
        "size: asked 640×480, got 64×48",
        "framerate: asked 60, got 30",
        "pixel_format: asked MJPG, got YUYV",
    ]


def test_a_select_timeout_is_no_frame_and_an_absent_node_an_error(opened, monkeypatch):
    camera, _, capture = opened(on_our_clock)
    capture.fails = True
    assert camera.grab() is NoFrame.TIMEOUT
    monkeypatch.setattr(camera_module, "gone", lambda node: True)
    with pytest.raises(DeviceError, match="went away"):
        camera.grab()


def test_a_camera_that_stays_silent_at_opening_is_an_error(opened, monkeypatch):
    monkeypatch.setattr(camera_module, "_FIRST_FRAME_SEC", 0.02)
    monkeypatch.setattr(FakeCapture, "grab", lambda self: False)
    with pytest.raises(DeviceError, match=r"gave no picture within 0\.02 s"):
        opened(on_our_clock)
