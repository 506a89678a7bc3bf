"""The video recorder: every pixel, a time for each frame, and the truth about what is missing."""

import dataclasses
import tomllib
from contextlib import closing
from datetime import UTC, datetime
from fractions import Fraction

import av
import numpy as np
import pytest

from mlink.errors import ModuleError, StorageError
from mlink.metadata import MetaSize
from mlink.modules.video import writer as video_writer
from mlink.modules.video.catalog import VideoRecorderSettings, videorecorder
from mlink.modules.video.recorder import VideoRecorderModule
from mlink.modules.video.writer import VideoOptions, VideoWriter
from mlink.recording.care.video_check import check_video
from mlink.recording.video import Video
from mlink.storage.tree import read_unit
from mlink.storage.tsync.reader import read_tsync
from mlink.types import ControlCommand, ControlCommandKind, Frame
from tests.support.fake_context import FakeContext

TIMES = [5, 33_400, 50_000, 50_100, 50_200, 133_333]


def pictures(shape, dtype=np.uint8, count=6):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (count, *shape), dtype, endpoint=True)


def make(tmp_path, *, metadata=None, record=True, **settings):
    context = FakeContext(
        videorecorder, VideoRecorderSettings(**settings), tmp_path, name="Video", record=record
    )
    context.inputs["frames-in"].metadata = {"framerate": 30.0} if metadata is None else metadata
    module = VideoRecorderModule(context)
    module.prepare()
    module.start()
    return module, context


def feed(context, frames, times=TIMES):
    for i, (pixels, time) in enumerate(zip(frames, times, strict=True)):
        context.inputs["frames-in"].on_item(Frame.from_shared(pixels, i + 7, time))


def record(tmp_path, frames, **options):
    module, context = make(tmp_path, **options)
    feed(context, frames)
    module.stop()
    module.close()
    return context, tmp_path / "recording" / "videos/video"


def decode(path, pixel_format):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert all(frame.format.name == pixel_format for frame in frames)
    return frames


