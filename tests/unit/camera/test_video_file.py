"""The backend for video files: frames and their times."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import numpy as np
import pytest

from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.catalog import CameraSettings, camera_generic
from mlink_drivers.camera.module import CameraModule
from mlink_drivers.camera.video_file import VideoFileCamera
from tests.support.fake_context import FakeContext

TIMES_MS = (100, 133, 200, 215, 300)
FILE_MS = [t - TIMES_MS[0] for t in TIMES_MS]


@pytest.fixture
def clip(tmp_path):
    """A lossless clip of five frames at uneven times; frame n is filled with 40 n."""
    path = tmp_path / "clip.mkv"
    base = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        stream.codec_context.time_base = base
        for number, milliseconds in enumerate(TIMES_MS):
            pixels = np.full((48, 64, 3), 40 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = milliseconds, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def camera():
    camera = VideoFileCamera()
    yield camera
    camera.close()


def play(camera, count):
    """Return (stamp, value of the first pixel) of so many frames."""
    into = np.empty((48, 64, 3), np.uint8)
    seen = []
    while len(seen) < count:
        stamp = camera.grab()
        if stamp is NoFrame.END:
            break
        assert isinstance(stamp, Stamp)
        assert camera.retrieve(into)
        seen.append((stamp, int(into[0, 0, 0])))
    return seen


def milliseconds_after(start_ns, stamps):
    return [round((stamp.time_ns - start_ns) / 1e6) for stamp in stamps]


def test_a_path_starts_at_the_bench_and_the_file_determines_size_and_rate(camera, clip):
    info = camera.open("file:clip.mkv", CameraRequest(base_dir=clip.parent, size=(640, 480)))
    assert info.shape == (48, 64, 3)
    assert info.size == (64, 48)
    assert info.framerate == 30.0
    assert (info.timestamp_source, info.finite, info.steady, info.live) == (
        "file",
        True,
        False,
        True,
    )
    assert info.differences == ()


def test_frames_come_at_their_times_in_the_file(camera, clip):
    camera.open("file:clip.mkv", CameraRequest(base_dir=clip.parent))
    camera.start()
    begin = time.monotonic()
    first = camera.grab()
    stamps = [first]
    while isinstance(stamp := camera.grab(), Stamp):
        assert time.monotonic_ns() >= stamp.time_ns
        stamps.append(stamp)
    assert stamp is NoFrame.END
    assert time.monotonic() - begin >= 0.2
    assert milliseconds_after(first.time_ns, stamps) == FILE_MS
    assert [stamp.number for stamp in stamps] == [0, 1, 2, 3, 4]


def test_unpaced_it_is_as_fast_as_possible_and_keeps_the_same_times(camera, clip):
    info = camera.open("file:clip.mkv", CameraRequest(base_dir=clip.parent, paced=False))
    assert not info.live
    camera.start()
    seen = play(camera, 99)
    first = seen[0][0].time_ns
    assert milliseconds_after(first, [stamp for stamp, _ in seen]) == FILE_MS
    assert [value for _, value in seen] == [0, 40, 80, 120, 160]
    assert seen[-1][0].time_ns > time.monotonic_ns()


def test_looping_goes_on_one_period_after_the_last_frame(camera, clip):
    request = CameraRequest(base_dir=clip.parent, paced=False, loop=True)
    assert not camera.open("file:clip.mkv", request).finite
    camera.start()
    seen = play(camera, 12)
    times = milliseconds_after(seen[0][0].time_ns, [stamp for stamp, _ in seen])
    second = [233 + t for t in FILE_MS]
    assert times == [*FILE_MS, *second, 467, 500]
    assert [value for _, value in seen] == [0, 40, 80, 120, 160] * 2 + [0, 40]
    assert [stamp.number for stamp, _ in seen] == list(range(12))


def test_through_the_module_every_frame_is_sent_and_the_run_ends(clip, tmp_path):
    context = FakeContext(
        camera_generic,
        CameraSettings(),
        tmp_path,
        device=DeviceEndpoint(name="eye", spec="file:clip.mkv", address="file:clip.mkv"),
        clock=MasterClock(),
    )
    module = CameraModule(context)
    module.prepare()
    context.clock.t0_monotonic_ns = time.monotonic_ns()
    module.start()
    deadline = time.monotonic() + 60
    while context.running and time.monotonic() < deadline:
        time.sleep(0.01)
    module.halt()
    module.close()
    assert not context.running
    assert not context.failures
    frames = context.outputs["video"].items
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [int(frame.view[0, 0, 0]) for frame in frames] == [0, 40, 80, 120, 160]
    first = frames[0].time_usec
    assert first > 0
    assert [round((frame.time_usec - first) / 1000) for frame in frames] == FILE_MS
    assert "lost" not in context.reports or context.reports["lost"] == 0


def test_a_missing_file_is_named_with_its_whole_path(camera, tmp_path):
    with pytest.raises(DeviceError, match="there is no video file") as caught:
        camera.open("file:clip.mkv", CameraRequest(base_dir=tmp_path))
    assert str(tmp_path / "clip.mkv") in caught.value.message
    assert caught.value.remedy


def test_a_file_that_is_no_video_is_named(camera, tmp_path, capfd):
    (tmp_path / "clip.mkv").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DeviceError, match="is not a video") as caught:
        camera.open("file:clip.mkv", CameraRequest(base_dir=tmp_path))
    assert str(tmp_path / "clip.mkv") in caught.value.message


def test_a_truncated_file_plays_what_it_has_and_ends(camera, clip):
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 3 // 4])
    camera.open("file:clip.mkv", CameraRequest(base_dir=clip.parent, paced=False))
    camera.start()
    assert 1 <= len(play(camera, 99)) <= 5


def test_closing_twice_and_closing_what_was_never_open_is_fine(camera, clip):
    camera.close()
    camera.open("file:clip.mkv", CameraRequest(base_dir=clip.parent))
    camera.close()
    camera.close()
