"""The contract of `CameraBackend`, checked for each of our backends.

The suite is `mlink_drivers.camera.contract`, which backends of other packages use as well. To
BACKENDS goes a name, and a function that makes a source in a folder and returns (backend, address).
"""

from __future__ import annotations

import time
from collections import deque
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera import contract
from mlink_drivers.camera.backend import (
    CameraInfo,
    CameraRequest,
    NoFrame,
    Stamp,
    make_backend,
    shown_address,
)
from mlink_drivers.camera.contract import CHECKS, Subject, next_frame
from mlink_drivers.camera.framing import FramedCamera
from mlink_drivers.camera.genicam.camera import GenicamCamera
from mlink_drivers.camera.image_folder import ImageFolderCamera
from mlink_drivers.camera.network import NetworkCamera
from mlink_drivers.camera.video_file import VideoFileCamera
from mlink_hil.scene.camera import SceneCamera
from tests.support.cameras.genicam_cameras import FakeGenicam, own_network, why_missing
from tests.support.cameras.network_cameras import MjpegCamera, RtspCamera

SIZE = (160, 120)
RATE = 50.0


class FakeCamera:
    """The smallest backend that keeps the contract."""

    def open(self, address, request):
        if address != "fake:1":
            raise DeviceError(f"there is no {address}", remedy="Write fake:1.")
        self.period_nsec = round(1e9 / request.framerate)
        width, height = request.size
        return CameraInfo((height, width, 3), np.dtype(np.uint8), request.framerate, "host", 1000)

    def start(self):
        self.due_ns = time.monotonic_ns()

    def grab(self):
        time.sleep(max(0, self.due_ns - time.monotonic_ns()) / 1e9)
        stamp = Stamp(self.due_ns)
        self.due_ns += self.period_nsec
        return stamp

    def retrieve(self, into):
        into[...] = 7
        return True

    def close(self):
        pass


def fake(folder):
    return FakeCamera, "fake:1"


def scene(folder):
    return SceneCamera, "virtual:scene?seed=1"