def toml(path):
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    ("shape", "dtype", "stored"),
    [
        ((48, 64, 3), np.uint8, "bgr0"),
        ((49, 63, 3), np.uint8, "bgr0"),
        ((5, 3, 3), np.uint8, "bgr0"),
        ((48, 64), np.uint8, "gray"),
        ((49, 63), np.uint8, "gray"),
        ((49, 63, 1), np.uint8, "gray"),
        ((49, 63), np.uint16, "gray16le"),
        ((49, 63, 4), np.uint8, "bgra"),
    ],
)
def test_ffv1_keeps_every_bit(tmp_path, shape, dtype, stored):
    frames = pictures(shape, dtype)
    _, folder = record(tmp_path, frames, video_codec="ffv1")
    decoded = decode(folder / "0d0e0f-video.mkv", stored)
    assert len(decoded) == len(frames)
    for frame, pixels in zip(decoded, frames, strict=True):
        plane = frame.planes[0]
        item = pixels.itemsize * (4 if stored == "bgr0" else pixels[0, 0].size)
        rows = np.frombuffer(plane, np.uint8).reshape(shape[0], plane.line_size)
        raw = rows[:, : shape[1] * item].copy().view(dtype)
        if stored == "bgr0":
            raw = raw.reshape(*shape[:2], 4)[..., :3]
        assert np.array_equal(raw.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("codec", ["ffv1", "ffvhuff"])
def test_every_bit_of_16_bit_colour_is_kept(tmp_path, codec):
    frames = pictures((49, 63, 3), np.uint16)
    _, folder = record(tmp_path, frames, video_codec=codec)
    for frame, pixels in zip(decode(folder / "0d0e0f-video.mkv", "gbrp16le"), frames, strict=True):
        planes = [
            np.frombuffer(plane, np.uint16).reshape(49, plane.line_size // 2)[:, :63]
            for plane in frame.planes
        ]
        assert np.array_equal(np.stack([planes[1], planes[0], planes[2]], axis=2), pixels)


def test_lossless_h264_keeps_every_bit(tmp_path):
    frames = pictures((48, 64, 3))
    _, folder = record(tmp_path, frames, video_codec="h264", lossless=True)
    for frame, pixels in zip(decode(folder / "0d0e0f-video.mkv", "gbrp"), frames, strict=True):
        assert np.array_equal(frame.to_ndarray(format="bgr24"), pixels)


@pytest.mark.parametrize("mode", ["constant-quality", "constant-bitrate"])
@pytest.mark.parametrize(
    ("shape", "stored"),
    [
        ((48, 64, 3), "yuv420p"),
        ((49, 63, 3), "yuv444p"),
        ((48, 64), "gray"),
        ((48, 64, 4), "yuv420p"),
    ],
)
def test_h264_looks_like_what_was_sent(tmp_path, shape, stored, mode):
    ramp = np.linspace(0, 255, shape[1]).astype(np.uint8)
    frame = np.zeros(shape, np.uint8)
    frame += ramp[None, :] if len(shape) == 2 else ramp[None, :, None]
    _, folder = record(tmp_path, [frame] * 6, video_codec="h264", mode=mode)
    with av.open(str(folder / "0d0e0f-video.mkv")) as container:
        decoded = list(container.decode(video=0))
    assert len(decoded) == 6
    assert toml(folder / "attributes.toml")["encoder"]["pixel_format"] == stored
    seen = decoded[-1].to_ndarray(format="bgr24")[..., 0].astype(int)
    assert abs(seen - (frame if frame.ndim == 2 else frame[..., 0])).mean() < 8


@pytest.mark.parametrize(
    ("codec", "shape", "dtype"),
    [
        ("ffvhuff", (49, 63), np.uint8),
        ("ffvhuff", (49, 63, 3), np.uint8),
        ("ffvhuff", (49, 63, 4), np.uint8),
        ("ffvhuff", (49, 63), np.uint16),
        ("raw", (49, 63), np.uint16),
        ("raw", (49, 63, 3), np.uint16),
        ("raw", (49, 63, 4), np.uint16),
        ("ffv1", (49, 63, 4), np.uint16),
    ],
)
def test_a_lossless_video_is_read_as_it_was_sent(tmp_path, codec, shape, dtype):
    frames = pictures(shape, dtype)
    _, folder = record(tmp_path, frames, video_codec=codec)
    with closing(Video(read_unit(folder, "video"))) as video:
        for recorded, pixels in zip(video, frames, strict=True):
            assert recorded.mat.dtype == dtype
            assert np.array_equal(recorded.mat, pixels)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "mjpeg"])
@pytest.mark.parametrize("deferred", [False, True])
def test_a_dropped_alpha_channel_is_reported_and_recorded(tmp_path, caplog, codec, deferred):
    context, folder = record(
        tmp_path, pictures((48, 64, 4)), video_codec=codec, deferred_encode_enabled=deferred
    )
    assert context.reports["dropped"] == "alpha"
    assert "cannot keep the alpha of the frames" in caplog.text
    if not deferred:
        assert toml(folder / "attributes.toml")["encoder"]["dropped"] == "alpha"


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "mjpeg"])
def test_16_bits_are_refused_by_a_codec_of_8(tmp_path, codec):
    with pytest.raises(ModuleError, match=f"{codec} cannot store gray16 frames"):
        record(tmp_path, pictures((48, 64), np.uint16), video_codec=codec)


def of_bits(bits, top=None):
    """Six ramps from 0 to the greatest value of some bits, and metadata that state them."""
    ramp = np.linspace(0, (1 << bits) - 1 if top is None else top, 64).round().astype(np.uint16)
    pictures = [np.tile(np.roll(ramp, n), (48, 1)) for n in range(6)]
    return pictures, {"framerate": 30.0, "bits": bits}


@pytest.mark.parametrize("bits", [9, 10, 12])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "mjpeg"])
def test_a_codec_of_8_bits_scales_by_the_bits_that_are_used(tmp_path, caplog, codec, bits):
    sent, metadata = of_bits(bits)
    context, folder = record(tmp_path, sent, metadata=metadata, video_codec=codec)
    what = f"lower {bits - 8} of {bits} bits"
    assert context.reports["dropped"] == what
    assert f"cannot keep the {what} of the frames" in caplog.text
    about = toml(folder / "attributes.toml")
    assert about["encoder"]["dropped"] == what
    assert (about["video"]["pixels"], about["video"]["bits"]) == ("gray8", 8)
    with closing(Video(read_unit(folder, "video"))) as video:
        for recorded, pixels in zip(video, sent, strict=True):
            assert recorded.mat.dtype == np.uint8
            wrong = abs(recorded.mat.astype(float) - pixels * (255 / ((1 << bits) - 1)))
            assert wrong.mean() < 6


