"""`mlink run` with deferred encoding: raw during the run, encoded when it is over."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import edlio_reader
from tests.support.survival import ffprobe_count

edlio_summary = edlio_reader.edlio_summary

BENCH = """
[bench]
name = "later"
[devices]
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
size = [160, 120]
framerate = 30
[modules.video]
type = "videorecorder"
video_codec = "h264"
deferred_encode_enabled = true
inputs = { frames-in = "cam.video" }
"""


def mlink(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("mlink")), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.edlio
def test_the_run_encodes_at_its_end_and_others_open_it(tmp_path: Path, edlio_summary) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bench.toml").write_text(BENCH)
    done = mlink(tmp_path, "run", "bench.toml", "--for", "1", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "encoding video/video.mkv: done" in done.stdout
    (video,) = tmp_path.rglob("video.mkv")
    attributes = tomllib.loads((video.parent / "attributes.toml").read_text())
    assert attributes["encoder"]["codec"] == "h264"
    found = edlio_summary(video.parents[1])["datasets"]["video"]
    assert found["frames"] == ffprobe_count(video) == attributes["frame_count"] >= 15


def test_without_instant_start_the_run_says_how_to_encode(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    later = "video.deferred_encode_instant_start=false"
    done = mlink(tmp_path, "run", "bench.toml", "--for", "0.5", "--plain", "--set", later)
    assert done.returncode == 0
    (video,) = tmp_path.rglob("video.mkv")
    assert f"mlink encode {video.parents[1].relative_to(tmp_path)}" in done.stdout
    done = mlink(tmp_path, "encode", str(video.parents[1]))
    assert done.returncode == 0, done.stderr
    assert "encoding video/video.mkv: done" in done.stdout
    assert "nothing to encode" in mlink(tmp_path, "encode", str(video.parents[1])).stdout
