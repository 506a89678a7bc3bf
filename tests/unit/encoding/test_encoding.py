"""Deferred encoding: recorded raw, encoded later, verified, and never without one of the two."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

import mlink.recording
from mlink.encoding import file as encoding_file
from mlink.encoding import recording as encoding_recording
from mlink.encoding.file import encode_file, replace_original
from mlink.encoding.jobs import jobs_of, pending_units
from mlink.encoding.recording import Progress, encode_recording
from mlink.errors import ModuleError, StorageError
from mlink.modules.video.catalog import VideoRecorderSettings, videorecorder
from mlink.modules.video.recorder import VideoRecorderModule
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.storage.edl import create_collection
from mlink.types import Frame
from tests.support.fake_context import FakeContext

RATE = 30.0


def pictures(count: int = 12, shape: tuple[int, ...] = (48, 64, 3), dtype: Any = np.uint8) -> Any:
    random = np.random.default_rng(0)
    return random.integers(0, np.iinfo(dtype).max, (count, *shape), dtype, endpoint=True)


def record(
    tmp_path: Path,
    frames: Any,
    times: list[int] | None = None,
    metadata: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Record with deferral; return the recording's folder."""
    chosen = VideoRecorderSettings(deferred_encode_enabled=True, **settings)
    context = FakeContext(videorecorder, chosen, tmp_path, name="Video", record=True)
    context.inputs["frames-in"].metadata = metadata or {"framerate": RATE}
    create_collection(
        tmp_path / "recording", collection_id=context.run_info.run_uuid, generator="test"
    ).save(success=True)
    module = VideoRecorderModule(context)  # type: ignore[arg-type]
    module.prepare()
    module.start()
    for number, pixels in enumerate(frames):
        time_usec = times[number] if times else round(number * 1e6 / RATE) + number % 3
        frame = Frame.from_shared(pixels, number, time_usec)
        context.inputs["frames-in"].on_item(frame)  # type: ignore[misc]
    module.stop()
    module.close()
    return tmp_path / "recording"


def attributes(recording: Path) -> dict[str, Any]:
    return tomllib.loads((recording / "videos/video" / "attributes.toml").read_text())


def codec_of(path: Path) -> str:
    with av.open(str(path)) as container:
        return str(container.streams.video[0].codec_context.codec.canonical_name)


def findings(recording: Path) -> list[str]:
    found = verify_recording(recording, decode=True).findings
    return [f.text for f in found if f.level != "note" and f.dataset]


@pytest.mark.parametrize(
    ("codec", "kind", "bits"), [("ffv1", "gray16", 10), ("h264", "gray8", 8), ("hevc", "gray8", 8)]
)
def test_the_used_bits_are_those_of_the_recording(
    tmp_path: Path, codec: str, kind: str, bits: int
) -> None:
    sent = [np.tile(np.roll(np.arange(64) * 16, n), (48, 1)).astype(np.uint16) for n in range(5)]
    metadata = {"framerate": RATE, "bits": 10}
    folder = record(tmp_path, sent, metadata=metadata, video_codec=codec)
    assert encode_recording(folder).ok
    about = attributes(folder)["video"]
    assert (about["pixels"], about["bits"]) == (kind, bits)
    with mlink.recording.open(folder) as opened:
        video = opened.video()
        assert video.bits == bits
        for recorded, pixels in zip(video, sent, strict=True):
            if bits == 10:
                assert np.array_equal(recorded.mat, pixels)
            else:
                assert abs(recorded.mat - pixels * (255 / 1023)).mean() < 8


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"video_codec": "h264"}, "0d0e0f-video.mkv"),
        ({"video_codec": "h264", "video_container": "mp4"}, "0d0e0f-video.mp4"),
        (
            {"video_codec": "hevc", "mode": "constant-bitrate", "bitrate_kbps": 900},
            "0d0e0f-video.mkv",
        ),
        ({"video_codec": "av1", "quality": 30}, "0d0e0f-video.mkv"),
        ({"video_codec": "mjpeg", "video_container": "avi"}, "0d0e0f-video.avi"),
    ],
)
def test_it_is_recorded_raw_and_encoded_afterwards_as_the_settings_say(
    tmp_path: Path, settings: dict[str, Any], name: str
) -> None:
    recording = record(tmp_path, pictures(), **settings)
    assert codec_of(recording / "videos/video" / "0d0e0f-video.mkv") == "rawvideo"
    assert attributes(recording)["encoder"]["codec"] == "raw"
    assert findings(recording) == []

    report = encode_recording(recording)
    assert report.ok
    assert report.encoded == ["videos/video/0d0e0f-video.mkv"]
    files = {path.name for path in (recording / "videos/video").iterdir()}
    assert files == {name, "0d0e0f-video_timestamps.tsync", "manifest.toml", "attributes.toml"}
    assert codec_of(recording / "videos/video" / name) == settings["video_codec"]
    found = attributes(recording)
    assert found["encoder"]["codec"] == settings["video_codec"]
    assert found["deferred_encoding"]["state"] == "done"
    assert found["deferred_encoding"]["recorded_as"] == "raw"
    assert findings(recording) == []
    with mlink.recording.open(recording) as opened:
        assert len(opened.video()) == sum(1 for _ in opened.video()) == 12