@pytest.mark.parametrize(
    ("codec", "bits", "stored"),
    [("ffv1", 9, "gray10le"), ("ffv1", 10, "gray10le"), ("ffv1", 12, "gray12le"),
     ("ffv1", 14, "gray16le"), ("ffvhuff", 10, "gray16le"), ("raw", 10, "gray16le")],
)  # fmt: skip
def test_a_lossless_video_keeps_the_values_and_their_bits(tmp_path, codec, bits, stored):
    sent, metadata = of_bits(bits)
    _, folder = record(tmp_path, sent, metadata=metadata, video_codec=codec)
    decode(folder / "0d0e0f-video.mkv", stored)
    with closing(Video(read_unit(folder, "video"))) as video:
        assert video.bits == bits
        assert all(np.array_equal(each.mat, it) for each, it in zip(video, sent, strict=True))
        assert np.array_equal(video[4].mat, sent[4])
        assert video[4].mat.dtype == np.uint16


@pytest.mark.parametrize("bits", [0, -3, 17, "ten", 10.5, True, None])
def test_bits_that_cannot_be_true_count_as_not_stated(tmp_path, bits):
    sent = pictures((48, 64), np.uint16)
    _, folder = record(tmp_path, sent, metadata={"bits": bits}, video_codec="ffv1")
    decode(folder / "0d0e0f-video.mkv", "gray16le")
    assert toml(folder / "attributes.toml")["video"]["bits"] == 16


def test_a_frame_with_more_bits_than_its_source_states_is_kept_in_a_new_file(tmp_path, caplog):
    sent, metadata = of_bits(10)
    sent[3] = sent[3] << 2
    sent[5] = sent[5] << 2
    context, folder = record(tmp_path, sent, metadata=metadata, video_codec="ffv1")
    assert context.reports["bits_exceeded"] == "frame 10"
    assert caplog.text.count("frame 10 has the value 4092, but its source states bits = 10") == 1
    decode(folder / "0d0e0f-video.mkv", "gray10le")
    decode(folder / "0d0e0f-video-2.mkv", "gray16le")
    with closing(Video(read_unit(folder, "video"))) as video:
        assert video.bits == 16
        for recorded, pixels in zip(video, sent, strict=True):
            assert np.array_equal(recorded.mat, pixels)


def test_in_a_codec_of_8_bits_values_above_the_stated_bits_are_white(tmp_path, caplog):
    sent, metadata = of_bits(10)
    sent[3] = np.full_like(sent[3], 4000)
    context, folder = record(tmp_path, sent, metadata=metadata, video_codec="mjpeg")
    assert context.reports["bits_exceeded"] == "frame 10"
    assert "such values become white" in caplog.text
    with closing(Video(read_unit(folder, "video"))) as video:
        assert len(video) == 6
        assert (video[3].mat >= 254).all()


