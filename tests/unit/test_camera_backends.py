"""What every camera backend promises (`CameraBackend`), asked of each of ours in the same way.

To check a backend of your own, add it to BACKENDS: a name, and a function that makes a source
for it in a folder and returns (backend, address).
"""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import (
    CameraBackend,
    CameraInfo,
    CameraRequest,
    NoFrame,
    Stamp,
    make_backend,
    shown_address,
)
from mlink_drivers.camera.framing import FramedCamera
from mlink_drivers.camera.image_folder import ImageFolderCamera
from mlink_drivers.camera.network import NetworkCamera
from mlink_drivers.camera.video_file import VideoFileCamera
from mlink_hil.scene import SceneCamera

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
    return FakeCamera(), "fake:1"


def scene(folder):
    return SceneCamera(), "virtual:scene?seed=1"


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
    return VideoFileCamera(), "file:clip.mkv"


def image_folder(folder):
    write_images(folder / "frames", range(20))
    return ImageFolderCamera(), "images:frames"


def cut(folder):
    return FramedCamera(SceneCamera(), (10, 20, 100, 80), True), "virtual:scene?seed=1"


def write_images(folder, numbers):
    folder.mkdir()
    for number in numbers:
        pixels = np.full((SIZE[1], SIZE[0], 3), number, np.uint8)
        assert cv2.imwrite(str(folder / f"picture {number}.png"), pixels)


class Mjpeg(BaseHTTPRequestHandler):
    """A network camera: one JPEG after the other, for ever or as long as the server says."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        pixels = np.full((SIZE[1], SIZE[0], 3), 99, np.uint8)
        jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
        head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        try:
            while not self.server.hung_up.is_set():
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(1 / RATE)
        except OSError:  # the camera was closed
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def network_camera():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mjpeg)
    server.daemon_threads = True
    server.hung_up = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.hung_up.set()
    server.shutdown()
    thread.join()
    server.server_close()


BACKENDS = {
    "fake": fake,
    "file": video_file,
    "folder": image_folder,
    "scene": scene,
    "region of interest": cut,
    "network": None,
}


@pytest.fixture(params=BACKENDS)
def source(request, tmp_path):
    """(backend, address, request) of each kind of camera."""
    if make := BACKENDS[request.param]:
        backend, address = make(tmp_path)
    else:
        port = request.getfixturevalue("network_camera").server_port
        backend, address = NetworkCamera(), f"http://127.0.0.1:{port}/video.mjpeg"
    yield backend, address, CameraRequest(size=SIZE, framerate=RATE, base_dir=tmp_path)
    backend.close()


def grab(backend):
    """Return the next stamp; sources that are well may be asked again."""
    while (grabbed := backend.grab()) is NoFrame.NOT_YET:
        pass
    assert isinstance(grabbed, Stamp)
    return grabbed


def test_a_backend_has_the_five_methods(source):
    backend, *_ = source
    for method in ("open", "start", "grab", "retrieve", "close"):
        assert callable(getattr(backend, method))
    typed: CameraBackend = backend
    assert typed is backend


def test_opening_tells_what_will_come(source):
    backend, address, request = source
    info = backend.open(address, request)
    assert len(info.shape) in (2, 3)
    assert info.dtype == np.uint8
    assert info.framerate > 0
    assert info.timestamp_source
    assert info.uncertainty_usec >= 0
    assert all(answer.same for answer in info.answers)


def test_frames_have_the_announced_shape_and_are_written_in_place(source):
    backend, address, request = source
    info = backend.open(address, request)
    backend.start()
    guard = 64
    memory = np.full(int(np.prod(info.shape)) + 2 * guard, 0xA5, np.uint8)
    into = memory[guard:-guard].reshape(info.shape)
    for _ in range(3):
        grab(backend)
        assert backend.retrieve(into)
    assert (memory[:guard] == 0xA5).all()
    assert (memory[-guard:] == 0xA5).all()
    assert not (into == 0xA5).all()


def test_stamps_are_of_the_run_on_the_monotonic_clock_and_increase_strictly(source):
    backend, address, request = source
    backend.open(address, request)
    time.sleep(0.05)
    before = time.monotonic_ns()
    backend.start()
    stamps = [grab(backend) for _ in range(10)]
    after = time.monotonic_ns()
    times = [stamp.time_ns for stamp in stamps]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert before <= times[0]
    assert times[-1] <= after + 2e9 / RATE
    numbers = [stamp.number for stamp in stamps]
    assert numbers == [-1] * 10 or numbers == sorted(set(numbers))


def test_a_frame_that_was_grabbed_need_not_be_retrieved(source):
    backend, address, request = source
    info = backend.open(address, request)
    backend.start()
    into = np.empty(info.shape, info.dtype)
    for turn in range(6):
        grab(backend)
        assert turn % 2 == 0 or backend.retrieve(into)


def test_live_frames_come_at_the_rate_that_was_told(source):
    backend, address, request = source
    info = backend.open(address, request)
    backend.start()
    first = grab(backend)
    stamps = [grab(backend) for _ in range(9)]
    rate = 9e9 / (stamps[-1].time_ns - first.time_ns)
    assert rate < info.framerate * 1.5 or info.timestamp_source == "arrival"


def test_grabbing_waits_instead_of_spinning(source):
    backend, address, request = source
    backend.open(address, request)
    backend.start()
    grab(backend)
    cpu, wall = time.thread_time(), time.monotonic()
    for _ in range(10):
        grab(backend)
    assert time.thread_time() - cpu < 0.8 * (time.monotonic() - wall)


def test_closing_may_be_done_twice_and_before_opening(source):
    backend, address, request = source
    backend.close()
    backend.open(address, request)
    backend.start()
    grab(backend)
    backend.close()
    backend.close()


@pytest.mark.parametrize(
    ("backend", "address"),
    [
        (FakeCamera, "fake:2"),
        (VideoFileCamera, "file:absent.mkv"),
        (ImageFolderCamera, "images:absent"),
        (SceneCamera, "virtual:scene?speed=1"),
        (NetworkCamera, "http://user:secret@127.0.0.1:9/video"),
    ],
)
def test_what_is_not_there_is_a_device_error_with_address_and_remedy(backend, address, tmp_path):
    camera = backend()
    with pytest.raises(DeviceError) as caught:
        camera.open(address, CameraRequest(base_dir=tmp_path))
    camera.close()
    assert address.partition(":")[2].rpartition("@")[2].lstrip("/") in caught.value.message
    assert "secret" not in str(caught.value)
    assert caught.value.remedy


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


def test_images_begin_anew_when_they_loop(tmp_path):
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


def test_a_network_camera_that_hangs_up_is_lost(network_camera):
    camera = NetworkCamera()
    camera.open(f"http://127.0.0.1:{network_camera.server_port}/", CameraRequest())
    camera.start()
    grab(camera)
    network_camera.hung_up.set()
    with pytest.raises(DeviceError, match="has ended, or nothing came"):
        grab_for(camera, 5)
    camera.close()


def grab_for(camera, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        camera.grab()


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https", "images", "file", "scene", "v4l2"])
def test_our_backends_are_installed_under_their_schemes(scheme):
    prefix = {"scene": "virtual:scene", "v4l2": "/dev/video0"}.get(scheme, f"{scheme}://x")
    assert make_backend(prefix) is not None


def test_passwords_are_not_shown():
    assert shown_address("rtsp://me:secret@cam/1") == "rtsp://…@cam/1"
    assert shown_address("/dev/v4l/by-id/usb-a@b") == "/dev/v4l/by-id/usb-a@b"
