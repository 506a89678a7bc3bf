"""`mlink export --to mp4`: one file per video that every program opens, frame N at N."""

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import mlink.recording
from mlink.cli import app
from mlink.encoding.mp4 import export_mp4
from mlink.errors import StorageError
from mlink.storage.tsync.reader import read_tsync
from tests.unit.encoding.test_encoding import record


def gradients(shape, dtype=np.uint8, count=40):
    top = np.iinfo(dtype).max
    ramp = np.linspace(0, top, shape[1]).astype(dtype)
    plain = np.broadcast_to(ramp[None, :, None] if len(shape) == 3 else ramp, shape)
    return [np.roll(plain, 4 * number, axis=1).copy() for number in range(count)]


@pytest.mark.parametrize(
    ("shape", "dtype", "changes"),
    [
        ((48, 64, 3), np.uint8, ""),
        ((48, 64), np.uint8, ""),
        ((48, 64), np.uint16, "the upper 8 of 16 bits"),
        ((49, 63, 4), np.uint8, "without alpha, its edge repeated to an even size"),
    ],
)
def test_all_parts_become_one_video(tmp_path, shape, dtype, changes):
    sent = gradients(shape, dtype)
    folder = record(tmp_path, sent, slices_enabled=True, slices_interval=0.01)
    with mlink.recording.open(folder) as opened:
        assert len(opened.video().part_names) == 3
        (path, made), (times, _) = export_mp4(opened, tmp_path / "out")
        assert made == changes
        assert np.array_equal(read_tsync(times).times[:, 1], opened.video().times_usec)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == len(sent)
    for number in (39, 0, 17, 5):
        video.set(cv2.CAP_PROP_POS_FRAMES, number)
        shown = video.read()[1][: shape[0], : shape[1]].astype(int)
        wanted = (sent[number] >> 8 if dtype == np.uint16 else sent[number]).astype(int)
        wanted = np.broadcast_to(wanted.reshape(*shape[:2], -1)[..., :1], shown.shape)
        assert abs(shown - wanted).mean() < 5
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        frame = next(container.decode(video=0))
        assert (frame.format.name, frame.colorspace) == ("yuv420p", 5)


def test_frames_of_10_bits_are_as_bright_as_they_were_sent(tmp_path):
    sent = [each >> 6 for each in gradients((48, 64), np.uint16)]
    folder = record(tmp_path, sent, metadata={"framerate": 30.0, "bits": 10}, video_codec="ffv1")
    with mlink.recording.open(folder) as opened:
        (path, made), _ = export_mp4(opened, tmp_path / "out")
    assert made == "the upper 8 of 10 bits"
    shown = cv2.VideoCapture(str(path)).read()[1][..., 0].astype(int)
    assert abs(shown - (sent[0] >> 2)).mean() < 5


def test_the_command_names_its_files_and_overwrites_nothing(tmp_path):
    folder = record(tmp_path, gradients((49, 63, 3), count=3))
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["export", str(folder), "--to", "mp4", "--out", str(out)])
    assert done.exit_code == 0
    assert "mp4 (its edge repeated to an even size)" in done.stdout
    with (
        mlink.recording.open(folder) as opened,
        pytest.raises(StorageError, match="exists already"),
    ):
        export_mp4(opened, out)


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        ([n * 33_333 + (n > 20) * 3_600_000_000 for n in range(40)], 30),  # an hour's pause
        ([-5_000_000 + n for n in range(40)], 30),  # times that are none
        ([n * 100_000 for n in range(40)], 10),
    ],
)
def test_the_rate_is_that_of_the_camera_also_where_a_recording_has_pauses(tmp_path, times, rate):
    folder = record(tmp_path, gradients((48, 64, 3)), times=times)
    with mlink.recording.open(folder) as opened:
        ((path, _), _) = export_mp4(opened, tmp_path / "out")
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(rate, rel=0.01)