@pytest.mark.parametrize(
    ("times", "recorded"),
    [
        ([5, 5, 5, 9, 10, 11], [5, 6, 7, 9, 10, 11]),
        ([-7, -6, 0, 40, 30, 50], [0, 1, 2, 40, 41, 50]),
        ([900, 2**53, 1000, 1100, 2**53 + 9, -1],
         [900, 2**53, 2**53 + 1, 2**53 + 2, 2**53 + 9, 2**53 + 10]),
    ],
)  # fmt: skip
def test_impossible_times_are_counted_kept_and_no_damage(tmp_path, caplog, times, recorded):
    module, context = make(tmp_path)
    feed(context, pictures((16, 16)), times)
    module.stop()
    module.close()
    wrong = [
        {"frame": frame, "given_usec": given, "time_usec": written}
        for frame, (given, written) in enumerate(zip(times, recorded, strict=True))
        if given != written
    ]
    folder = tmp_path / "recording" / "videos/video"
    assert read_tsync(folder / "0d0e0f-video_timestamps.tsync").times[:, 1].tolist() == recorded
    attributes = toml(folder / "attributes.toml")
    assert attributes["disordered"] == wrong
    assert context.reports["frames_disordered"] == attributes["frames_disordered"] == len(wrong)
    assert caplog.text.count("are recorded 1 µs after the one before") == 1
    checked = check_video(read_unit(folder, "video"), decode=True)
    assert (checked.damage, checked.unfinished) == ([], [])


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
def test_every_frame_has_its_time(tmp_path, codec):
    _, folder = record(tmp_path, pictures((48, 64, 3)), video_codec=codec, timestamps="true")
    tsync = read_tsync(folder / "0d0e0f-video_timestamps.tsync")
    assert tsync.times.tolist() == [[i, time] for i, time in enumerate(TIMES)]
    assert [column.name for column in tsync.header.columns] == ["frame-no", "master-time"]
    with av.open(str(folder / "0d0e0f-video.mkv")) as container:
        stream = container.streams.video[0]
        assert stream.time_base == Fraction(1, 1000)
        # In ms, as Matroska has it; two frames within a millisecond stay apart.
        assert [frame.pts for frame in container.decode(video=0)] == [0, 33, 50, 51, 52, 133]


def test_the_dataset_describes_itself(tmp_path):
    metadata = {"framerate": 60.0, "size": MetaSize(64, 48), "src_mod_name": "cam",
                "timestamp_source": "kernel"}  # fmt: skip
    context, _ = record(tmp_path, pictures((48, 64, 3)), metadata=metadata)
    folder = tmp_path / "recording" / "videos" / "cam"
    manifest, attributes = toml(folder / "manifest.toml"), toml(folder / "attributes.toml")
    assert manifest["data"]["media_type"] == "video/x-matroska"
    assert manifest["data"]["summary"] == "Video recording from cam"
    assert manifest["data_aux"] == [
        {
            "file_type": "tsync",
            "summary": "Video timestamps",
            "parts": [{"fname": "0d0e0f-cam_timestamps.tsync"}],
        }
    ]
    assert attributes["video"] == {"frame_width": 64, "frame_height": 48, "framerate": 60.0,
                                   "colored": True, "pixels": "bgr8", "bits": 8,
                                   "timestamps": "constant", "file_rate": 60.0}  # fmt: skip
    assert attributes["encoder"]["name"] == "ffvhuff"
    assert attributes["encoder"]["lossless"] is True
    assert attributes["timestamp_source"] == "kernel"
    assert attributes["frame_count"] == 6
    assert attributes["items_lost"] == 0
    assert (attributes["source_index_first"], attributes["source_index_last"]) == (7, 12)
    assert context.reports == {"frames_written": 6, "frames_lost": 0}


@pytest.mark.parametrize(
    ("metadata", "settings", "path"),
    [
        ({"data_name_proposal": "arena/top"}, {}, "videos/arena/top.mkv"),
        ({"data_name_proposal": "top", "src_mod_name": "Eye"}, {}, "videos/eye/0d0e0f-eye.mkv"),
        ({}, {}, "videos/video/0d0e0f-video.mkv"),
        (
            {},
            {"video_name_from_source": False, "video_name": "Side"},
            "videos/side/0d0e0f-side.mkv",
        ),
    ],
)
def test_the_dataset_is_named_by_source_setting_or_module(tmp_path, metadata, settings, path):
    record(tmp_path, pictures((16, 16)), metadata=metadata, **settings)
    assert (tmp_path / "recording" / path).is_file()


def test_a_missing_name_is_refused_before_the_run(tmp_path):
    with pytest.raises(ModuleError, match="no name for its data"):
        make(tmp_path, video_name_from_source=False)


def test_no_frames_leave_a_valid_empty_dataset(tmp_path):
    module, context = make(tmp_path)
    module.stop()
    module.close()
    folder = tmp_path / "recording" / "videos/video"
    assert toml(folder / "manifest.toml")["type"] == "dataset"
    assert "data" not in toml(folder / "manifest.toml")
    assert sorted(path.name for path in folder.iterdir()) == ["attributes.toml", "manifest.toml"]
    assert context.reports["frames_written"] == 0


