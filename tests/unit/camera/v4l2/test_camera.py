"""Capturing from a V4L2 driver that answers ioctls: numbers, damage, refusals, and what ends it."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.v4l2 import camera as camera_module
from mlink_drivers.camera.v4l2 import ioctl
from mlink_drivers.camera.v4l2.frame_numbers import FrameNumbers
from tests.support.cameras.fake_v4l2 import CAPTURE, DAMAGED, MONOTONIC, STREAMING, FakeV4L2
from tests.support.cameras.stepped_time import SteppedTime

PERIOD_NS = 33_333_000
GREY = {"formats": ("GREY",), "line_bytes": 64, "image_bytes": 64 * 48}


@pytest.fixture
def clock(monkeypatch):
    clock = SteppedTime()
    monkeypatch.setattr(camera_module, "time", clock)
    return clock


@pytest.fixture
def driver(tmp_path, clock):
    """Return a grey camera that makes one picture per period, as soon as one is asked for."""
    driver = FakeV4L2(tmp_path / "video0", **GREY)
    picture = bytes(range(64)) * 48

    def film():
        if not driver.full:
            clock.now_ns += PERIOD_NS
            driver.fill(picture, time_ns=clock.now_ns - 2_000_000)

    driver.film = driver.on_wait = film
    return driver


@pytest.fixture
def camera(driver):
    camera = camera_module.V4L2Camera(driver)
    yield camera
    camera.close()


def open_camera(camera, driver, **request):
    return camera.open(str(driver.node), CameraRequest(**{"size": (64, 48), **request}))


def test_frames_have_the_kernels_time_and_number_and_their_pixels(camera, driver, clock):
    info = open_camera(camera, driver)
    assert (info.shape, info.timestamp_source) == ((48, 64), "v4l2-monotonic")
    assert info.timestamp_moment == "exposure-start"
    assert (info.framerate, info.differences) == (30, ())
    camera.start()
    picture = np.zeros(info.shape, info.dtype)
    stamps = []
    for _ in range(20):  # more than there are buffers
        stamps.append(camera.grab())
        assert camera.retrieve(picture)
    assert [stamp.number for stamp in stamps] == list(range(20))
    assert stamps[-1].time_ns == clock.now_ns - 2_000_000
    assert picture.tolist() == [list(range(64))] * 48


def test_a_camera_that_waits_for_its_trigger_is_opened_without_a_frame(camera, driver, clock):
    driver.on_wait = lambda: None
    info = open_camera(camera, driver, triggered=True, framerate=20, framerate_given=True)
    assert (info.shape, info.dtype, info.differences) == ((48, 64), np.uint8, ())  # 30 is enough
    camera.start()
    assert camera.grab() is NoFrame.TIMEOUT
    found = []
    for step in (1, 1, 3):  # two were lost by the driver
        clock.now_ns += step * 2 * PERIOD_NS
        driver.sequence += step - 1
        driver.fill(bytes(64 * 48), time_ns=clock.now_ns - 2_000_000)
        found.append(camera.grab())
        assert found[-1].time_ns == clock.now_ns - 2_000_000
    assert [stamp.number for stamp in found] == [0, 1, 4]
    assert camera.retrieve(np.zeros((48, 64), np.uint8))


def test_a_driver_without_numbers_gives_those_of_a_triggered_camera_one_by_one(
    camera, driver, clock
):
    driver.on_wait = lambda: None
    open_camera(camera, driver, triggered=True)
    camera.start()
    numbers = []
    for _ in range(3):
        clock.now_ns += PERIOD_NS
        driver.fill(b"x", time_ns=clock.now_ns, sequence=0)
        numbers.append(camera.grab().number)
    assert numbers == [0, 1, 2]


def test_jpeg_of_a_camera_that_waits_for_its_trigger_is_refused_in_words(tmp_path, clock):
    driver = FakeV4L2(tmp_path / "video0", formats=("MJPG",))
    driver.on_wait = lambda: setattr(clock, "now_ns", clock.now_ns + 1_000_000_000)
    camera = camera_module.V4L2Camera(driver)
    with pytest.raises(DeviceError, match="nothing without its trigger") as caught:
        open_camera(camera, driver, triggered=True)
    camera.close()
    assert "control-in" in caught.value.remedy


def test_frames_that_found_no_buffer_are_missing_in_the_numbers(camera, driver, clock):
    open_camera(camera, driver)
    camera.start()
    first = camera.grab()
    driver.on_wait = lambda: None
    frames = 30
    filled = [driver.fill(b"x", time_ns=first.time_ns + n * PERIOD_NS) for n in range(1, frames)]
    clock.now_ns += frames * PERIOD_NS
    assert filled.count(True) == 7  # one of eight is in use
    numbers = [camera.grab().number for _ in range(7)]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]
    assert camera.grab() is NoFrame.TIMEOUT
    driver.fill(b"x", time_ns=clock.now_ns)
    assert camera.grab().number == frames


def test_numbers_begin_at_the_first_frame_of_the_run(camera, driver, clock):
    open_camera(camera, driver)
    driver.on_wait = lambda: None
    for n in range(1, 6):  # they wait between open and start
        driver.fill(b"x", time_ns=clock.now_ns + n * 1000)
    clock.now_ns += PERIOD_NS
    camera.start()
    assert [camera.grab().number for _ in range(5)] == [-1] * 5
    driver.sequence += 3
    for _ in range(2):
        clock.now_ns += PERIOD_NS
        driver.fill(b"x", time_ns=clock.now_ns)
    assert [camera.grab().number for _ in range(2)] == [0, 1]


def test_a_buffer_with_the_flag_for_damage_is_no_picture_but_a_number(camera, driver, clock):
    open_camera(camera, driver)
    camera.start()
    camera.grab()
    clock.now_ns += PERIOD_NS
    driver.fill(b"x", time_ns=clock.now_ns, flags=MONOTONIC | DAMAGED)
    stamp = camera.grab()
    assert stamp.number == 1
    assert not camera.retrieve(np.zeros((48, 64), np.uint8))
    assert camera.grab().number == 2


def test_a_buffer_with_too_few_bytes_is_damaged(camera, driver, clock):
    open_camera(camera, driver)
    camera.start()
    clock.now_ns += PERIOD_NS
    driver.fill(b"x", time_ns=clock.now_ns, used=64 * 48 - 1)
    camera.grab()
    assert not camera.retrieve(np.zeros((48, 64), np.uint8))


def test_a_driver_that_numbers_nothing_has_no_numbers(camera, driver, clock):
    def film():
        clock.now_ns += PERIOD_NS
        driver.fill(time_ns=clock.now_ns, sequence=0)

    driver.on_wait = film
    open_camera(camera, driver)
    camera.start()
    assert camera.grab().number == -1


def test_of_uvc_cameras_numbers_are_not_taken_for_complete(camera, driver):
    driver.driver = b"uvcvideo"
    assert not open_camera(camera, driver).numbers_complete
    camera.close()
    driver.driver = b"unicam"
    assert (
        camera_module.V4L2Camera(driver)
        .open(str(driver.node), CameraRequest(size=(64, 48)))
        .numbers_complete
    )


@pytest.mark.parametrize(
    ("sequences", "numbers"),
    [
        ([5, 6, 9, 10], [0, 1, 4, 5]),
        ([0xFFFF_FFFE, 0xFFFF_FFFF, 0, 2], [0, 1, 2, 4]),
        ([50, 51, 3, 4], [0, 1, 2, 3]),  # counts anew
        ([50, 51, 51, 52], [0, 1, 2, 3]),  # stays
        ([50, 51, 51 | 1 << 20, 53], [0, 1, 2, 3]),  # no time for a million frames
    ],
)
def test_steps_of_the_drivers_numbers(sequences, numbers):
    counted = FrameNumbers([1, 2, 3], PERIOD_NS)
    counted.start(0)
    found = [counted.number(each, n * PERIOD_NS) for n, each in enumerate(sequences)]
    assert found == numbers


@pytest.mark.parametrize(
    ("first", "counted"),
    [([4, 5, 6], True), ([0, 0, 1], True), ([0, 0, 0], False), ([9, 9, 8], False)],
)
def test_a_driver_numbers_frames_if_its_numbers_grow(first, counted):
    assert FrameNumbers(first, PERIOD_NS).counted is counted


def test_a_long_pause_may_skip_many_numbers():
    counted = FrameNumbers([1, 2, 3], PERIOD_NS)
    counted.start(0)
    counted.number(3, 0)
    assert counted.number(10_003, 10_000 * PERIOD_NS) == 10_000


# --- what ends it ------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [ioctl.DQBUF, ioctl.QBUF])
def test_an_unplugged_camera_is_an_error_at_once(camera, driver, request_):
    open_camera(camera, driver)
    camera.start()
    camera.grab()
    driver.refuses[request_] = [errno.ENODEV]
    with pytest.raises(DeviceError, match="went away during the run"):
        camera.grab()


def test_a_stream_that_the_driver_gives_up_is_an_error_in_words(camera, driver):
    open_camera(camera, driver)
    camera.start()
    driver.refuses[ioctl.DQBUF] = [errno.EIO]
    with pytest.raises(DeviceError, match="has ended the stream") as caught:
        camera.grab()
    assert "on_loss" in caught.value.remedy


def test_a_buffer_that_is_refused_once_is_queued_later(camera, driver):
    open_camera(camera, driver)
    camera.start()
    camera.grab()
    driver.refuses[ioctl.QBUF] = [errno.EINVAL]
    numbers = [camera.grab().number for _ in range(12)]
    assert numbers == list(range(1, 13))
    assert len(driver.empty) == 7


def test_silence_is_no_frame_and_a_vanished_node_an_error(camera, driver):
    open_camera(camera, driver)
    camera.start()
    driver.on_wait = lambda: None
    assert camera.grab() is NoFrame.TIMEOUT
    driver.node.unlink()
    with pytest.raises(DeviceError, match="went away"):
        camera.grab()


def test_closing_frees_the_camera_even_with_a_picture_in_use(camera, driver):
    open_camera(camera, driver)
    camera.start()
    camera.grab()
    held = camera._buffer.data
    camera.close()
    assert (driver.streaming, driver.requested) == (False, 0)
    assert held[5] == 5
    camera.close()


# --- what cannot be opened ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capabilities", "words"),
    [
        (STREAMING, "Fake camera does not capture here"),
        (CAPTURE, "the driver fake has no streaming i/o"),
    ],
)
def test_a_node_that_cannot_stream_pictures_is_refused(camera, driver, capabilities, words):
    driver.capabilities = capabilities
    with pytest.raises(DeviceError, match=words):
        open_camera(camera, driver)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (ioctl.QUERYCAP, errno.ENOTTY, "it is no camera"),
        (ioctl.S_FMT, errno.EBUSY, "it is in use"),
        (ioctl.REQBUFS, errno.EBUSY, "it is in use"),
        (ioctl.REQBUFS, errno.ENOMEM, "no memory for its pictures"),
        (ioctl.STREAMON, errno.ENOSPC, "no bandwidth left"),
        (ioctl.STREAMON, errno.EPIPE, "media pipeline"),
        (ioctl.STREAMON, errno.EPROTO, "cannot open"),
    ],
)
def test_a_refusal_of_the_driver_is_an_error_in_words(camera, driver, request_, error, words):
    driver.refuses[request_] = [error]
    with pytest.raises(DeviceError, match=words) as caught:
        open_camera(camera, driver)
    assert caught.value.remedy
    camera.close()
    assert open_camera(camera_module.V4L2Camera(driver), driver).shape == (48, 64)


def test_one_buffer_is_too_few(camera, driver):
    driver.granted = 1
    with pytest.raises(DeviceError, match="no memory"):
        open_camera(camera, driver)


def test_a_driver_without_rates_has_the_requested_one(camera, driver):
    driver.refuses[ioctl.S_PARM] = [errno.ENOTTY]
    assert open_camera(camera, driver, framerate=12.0).framerate == 12


def test_sizes_and_rates_of_any_number_reach_the_driver(camera, driver):
    info = open_camera(camera, driver, size=(10**12, 10**12), framerate=1e12)
    assert [answer.got for answer in info.answers] == ["64×48", "30"]
    camera.close()
    open_camera(camera_module.V4L2Camera(driver), driver, framerate=29.97)
    assert driver.asked_period == (100, 2997)


def test_formats_that_are_not_understood_are_named(camera, driver):
    driver.formats = ("H264", "HEVC")
    with pytest.raises(DeviceError, match="no pictures that are understood, only H264, HEVC"):
        open_camera(camera, driver)


def test_a_requested_format_that_is_not_understood_is_an_error(camera, driver):
    driver.formats = ("GREY", "H264")
    with pytest.raises(DeviceError, match="format H264, which is not understood") as caught:
        open_camera(camera, driver, pixel_format="H264")
    assert "YUYV" in caught.value.remedy


def test_a_format_that_the_camera_lacks_is_a_difference(camera, driver):
    info = open_camera(camera, driver, pixel_format="MJPG")
    assert [str(answer) for answer in info.differences] == ["pixel_format: asked MJPG, got GREY"]


def test_a_driver_without_a_list_of_formats_is_asked_for_one(camera, driver):
    driver.refuses[ioctl.ENUM_FMT] = [errno.ENOTTY]
    assert open_camera(camera, driver).shape == (48, 64)


def test_first_pictures_may_be_damaged_but_not_all(camera, driver, clock):
    flags = [MONOTONIC | DAMAGED] * 5

    def film():
        clock.now_ns += PERIOD_NS
        driver.fill(time_ns=clock.now_ns, flags=flags.pop() if flags else MONOTONIC)

    driver.on_wait = film
    assert open_camera(camera, driver).shape == (48, 64)
    camera.close()
    flags = [MONOTONIC | DAMAGED] * 100
    with pytest.raises(DeviceError, match=r"the first 10 pictures of .* are damaged"):
        open_camera(camera, driver)


def test_a_multi_planar_node_in_one_piece_of_memory_is_used(tmp_path, clock):
    driver = FakeV4L2(tmp_path / "video0", **GREY | {"image_bytes": 64 * 48 + 16})
    driver.capabilities = 0x1000 | STREAMING
    picture = bytes(16) + bytes(range(64)) * 48

    def film():
        clock.now_ns += PERIOD_NS
        driver.fill(picture, time_ns=clock.now_ns, used=64 * 48)

    driver.on_wait = film
    camera = camera_module.V4L2Camera(driver)
    info = open_camera(camera, driver)
    camera.start()
    assert isinstance(camera.grab(), Stamp)
    into = np.zeros(info.shape, info.dtype)
    assert camera.retrieve(into)
    assert into[47].tolist() == list(range(64))
    camera.close()
    driver.planes = 2
    with pytest.raises(DeviceError, match="several pieces of memory"):
        open_camera(camera, driver)
