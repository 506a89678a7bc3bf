"""The origin of a V4L2 frame's time, with a driver that answers ioctls."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.v4l2 import camera as camera_module
from tests.support.cameras.fake_v4l2 import FakeV4L2
from tests.support.cameras.stepped_time import SteppedTime


class Arrivals:
    """Lets the driver have a frame `delay_sec` of stepped time after it is asked for one.

    `driver_ns` gives the driver's time at a moment in ns.
    """

    def __init__(self, driver, clock, driver_ns):
        self.driver = driver
        self.clock = clock
        self.driver_ns = driver_ns
        self.delay_sec = 0.003
        self.fails = False
        driver.on_wait = self.arrive

    def arrive(self):
        if not self.driver.full:
            self.clock.sleep(self.delay_sec)
            if not self.fails:
                self.driver.fill(time_ns=self.driver_ns(self.clock.now_ns))


def on_our_clock(now_ns):
    return now_ns - 1_000_000  # 1 ms before delivery


def unix_time(now_ns):
    return now_ns + 1_700_000_000_000_000_000


def no_time(_now_ns):
    return 0


@pytest.fixture
def opened(monkeypatch, tmp_path):
    cameras = []

    def open_camera(driver_ns, **request):
        clock = SteppedTime()
        driver = FakeV4L2(tmp_path / "video0")
        arrivals = Arrivals(driver, clock, driver_ns)
        monkeypatch.setattr(camera_module, "time", clock)
        camera = camera_module.V4L2Camera(driver)
        cameras.append(camera)
        asked = {"size": (64, 48), **request}
        return camera, camera.open(str(driver.node), CameraRequest(**asked)), arrivals

    yield open_camera
    for camera in cameras:
        camera.close()


def test_a_drivers_time_on_our_clock_is_the_frames_time(opened):
    camera, info, arrivals = opened(on_our_clock)
    assert info.timestamp_source == "v4l2-monotonic"
    assert info.uncertainty_usec == 1000
    camera.start()
    stamp = camera.grab()
    assert stamp.time_ns == arrivals.clock.now_ns - 1_000_000
    assert not stamp.estimated


def stuck(_now_ns):
    return 12_345_000


def too_fast(now_ns):
    return now_ns * 1000  # a driver that counts ns as if they were µs


@pytest.mark.parametrize("driver_ns", [no_time, stuck, too_fast])
def test_without_a_steady_time_a_frame_has_the_moment_of_its_arrival(opened, driver_ns):
    camera, info, arrivals = opened(driver_ns)
    assert info.timestamp_source == "host"
    assert info.uncertainty_usec == 33_333  # one frame period
    assert info.timestamp_moment == ""
    for _ in range(3):  # also while the driver's time stays the same
        assert camera.grab().time_ns == arrivals.clock.now_ns


def test_another_steady_clock_makes_the_moments_of_arrival_steadier(opened):
    camera, info, arrivals = opened(unix_time)
    assert info.timestamp_source == "v4l2-synchronised"
    assert info.uncertainty_usec == 33_333
    camera.start()
    arrivals.delay_sec = 0
    now_ns = arrivals.clock.now_ns
    lateness = random.Random(1)
    steps = []
    for n in range(1500):  # 30 frames a second by the camera's clock, up to 10 ms late here
        taken_ns = now_ns + n * 33_333_333
        arrived_ns = taken_ns + round(lateness.uniform(0, 10e6))
        arrivals.clock.now_ns = arrived_ns
        arrivals.driver_ns = lambda _now_ns, taken_ns=taken_ns: unix_time(taken_ns)
        steps.append(camera.grab().time_ns)
    jitter = np.diff(steps[-300:]) - 33_333_333
    # whatever the strategy does with a sample within tolerance, times stay in order
    assert (np.diff(steps) > 0).all()
    assert np.abs(jitter).max() <= 10e6


def test_a_time_that_has_not_come_yet_is_not_on_our_clock(opened):
    _, info, _ = opened(lambda now_ns: now_ns + 20_000_000)
    assert info.timestamp_source == "v4l2-synchronised"


def test_a_repeated_time_is_no_frame(opened):
    camera, _, arrivals = opened(on_our_clock)
    camera.grab()
    again = arrivals.driver_ns(arrivals.clock.now_ns)
    arrivals.driver_ns = lambda _now_ns: again
    assert camera.grab() is NoFrame.REPEATED


def test_one_impossible_time_is_replaced_and_marked(opened):
    camera, _, arrivals = opened(on_our_clock)
    assert isinstance(camera.grab(), Stamp)
    arrivals.driver_ns = no_time
    stamp = camera.grab()
    assert stamp.estimated
    arrivals.driver_ns = on_our_clock
    assert not camera.grab().estimated


@pytest.mark.parametrize("waiting", range(9))
def test_frames_that_waited_since_opening_are_thrown_away_when_stamped_by_arrival(opened, waiting):
    camera, _, arrivals = opened(no_time)
    driver = arrivals.driver
    for _ in range(waiting):
        driver.fill()
        arrivals.clock.sleep(0.1)  # however long the processor is away, before and in between
    newest = driver.sequence
    arrivals.fails = True
    arrivals.delay_sec = 0.1
    camera.start()
    assert not driver.full
    arrivals.fails = False
    assert camera.grab().number == 0
    assert driver.sequence == newest + 1


def test_what_the_camera_did_not_take_is_listed(opened):
    _, info, _ = opened(on_our_clock, size=(640, 480), framerate=60.0, pixel_format="MJPG")
    assert [str(difference) for difference in info.differences] == [
        "size: asked 640×480, got 64×48",
        "framerate: asked 60, got 30",
        "pixel_format: asked MJPG, got YUYV",
    ]


def test_a_camera_that_stays_silent_at_opening_is_an_error(opened, monkeypatch):
    monkeypatch.setattr(FakeV4L2, "fill", lambda self, **_: None)
    with pytest.raises(DeviceError, match=r"gave no picture within 0\.02 s"):
        opened(on_our_clock, open_timeout_sec=0.02, silence_sec=0.01)