def test_nothing_is_written_when_the_run_is_not_recorded(tmp_path):
    context, _ = record(tmp_path, pictures((16, 16)), record=False)
    assert context.reports["frames_written"] == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", [(48, 63, 3), (50, 64, 3), (48, 64)])
def test_a_frame_of_another_size_is_an_error_that_names_both(tmp_path, other):
    module, context = make(tmp_path)
    feed(context, pictures((48, 64, 3)))
    with pytest.raises(ModuleError) as caught:
        feed(context, [np.zeros(other, np.uint8)], [200_000])
    assert "64×48 bgr8" in caught.value.message
    assert f"{other[1]}×{other[0]}" in caught.value.message
    module.close()
    folder = tmp_path / "recording" / "videos/video"
    frames = decode(folder / "0d0e0f-video.mkv", "gbrp")
    assert len(frames) == len(read_tsync(folder / "0d0e0f-video_timestamps.tsync").times) == 6


def test_a_size_other_than_announced_is_an_error(tmp_path):
    module, context = make(tmp_path, metadata={"size": MetaSize(640, 480)})
    with pytest.raises(ModuleError, match="64×48, but its source announced 640×480"):
        feed(context, pictures((48, 64, 3)))
    module.close()


@pytest.mark.parametrize(
    ("pixels", "settings", "message"),
    [
        (np.zeros((4, 4), np.float32), {}, "float32 cannot be recorded"),
        (np.zeros((4, 4, 2), np.uint8), {}, "cannot be recorded"),
        (np.zeros((4,), np.uint8), {}, "cannot be recorded"),
        (np.zeros((4, 4), np.uint16), {"video_codec": "h264"}, "h264 cannot store gray16"),
        (np.zeros((1, 1, 3), np.uint8), {"video_codec": "ffv1"}, "does not accept pictures of 1×1"),
        (np.zeros((0, 0), np.uint8), {}, "cannot be recorded"),
    ],
)
def test_pixels_that_cannot_be_stored_are_a_clear_error(tmp_path, pixels, settings, message):
    module, context = make(tmp_path, **settings)
    with pytest.raises(ModuleError, match=message):
        context.inputs["frames-in"].on_item(Frame.from_array(pixels))
    module.close()


def test_lost_frames_are_reported_and_recorded(tmp_path, caplog):
    module, context = make(tmp_path)
    feed(context, pictures((16, 16))[:3], TIMES[:3])
    context.inputs["frames-in"].on_gap(4)
    feed(context, pictures((16, 16))[3:], TIMES[3:])
    folder = tmp_path / "recording" / "videos/video"
    assert toml(folder / "attributes.toml")["items_lost"] == 4  # before the end: a kill keeps it
    module.stop()
    attributes = toml(folder / "attributes.toml")
    assert attributes["gaps"][0]["after"] == 3
    assert attributes["gaps"][0]["lost"] == 4
    assert context.reports["frames_lost"] == 4
    assert not caplog.records  # the engine logs losses: it knows their cause


def test_a_rate_other_than_announced_is_warned_of(tmp_path, caplog):
    frames = pictures((16, 16), count=30)
    module, context = make(tmp_path, metadata={"framerate": 60.0})
    feed(context, frames, [i * 33_333 for i in range(30)])
    module.stop()
    assert "30.00 Hz, not at the announced 60.00 Hz" in caplog.text
    attributes = toml(tmp_path / "recording/videos/video/attributes.toml")
    assert attributes["framerate_measured"] == pytest.approx(30, abs=0.01)


