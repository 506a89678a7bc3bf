"""Every codec in every container that takes it: as many frames as times, and the right pictures."""

import os
import shutil
import subprocess
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mlink.errors import ModuleError
from mlink.modules.video.catalog import VideoRecorderSettings
from mlink.modules.video.choices import (
    BITRATE_CODECS,
    CONTAINER_CODECS,
    LOSSLESS_CODECS,
    QUALITY_RANGES,
)
from mlink.modules.video.codecs import CODECS
from mlink.modules.video.containers import CONTAINERS
from mlink.modules.video.encoder_attributes import encoder_attributes, stored_pixels
from mlink.modules.video.jpeg import jpeg_quality
from mlink.modules.video.writer import VideoOptions, VideoWriter
from mlink.recording.care.video_check import contradictions
from mlink.recording.video_file import probe, remux
from mlink.storage.tree import UnitFolder
from mlink.storage.tsync.reader import read_tsync

CHOICES = sorted(
    (container, codec) for container, codecs in CONTAINER_CODECS.items() for codec in codecs
)
TIMES = [1_000_000 + i * 33_333 + i % 5 * 11 for i in range(36)]
SHAPES = {"colour": (96, 128, 3), "gray": (96, 128), "odd": (95, 127, 3)}


def ramps(shape):
    """Smooth pictures that move, which lossy codecs keep recognisable."""
    base = np.abs(np.linspace(-255, 255, shape[1])).astype(np.uint8)
    row = [np.roll(base, 3 * i) for i in range(len(TIMES))]
    return [np.broadcast_to(r[None, :, None] if len(shape) == 3 else r, shape).copy() for r in row]


def agrees(path: Path, writer) -> list[str]:
    """Return what verify finds of a video with the attributes that its recorder writes."""
    height, width = writer.shape[:2]
    video = {"frame_width": width, "frame_height": height, "colored": len(writer.shape) == 3}
    attributes = {
        "video": video | stored_pixels(writer),
        "encoder": encoder_attributes(writer, VideoOptions()),
    }
    return list(
        contradictions(UnitFolder(path.parent, "", attributes=attributes), probe(path).about)
    )


def noise(shape):
    return list(np.random.default_rng(0).integers(0, 256, (len(TIMES), *shape), np.uint8))


def write(folder: Path, frames, close=True, **options):
    chosen = VideoOptions(**options)
    path = folder / f"a.{chosen.extension}"
    writer = VideoWriter(path, folder / "a.tsync", frames[0], chosen, framerate=30,
                         collection_id=bytes(16), generator="test")  # fmt: skip
    for pixels, time in zip(frames, TIMES, strict=True):
        writer.write(pixels, time)
    if close:
        writer.close()
    return path, writer


def decode(path, shape):
    with av.open(str(path)) as container:
        name = "bgr24" if len(shape) == 3 else "gray"
        return [frame.to_ndarray(format=name) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("container", "codec"), CHOICES)
@pytest.mark.parametrize("kind", SHAPES)
def test_pictures_look_like_what_was_sent(tmp_path, container, codec, kind):
    frames = ramps(SHAPES[kind])
    if codec == "av1" and kind == "odd":
        with pytest.raises(ModuleError, match="odd size such as 127×95"):
            write(tmp_path, frames, codec=codec, container=container)
        return
    path, writer = write(tmp_path, frames, codec=codec, container=container)
    decoded = decode(path, SHAPES[kind])
    assert len(decoded) == len(TIMES) == writer.frames
    assert read_tsync(tmp_path / "a.tsync").times.tolist() == [list(x) for x in enumerate(TIMES)]
    for seen, sent in zip(decoded, frames, strict=True):
        assert np.abs(seen.astype(int) - sent).mean() < 5
    assert probe(path).finished
    assert probe(path, decode=True).problem == ""
    assert agrees(path, writer) == []


@pytest.mark.parametrize(("container", "codec"), [c for c in CHOICES if c[1] in LOSSLESS_CODECS])
@pytest.mark.parametrize("kind", SHAPES)
def test_lossless_keeps_every_bit(tmp_path, container, codec, kind):
    frames = noise(SHAPES[kind])
    path, writer = write(tmp_path, frames, codec=codec, container=container, lossless=True)
    assert writer.lossless
    assert agrees(path, writer) == []
    assert np.array_equal(decode(path, SHAPES[kind]), frames)


