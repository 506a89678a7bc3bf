"""Frame N of a file is frame N for the programs of this field: OpenCV's count and its seeks."""

import av
import cv2
import numpy as np
import pytest

from mlink.modules.video.catalog import VideoRecorderSettings
from mlink.modules.video.choices import CONTAINER_CODECS
from mlink.modules.video.writer import VideoOptions, VideoWriter
from mlink.recording.video_file import remux

COUNT = 150
SEEKS = (0, COUNT - 1, 1, 75, 33, 120, 100, 7)
CHOICES = [
    (container, codec)
    for container, codecs in CONTAINER_CODECS.items()
    for codec in sorted(codecs)
    if codec != "av1"  # OpenCV's builds cannot decode it
]


def picture(number):
    """A picture with its number in eight bars."""
    bits = [255 * (number >> bit & 1) for bit in range(8)]
    return np.broadcast_to(np.repeat(np.uint8(bits), 16)[None, :, None], (64, 128, 3)).copy()


def number_in(pixels):
    return sum((pixels[32, 16 * bit + 8].mean() > 128) << bit for bit in range(8))


def new_writer(path, first, rate, **options):
    return VideoWriter(
        path,
        path.with_suffix(".tsync"),
        first,
        VideoOptions(**options),
        framerate=rate,
        collection_id=bytes(16),
        generator="test",
    )


def write(path, times, rate, **options):
    with new_writer(path, picture(0), rate, **options) as writer:
        for number, time_usec in enumerate(times):
            writer.write(picture(number), time_usec)
    return writer


def assert_frame_n_is_n(path, count=COUNT, seeks=SEEKS):
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == count
    for wanted in seeks:
        video.set(cv2.CAP_PROP_POS_FRAMES, wanted)
        ok, pixels = video.read()
        assert ok
        assert number_in(pixels) == wanted


def steps(*, rate=30.0, start=0, lost=(), pause=0):
    """Times in µs: `lost` are frames that did not come, `pause` is a silence in the middle."""
    numbers = [number for number in range(COUNT + len(lost)) if number not in lost]
    return [
        start + round(number * 1e6 / rate) + (pause if number > COUNT // 2 else 0)
        for number in numbers
    ]


@pytest.mark.parametrize(("container", "codec"), CHOICES)
@pytest.mark.parametrize(
    "times",
    [
        steps(lost=(40, 41, 99)),
        steps(rate=29.5, start=300_000_000),
        steps(rate=20, start=7, pause=3_600_000_000),
    ],
    ids=["lost-frames", "later-slice-at-29.5-Hz", "slow-with-an-hour's-pause"],
)
def test_opencv_counts_and_seeks_right(tmp_path, container, codec, times):
    extension = VideoOptions(container=container).extension
    path = tmp_path / f"a.{extension}"
    write(path, times, 30.0, codec=codec, container=container)
    assert_frame_n_is_n(path)


@pytest.mark.parametrize("rate", [0.01, 0.5, 7.3, 23.976, 29.4871, 30000 / 1001, 119.88, 240])
@pytest.mark.parametrize(
    ("container", "codec"), [("matroska", "ffvhuff"), ("mp4", "h264"), ("avi", "mjpeg")]
)
def test_every_rate_counts(tmp_path, container, codec, rate):
    path = tmp_path / f"a.{VideoOptions(container=container).extension}"
    writer = write(path, range(COUNT), rate, codec=codec, container=container)
    assert_frame_n_is_n(path)
    assert float(writer.rate) == pytest.approx(rate, rel=1e-4)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize(("rate", "in_file"), [(0.01, 2), (0.3, 2.1), (1.9, 3.8), (2, 2)])
def test_slow_h264_in_matroska_plays_faster(tmp_path, rate, in_file):
    path = tmp_path / "a.mkv"
    writer = write(path, range(COUNT), rate, codec="h264")
    assert float(writer.rate) == pytest.approx(in_file, rel=1e-4)
    assert_frame_n_is_n(path)


@pytest.mark.parametrize(("rate", "in_file"), [(241, 120.5), (1000, 200), (1e5, 239.8082)])
@pytest.mark.parametrize(
    ("container", "codec"), [("matroska", "av1"), ("mp4", "h264"), ("avi", "raw")]
)
def test_fast_cameras_play_in_slow_motion(tmp_path, container, codec, rate, in_file):
    path = tmp_path / f"a.{VideoOptions(container=container).extension}"
    writer = write(path, range(COUNT), rate, codec=codec, container=container)
    assert float(writer.rate) == pytest.approx(in_file, rel=1e-4)
    if codec != "av1":
        assert_frame_n_is_n(path)


@pytest.mark.parametrize(("container", "codec"), [c for c in CHOICES if c[0] != "avi"])
def test_a_killed_file_counts_right_after_its_repair(tmp_path, container, codec):
    path = tmp_path / f"a.{VideoOptions(container=container).extension}"
    writer = new_writer(path, picture(0), 29.5, codec=codec, container=container)
    for number in range(COUNT):
        writer.write(picture(number), number)
    killed = tmp_path / f"killed{path.suffix}"
    killed.write_bytes(path.read_bytes())
    writer.close()
    kept = remux(killed, tmp_path / f"done{path.suffix}")
    assert_frame_n_is_n(tmp_path / f"done{path.suffix}", kept, (0, kept - 1, kept // 2))


def test_avi_has_no_true_times(tmp_path):
    settings = VideoRecorderSettings(video_container="avi", timestamps="true")
    (problem,) = settings.check(tmp_path)
    assert problem == "timestamps: avi stores no times; matroska and mp4 do"


@pytest.mark.parametrize(
    ("codec", "matrix"), [("h264", 5), ("hevc", 5), ("vp9", 5), ("av1", 5), ("mjpeg", 5)]
)
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_colours_are_tagged_as_they_are_stored(tmp_path, container, codec, matrix):
    if codec not in CONTAINER_CODECS[container]:
        pytest.skip("the container does not take this codec")
    path = tmp_path / f"a.{VideoOptions(container=container).extension}"
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 255
    with new_writer(path, red, 30, codec=codec, container=container) as writer:
        for number in range(3):
            writer.write(red, number)
    with av.open(str(path)) as opened:
        frame = next(opened.decode(video=0))
    assert frame.colorspace == matrix
    # BT.601 has 0.299 of red in the brightness, BT.709 only 0.213.
    expected = 76 if frame.color_range == 2 else 81
    assert abs(int(frame.to_ndarray()[0, 0]) - expected) <= 1


@pytest.mark.parametrize("codec", ["ffvhuff", "h264"])
@pytest.mark.parametrize("name", ["a b", "[1]", "it's", "x|y", "back\\slash", "day 1: ü", " lead"])
def test_folders_may_have_any_name(tmp_path, name, codec):
    folder = tmp_path / name
    folder.mkdir()
    write(folder / f"{name}.mkv", range(COUNT), 30.0, codec=codec)
    assert {path.name for path in folder.iterdir()} == {f"{name}.mkv", f"{name}.tsync"}
    assert remux(folder / f"{name}.mkv", folder / "done.mkv") == COUNT