def video_file(folder):
    with av.open(str(folder / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=int(RATE))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        for number in range(20):
            pixels = np.full((SIZE[1], SIZE[0], 3), 10 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return VideoFileCamera, "file:clip.mkv"


def image_folder(folder):
    write_images(folder / "frames", range(20))
    return ImageFolderCamera, "images:frames"


def cut(folder):
    return lambda: FramedCamera(SceneCamera(), (10, 20, 100, 80), True), "virtual:scene?seed=1"


def write_images(folder, numbers):
    folder.mkdir()
    for number in numbers:
        pixels = np.full((SIZE[1], SIZE[0], 3), number, np.uint8)
        assert cv2.imwrite(str(folder / f"picture {number}.png"), pixels)


@pytest.fixture
def mjpeg():
    with MjpegCamera(SIZE, RATE) as camera:
        yield camera


@pytest.fixture(scope="module")
def rtsp_server(tmp_path_factory):
    camera = RtspCamera(tmp_path_factory.mktemp("served"), SIZE, int(RATE))
    yield camera
    camera.kill()


@pytest.fixture
def rtsp(rtsp_server):
    """It may be killed: the next test starts it again."""
    rtsp_server.start()
    return rtsp_server


BACKENDS = {
    "fake": fake,
    "file": video_file,
    "folder": image_folder,
    "scene": scene,
    "region of interest": cut,
    "mjpeg": None,
    "rtsp": None,
    "genicam": None,
}
"""None: a fixture of that name has its address."""


ABSENT = {
    "fake": "fake:2",
    "file": "file:absent.mkv",
    "folder": "images:absent",
    "scene": "virtual:scene?speed=1",
    "mjpeg": "http://127.0.0.1:9/video",
    "rtsp": "rtsp://127.0.0.1:9/video",
    "genicam": "genicam:serial=none",
}


@pytest.fixture
def genicam():
    """Aravis' fake camera."""
    if reason := why_missing():
        pytest.skip(reason)
    with own_network(), FakeGenicam() as camera:
        yield camera


@pytest.fixture(params=BACKENDS)
def subject(request, tmp_path):
    """Each kind of camera."""
    if make := BACKENDS[request.param]:
        backend, address = make(tmp_path)
    else:
        address = request.getfixturevalue(request.param).url
        backend = GenicamCamera if request.param == "genicam" else NetworkCamera
    asked = CameraRequest(
        size=SIZE, size_given=True, framerate=RATE, framerate_given=True, loop=True,
        base_dir=tmp_path,
    )  # fmt: skip
    return Subject(backend, address, asked, absent=ABSENT.get(request.param, ""))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_backend_keeps_the_contract(check, subject):
    check(subject)


class Spinning(FakeCamera):
    def grab(self):
        while time.monotonic_ns() < self.due_ns:
            pass
        self.due_ns += self.period_nsec
        return Stamp(self.due_ns - self.period_nsec)


class Backwards(FakeCamera):
    def grab(self):
        stamp = super().grab()
        self.last_ns = getattr(self, "last_ns", stamp.time_ns) - 1
        return Stamp(self.last_ns)


class Stale(FakeCamera):
    def start(self):
        self.due_ns = time.monotonic_ns() - 400_000_000

    def grab(self):
        super().grab()
        return Stamp(time.monotonic_ns())


class Elsewhere(FakeCamera):
    def retrieve(self, into):
        return True


class Silent(FakeCamera):
    def grab(self):
        time.sleep(0.2)
        return NoFrame.TIMEOUT


class Abrupt(FakeCamera):
    def open(self, address, request):
        if address != "fake:1":
            raise FileNotFoundError(address)
        return super().open(address, request)


@pytest.mark.parametrize(
    ("backend", "check"),
    [
        (object, "a_backend_has_the_five_methods"),
        (Spinning, "grabbing_waits_instead_of_spinning"),
        (Backwards, "stamps_are_of_the_run_and_increase_strictly"),
        (Stale, "what_waited_before_the_start_is_not_taken_for_new"),
        (Elsewhere, "frames_are_written_in_place"),
        (Silent, "a_grabbed_frame_need_not_be_retrieved"),
        (Abrupt, "what_is_not_there_is_a_device_error_with_a_remedy"),
    ],
)
def test_the_suite_notices_a_backend_that_breaks_it(backend, check, monkeypatch):
    monkeypatch.setattr(contract, "_LONGEST_SILENCE_SEC", 0.5)
    subject = Subject(backend, "fake:1", CameraRequest(size=SIZE, framerate=RATE), "fake:2")
    # A busy computer makes the thread wait for the interpreter's lock, which looks like waiting for
    # a frame: one look may pass, not all.
    looks = [getattr(contract, check)] * 5
    with pytest.raises((AssertionError, FileNotFoundError)):
        deque((look(subject) for look in looks), maxlen=0)


def test_an_error_names_the_address_without_its_password(tmp_path):
    with pytest.raises(DeviceError) as caught:
        NetworkCamera().open("http://user:secret@127.0.0.1:9/video", CameraRequest())
    assert "127.0.0.1:9/video" in caught.value.message
    assert "secret" not in str(caught.value)


# --- folders of images -------------------------------------------------------------------------


def play(camera, address, request):
    info = camera.open(address, request)
    camera.start()
    into = np.empty(info.shape, info.dtype)
    seen = []
    while camera.grab() is not NoFrame.END and len(seen) < 20:
        seen.append(int(into.flat[0]) if camera.retrieve(into) else None)
    camera.close()
    return info, seen


def test_images_come_in_the_order_of_their_numbers_and_end(tmp_path):
    write_images(tmp_path / "frames", [10, 9, 100, 1])
    request = CameraRequest(framerate=RATE, paced=False, base_dir=tmp_path)
    info, seen = play(ImageFolderCamera(), "images:frames", request)
    assert seen == [1, 9, 10, 100]
    assert info.finite


def test_images_start_again_when_they_loop(tmp_path):
    write_images(tmp_path / "frames", [1, 2, 3])
    request = CameraRequest(framerate=RATE, paced=False, loop=True, base_dir=tmp_path)
    info, seen = play(ImageFolderCamera(), "images:frames", request)
    assert seen[:7] == [1, 2, 3, 1, 2, 3, 1]
    assert not info.finite


def test_a_damaged_image_is_no_frame_and_one_of_another_size_an_error(tmp_path):
    folder = tmp_path / "frames"
    write_images(folder, [1, 2, 3])
    (folder / "picture 2.png").write_bytes(b"\x89PNG damaged")
    request = CameraRequest(framerate=RATE, paced=False, base_dir=tmp_path)
    assert play(ImageFolderCamera(), "images:frames", request)[1] == [1, None, 3]
    cv2.imwrite(str(folder / "picture 2.png"), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(DeviceError, match=r"picture 2\.png is \(10, 10, 3\)"):
        play(ImageFolderCamera(), "images:frames", request)


def test_a_folder_without_images_is_an_error_and_a_file_address_of_a_folder_shows_the_way(
    tmp_path,
):
    (tmp_path / "empty").mkdir()
    request = CameraRequest(base_dir=tmp_path)
    with pytest.raises(DeviceError, match="there is no image in"):
        ImageFolderCamera().open("images:empty", request)
    with pytest.raises(DeviceError) as caught:
        VideoFileCamera().open("file:empty", request)
    assert "images:empty" in caught.value.remedy


# --- network cameras ---------------------------------------------------------------------------


@pytest.fixture(params=["mjpeg", "rtsp"])
def network(request):
    """A network camera, and the ways to take it away."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def opened(network):
    """It, opened and started; `into` is what pictures are written to."""
    camera = NetworkCamera()
    info = camera.open(network.url, CameraRequest())
    camera.start()
    yield camera, np.empty(info.shape, info.dtype)
    camera.close()


def unplug(network):
    network.plugged.clear() if isinstance(network, MjpegCamera) else network.kill()


def grab_for(camera, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        camera.grab()


def test_a_network_camera_that_hangs_up_is_lost(network, opened):
    camera, _ = opened
    next_frame(camera)
    unplug(network)
    with pytest.raises(DeviceError, match="has ended, or nothing came"):
        grab_for(camera, 5)


def test_a_network_camera_that_freezes_is_lost_within_seconds(mjpeg):
    camera = NetworkCamera()
    camera.open(mjpeg.url, CameraRequest())
    camera.start()
    next_frame(camera)
    mjpeg.frozen.set()
    with pytest.raises(DeviceError, match="nothing came for 3 s"):
        grab_for(camera, 60)
    camera.close()


def test_pictures_are_those_that_the_server_sends_in_their_order(network, opened):
    camera, into = opened
    levels = []
    for _ in range(12):
        next_frame(camera)
        assert camera.retrieve(into)
        levels.append(int(into.mean()))
    steps = [(after - before) % 256 for before, after in pairwise(levels)]
    assert all(step <= 100 for step in steps)  # 0 at times: video has fewer levels than 256
    assert sum(steps) >= len(steps) - 2


def test_the_first_picture_is_of_the_time_after_the_start(mjpeg):
    camera = NetworkCamera()
    info = camera.open(mjpeg.url, CameraRequest())
    time.sleep(0.6)  # 30 frames gather meanwhile
    camera.start()
    started = time.monotonic()
    next_frame(camera)
    into = np.empty(info.shape, info.dtype)
    assert camera.retrieve(into)
    level = int((started - mjpeg.began) * mjpeg.rate) % 256
    assert (int(into.mean()) - level + 128) % 256 - 128 > -20
    camera.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https", "images", "file", "scene", "v4l2"])
def test_our_backends_are_installed_under_their_schemes(scheme):
    prefix = {"scene": "virtual:scene", "v4l2": "/dev/video0"}.get(scheme, f"{scheme}://x")
    assert make_backend(prefix) is not None


def test_passwords_are_not_shown():
    assert shown_address("rtsp://me:secret@cam/1") == "rtsp://…@cam/1"
    assert shown_address("/dev/v4l/by-id/usb-a@b") == "/dev/v4l/by-id/usb-a@b"