def test_control_commands_pause_and_resume(tmp_path):
    module, context = make(tmp_path, start_stopped=True)
    control = context.inputs["control-in"].on_item
    frames = pictures((16, 16))
    feed(context, frames[:1], TIMES[:1])
    control(ControlCommand(ControlCommandKind.START))
    feed(context, frames[1:3], TIMES[1:3])
    control(ControlCommand(ControlCommandKind.PAUSE))
    feed(context, frames[3:4], TIMES[3:4])
    control(ControlCommand(ControlCommandKind.START))
    feed(context, frames[4:], TIMES[4:])
    module.stop()
    folder = tmp_path / "recording" / "videos/video"
    expected = [TIMES[i] for i in (1, 2, 4, 5)]
    assert (
        read_tsync(folder / "0d0e0f-video_sec1_timestamps.tsync").times[:, 1].tolist() == expected
    )
    assert len(decode(folder / "0d0e0f-video_sec1.mkv", "gray")) == 4
    assert context.reports["frames_skipped"] == 2


def test_a_time_is_on_disk_before_its_picture(tmp_path, monkeypatch):
    frames = pictures((48, 64, 3), count=20)
    paths = tmp_path / "a.mkv", tmp_path / "a.tsync"
    real = video_writer.VideoWriter._mux
    seen = []

    def watched(self, container, packets):
        real(self, container, packets)
        seen.append(len(read_tsync(paths[1]).times))

    monkeypatch.setattr(video_writer.VideoWriter, "_mux", watched)
    with VideoWriter(*paths, frames[0], VideoOptions(), framerate=30, collection_id=bytes(16),
                     generator="test") as writer:  # fmt: skip
        for i, pixels in enumerate(frames):
            writer.write(pixels, i * 33_333)
    assert seen[:20] == list(range(1, 21))


def test_a_full_disk_is_one_clear_error_and_both_files_open(tmp_path, monkeypatch):
    module, context = make(tmp_path)
    frames = pictures((48, 64, 3))
    feed(context, frames)

    class Full:
        def __init__(self, container):
            self.container = container

        def mux(self, _packets):
            raise OSError(28, "No space left on device")

        def close(self):
            self.container.close()

    module._writer._container = Full(module._writer._container)
    with pytest.raises(StorageError, match=r"video\.mkv: No space left") as caught:
        feed(context, frames[:1], [200_000])
    assert "The disk is full" in caught.value.remedy
    module.close()
    folder = tmp_path / "recording" / "videos/video"
    assert len(decode(folder / "0d0e0f-video.mkv", "gbrp")) == 6
    assert len(read_tsync(folder / "0d0e0f-video_timestamps.tsync").times) >= 6
    assert toml(folder / "attributes.toml")["frame_count"] >= 6


def test_in_virtual_time_the_file_is_the_same_whatever_processors_there_are(tmp_path, monkeypatch):
    stored = []
    for processors in (1, 16):
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid, n=processors: set(range(n)))
        folder = tmp_path / str(processors)
        folder.mkdir()
        module, context = make(folder)
        context.waiting.is_virtual = True
        created = datetime(2000, 1, 1, tzinfo=UTC)
        context.run_info = dataclasses.replace(context.run_info, time_created=created)
        feed(context, pictures((48, 64, 3)))
        module.stop()
        module.close()
        stored.append((folder / "recording" / "videos/video" / "0d0e0f-video.mkv").read_bytes())
    assert stored[0] == stored[1]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["video.mkv", "video-2.mkv", "video-3.mkv"]),
        (
            {"slices_enabled": True, "slices_interval": 0.001},
            ["video_1.mkv", "video_1-2.mkv", "video_1-3.mkv", "video_3.mkv"],
        ),
        ({"video_codec": "h264"}, ["video.mkv"]),  # its index has one picture of a hundred
    ],
)
def test_a_file_with_a_long_index_goes_on_in_another(tmp_path, monkeypatch, settings, names):
    """FFmpeg keeps the index in memory: a recording of days would fill it."""
    monkeypatch.setattr(video_writer, "_MOST_INDEXED", 2)
    context, dataset = record(tmp_path, pictures((48, 64, 3)), **settings)
    parts = toml(dataset / "manifest.toml")["data"]["parts"]
    assert [part["fname"].removeprefix("0d0e0f-") for part in parts] == names
    unit = read_unit(dataset, "video")
    assert context.reports["frames_written"] == 6
    found = check_video(unit, decode=True)
    assert (found.items, found.times, found.damage, found.unfinished) == (6, 6, [], [])
    with closing(Video(unit)) as video:
        assert len(video) == 6