@pytest.mark.parametrize(
    ("codec", "shape"),
    [("ffv1", (48, 64, 3)), ("h264", (48, 64, 3)), ("vp9", (48, 64, 3)), ("hevc", (48, 64))],
)
def test_lossless_means_bit_by_bit_what_was_recorded(
    tmp_path: Path, codec: str, shape: tuple[int, ...]
) -> None:
    frames = pictures(shape=shape)
    recording = record(tmp_path, frames, video_codec=codec, lossless=True)
    before = (recording / "videos/video" / "0d0e0f-video_timestamps.tsync").read_bytes()
    assert encode_recording(recording).ok
    assert (recording / "videos/video" / "0d0e0f-video_timestamps.tsync").read_bytes() == before
    if len(shape) == 3:
        with mlink.recording.open(recording) as opened:
            for frame, pixels in zip(opened.video(), frames, strict=True):
                assert np.array_equal(frame.mat, pixels)


def test_each_slice_is_encoded(tmp_path: Path) -> None:
    recording = record(
        tmp_path, pictures(40), video_codec="h264", video_container="mp4", slices_enabled=True,
        slices_interval=0.01,
    )  # fmt: skip
    assert encode_recording(recording, parallel=2).ok
    with mlink.recording.open(recording) as opened:
        assert opened.video().part_names == [
            "0d0e0f-video_1.mp4",
            "0d0e0f-video_2.mp4",
            "0d0e0f-video_3.mp4",
        ]
        assert sum(1 for _ in opened.video()) == 40
    assert findings(recording) == []


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    """So that runs of one seed in virtual time can be compared."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        recording = record(tmp_path / name, pictures(), video_codec="ffv1")
        assert encode_recording(recording).ok
        made.append(next(recording.rglob("*.mkv")).read_bytes())
    assert made[0] == made[1]


def test_16_bits_are_encoded_later_too(tmp_path: Path) -> None:
    sent = pictures(shape=(48, 64), dtype=np.uint16)
    recording = record(tmp_path, sent, video_codec="ffv1")
    assert encode_recording(recording).ok
    with mlink.recording.open(recording) as opened:
        for recorded, pixels in zip(opened.video(), sent, strict=True):
            assert np.array_equal(recorded.mat, pixels)


def test_what_the_codec_will_refuse_is_refused_before_it_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match="av1 cannot store pictures of an odd size"):
        record(tmp_path, pictures(shape=(49, 63, 3)), video_codec="av1")
    assert VideoRecorderSettings(deferred_encode_enabled=True, video_codec="raw").check(tmp_path)


def test_progress_is_reported_for_each_file(tmp_path: Path) -> None:
    recording = record(tmp_path, pictures(60), video_codec="h264")
    reported: list[tuple[str, int, int, bool]] = []
    encode_recording(
        recording, on_progress=lambda p: reported.append((p.label, p.frames, p.total, p.done))
    )
    assert reported[0] == ("videos/video/0d0e0f-video.mkv", 0, 60, False)
    assert ("videos/video/0d0e0f-video.mkv", 50, 60, False) in reported
    assert reported[-1] == ("videos/video/0d0e0f-video.mkv", 60, 60, True)


def kill_encoders() -> None:
    """Kill -9 the processes that encode."""
    for child in psutil.Process().children():
        if "mlink.encoding.file" in child.cmdline():
            child.kill()


def test_a_killed_encoder_leaves_the_original_and_the_next_call_goes_on(tmp_path: Path) -> None:
    recording = record(tmp_path, pictures(100, (120, 160, 3)), video_codec="hevc")
    original = (recording / "videos/video" / "0d0e0f-video.mkv").read_bytes()

    def kill(progress: Progress) -> None:
        if progress.frames > 20:
            kill_encoders()

    report = encode_recording(recording, on_progress=kill)
    assert not report.ok
    assert "killed by signal 9" in report.failed[0]
    assert (recording / "videos/video" / "0d0e0f-video.mkv").read_bytes() == original
    assert attributes(recording)["deferred_encoding"]["state"] == "pending"
    assert repair_recording(recording).failed == []  # removes the draft

    assert encode_recording(recording).ok
    assert codec_of(recording / "videos/video" / "0d0e0f-video.mkv") == "hevc"
    assert findings(recording) == []


def test_the_encoder_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """An encoder that goes on would take away the draft that the next call writes."""
    recording = record(tmp_path, pictures(200, (120, 160, 3)), video_codec="hevc")
    program = (
        "import os, pathlib\n"
        "from mlink.encoding.recording import encode_recording\n"
        "def die(progress):\n"
        "    if progress.frames > 20: os.kill(os.getpid(), 9)\n"
        f"encode_recording(pathlib.Path({str(recording)!r}), on_progress=die)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        encoders: set[psutil.Process] = set()
        while parent.poll() is None:
            with contextlib.suppress(psutil.Error):
                encoders |= set(psutil.Process(parent.pid).children())
    assert encoders
    psutil.wait_procs(encoders, timeout=30)
    assert not any(encoder.is_running() for encoder in encoders)
    assert encode_recording(recording).ok
    assert findings(recording) == []


def test_a_recording_is_encoded_by_one_process_at_a_time(tmp_path: Path) -> None:
    recording = record(tmp_path, pictures(), video_codec="h264")

    def second(progress: Progress) -> None:
        with pytest.raises(StorageError, match=r"another process encodes|still writes to"):
            encode_recording(recording)

    assert encode_recording(recording, on_progress=second).ok


def test_killed_after_the_swap_the_next_call_only_notes_that_it_is_done(tmp_path: Path) -> None:
    recording = record(tmp_path, pictures(), video_codec="h264", video_container="mp4")
    original = (recording / "videos/video" / "0d0e0f-video.mkv").read_bytes()
    ((unit, wanted),) = pending_units(recording)
    (job,) = jobs_of(unit, wanted)
    described = encode_file(job)
    assert (
        recording / "videos/video" / "0d0e0f-video.mkv"
    ).read_bytes() == original  # the manifest names it
    encoding_recording._describe(unit, described)
    replace_original(job)
    (recording / "videos/video" / "0d0e0f-video.mkv").write_bytes(
        original
    )  # as if killed before its removal
    assert attributes(recording)["deferred_encoding"]["state"] == "pending"
    assert encode_recording(recording).encoded == []
    assert attributes(recording)["deferred_encoding"]["state"] == "done"
    assert not (recording / "videos/video" / "0d0e0f-video.mkv").exists()
    assert findings(recording) == []


@pytest.mark.parametrize(
    ("step", "container"),
    [("_describe", "matroska"), ("replace_original", "matroska"), ("replace_original", "mp4"),
     ("_finish", "mp4")],
)  # fmt: skip
def test_interrupted_after_any_step_values_stay_right_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, container: str
) -> None:
    sent = [np.tile(np.roll(np.arange(64) * 16, n), (48, 1)).astype(np.uint16) for n in range(24)]
    folder = record(
        tmp_path, sent, metadata={"framerate": RATE, "bits": 10}, video_codec="h264",
        video_container=container, slices_enabled=True, slices_interval=0.01,
    )  # fmt: skip

    def check() -> None:
        with mlink.recording.open(folder) as opened:
            for recorded, pixels in zip(opened.video(), sent, strict=True):
                top = 255 if recorded.mat.dtype == np.uint8 else 1023
                assert abs(recorded.mat / top - pixels / 1023).mean() < 0.03

    whole = getattr(encoding_recording, step)

    def interrupted(*given: Any) -> None:
        whole(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(encoding_recording, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode_recording(folder, parallel=1)
    check()
    monkeypatch.setattr(encoding_recording, step, whole)
    assert encode_recording(folder).ok
    check()
    about = attributes(folder)
    assert about["deferred_encoding"]["state"] == "done"
    assert about["deferred_encoding"]["recorded_as"] == "ffvhuff"
    assert about["encoder"]["codec"] == "h264"
    assert (about["video"]["pixels"], about["video"]["bits"]) == ("gray8", 8)
    assert findings(folder) == []


def test_an_original_that_was_not_closed_is_repaired_first(tmp_path: Path) -> None:
    recording = record(tmp_path, pictures(60), video_codec="h264")
    video = recording / "videos/video" / "0d0e0f-video.mkv"
    whole = video.read_bytes()
    head = whole.index(b"\x18\x53\x80\x67")
    video.write_bytes(whole[: head + 4] + b"\x01" + b"\xff" * 7 + whole[head + 12 : -50_000])
    report = encode_recording(recording)
    assert not report.ok
    assert "mlink repair" in report.failed[0]
    repair_recording(recording)
    assert encode_recording(recording).ok
    assert findings(recording) == []


def test_a_result_that_lacks_a_frame_does_not_take_the_originals_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = record(tmp_path, pictures(), video_codec="h264")
    original = (recording / "videos/video" / "0d0e0f-video.mkv").read_bytes()
    frames = encoding_file._frames

    def without_the_last(path: Path, kind: str) -> Any:
        found = list(frames(path, kind))
        return found if path.name == "0d0e0f-video.mkv" else found[:-1]

    monkeypatch.setattr(encoding_file, "_frames", without_the_last)
    ((unit, wanted),) = pending_units(recording)
    with pytest.raises(StorageError, match="11 of 12 pictures"):
        encode_file(jobs_of(unit, wanted)[0])
    assert (recording / "videos/video" / "0d0e0f-video.mkv").read_bytes() == original


def test_a_picture_that_is_not_the_recorded_one_is_found_if_nothing_may_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = record(tmp_path, pictures(), video_codec="h264", lossless=True)
    frames = encoding_file._frames

    def with_a_wrong_one(path: Path, kind: str) -> Any:
        found = [pixels.copy() for pixels in frames(path, kind)]
        if path.name != "0d0e0f-video.mkv":
            found[5][0, 0, 0] ^= 1
        return found

    monkeypatch.setattr(encoding_file, "_frames", with_a_wrong_one)
    ((unit, wanted),) = pending_units(recording)
    with pytest.raises(StorageError, match="picture 5 is not what was recorded"):
        encode_file(jobs_of(unit, wanted)[0])