@pytest.mark.parametrize("codec", sorted(QUALITY_RANGES))
def test_quality_and_bitrate_are_heard(tmp_path, codec):
    frames = noise(SHAPES["colour"])
    sizes = {}
    best, worst = QUALITY_RANGES[codec]
    bitrates = codec in BITRATE_CODECS
    for name, options in {
        "fine": {"quality": best + (worst - best) // 5},
        "coarse": {"quality": worst - (worst - best) // 5},
        "slow": {"constant_bitrate": bitrates, "bitrate_kbps": 100},
        "fast": {"constant_bitrate": bitrates, "bitrate_kbps": 6000},
    }.items():
        (tmp_path / name).mkdir()
        path, _ = write(tmp_path / name, frames, codec=codec, **options)
        sizes[name] = path.stat().st_size
    assert sizes["fine"] > 1.5 * sizes["coarse"], sizes
    assert not bitrates or sizes["fast"] > 1.5 * sizes["slow"], sizes


@pytest.mark.parametrize(("container", "codec"), CHOICES)
def test_a_kill_leaves_a_file_that_reads_and_can_be_finished(tmp_path, container, codec):
    frames = ramps(SHAPES["colour"])
    path, writer = write(tmp_path, frames, close=False, codec=codec, container=container)
    killed = tmp_path / f"killed{path.suffix}"
    shutil.copy(path, killed)
    writer.close()
    before = probe(killed)
    assert not before.finished
    assert before.frames > 10 or container == "avi"
    assert remux(killed, tmp_path / f"done{path.suffix}") == before.frames
    done = probe(tmp_path / f"done{path.suffix}", decode=True)
    assert (done.frames, done.finished, done.problem) == (before.frames, True, "")


@pytest.mark.parametrize(("container", "codec"), [c for c in CHOICES if c[1] != "av1"])
def test_opencv_reads_it(tmp_path, container, codec):
    frames = ramps(SHAPES["colour"])
    path, _ = write(tmp_path, frames, codec=codec, container=container)
    video = cv2.VideoCapture(str(path))
    count = 0
    while (found := video.read())[0]:
        assert np.abs(found[1].astype(int) - frames[count]).mean() < 6
        count += 1
    assert count == len(frames)


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is not installed")
@pytest.mark.parametrize(("container", "codec"), CHOICES)
def test_ffprobe_counts_every_frame(tmp_path, container, codec):
    path, _ = write(tmp_path, ramps(SHAPES["colour"]), codec=codec, container=container)
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames",
         "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True, timeout=250,
    )  # fmt: skip
    assert done.stdout.strip().strip(",") == str(len(TIMES))


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_no_encoder_takes_a_priority_above_capture_threads(tmp_path, codec):
    _, writer = write(tmp_path, noise((64, 64, 3)), codec=codec, close=False)
    policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    writer.close()
    assert policies == {os.SCHED_OTHER}


def test_every_choice_has_its_codec():
    assert set().union(*CONTAINER_CODECS.values()) == set(CODECS)
    assert set(CONTAINER_CODECS) == set(CONTAINERS)
    for name, codec in CODECS.items():
        assert (name in LOSSLESS_CODECS) == (codec.always_lossless or bool(codec.lossless_plans))
        assert (name in QUALITY_RANGES) == (codec.quality is not None)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"video_codec": "ffv1", "video_container": "mp4"}, "mp4 cannot contain ffv1"),
        ({"video_codec": "av1", "lossless": True}, "av1 has no lossless mode"),
        ({"video_codec": "h264", "quality": 52}, "h264 accepts 0 (best) to 51, not 52"),
        ({"video_codec": "mjpeg", "mode": "constant-bitrate"}, "mjpeg has no constant bitrate"),
        ({"slices_interval": 0}, "more than 0 minutes"),
        ({"bitrate_kbps": 0}, "must be more than 0"),
    ],
)
def test_unsupported_settings_are_refused_before_the_run(tmp_path, settings, text):
    (problem,) = VideoRecorderSettings(**settings).check(tmp_path)
    assert text in problem
    assert VideoRecorderSettings().check(tmp_path) == []


@pytest.mark.parametrize(
    ("quantiser", "quality"), [(2, 90), (3, 85), (5, 75), (10, 50), (16, 31), (31, 16)]
)
def test_a_quantiser_means_for_libjpeg_what_it_means_for_ffmpeg(quantiser, quality):
    assert jpeg_quality(quantiser) == quality


def test_grey_jpegs_are_reported_and_stored_as_grey(tmp_path):
    pixels = np.full((31, 47), 77, np.uint8)
    options = VideoOptions(codec="mjpeg")
    with VideoWriter(tmp_path / "a.mkv", tmp_path / "a.tsync", pixels, options, framerate=30,
                     collection_id=bytes(16), generator="test") as writer:  # fmt: skip
        writer.write(pixels, 0)
        assert (writer.pixel_format, writer.encoder_name) == ("gray", "libjpeg-turbo")
    with av.open(str(tmp_path / "a.mkv")) as container:
        (frame,) = container.decode(video=0)
    assert frame.format.name == "gray"
    assert abs(int(frame.to_ndarray().mean()) - 77) <= 1


@pytest.mark.parametrize(("threads", "level"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 6)])
def test_av1_has_a_level_of_threads_for_two_processors(threads, level):
    for options in (CODECS["av1"].options(threads), CODECS["av1"].bitrate_options(threads)):
        assert f"lp={level}" in options["svtav1-params"].split(":")


def test_frames_that_are_parts_of_others_or_read_only_are_recorded_as_they_are(tmp_path):
    whole = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    kept = whole[::2, ::2].copy()
    kept.flags.writeable = False
    shown = []
    for name, pixels in (("part", whole[::2, ::2]), ("whole", kept)):
        path, times = tmp_path / f"{name}.mkv", tmp_path / f"{name}.tsync"
        with VideoWriter(path, times, pixels, VideoOptions(codec="ffvhuff"), framerate=30,
                         collection_id=bytes(16), generator="t") as writer:  # fmt: skip
            writer.write(pixels, 0)
        with av.open(str(tmp_path / f"{name}.mkv")) as container:
            (frame,) = container.decode(video=0)
            shown.append(frame.to_ndarray(format="bgr24"))
    assert all(np.array_equal(each, kept) for each in shown)
