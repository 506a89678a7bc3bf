"""`mlink run` with deferred encoding: raw during the run, encoded when it is over."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.engine.encode import encode_raw_videos
from mlink.engine.run import RunOptions, run_bench
from tests.support.hil_examples import run_pytest
from tests.support.recorded import edlio_reader
from tests.support.recorded.survival import ffprobe_count

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
        cwd=folder, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip


@pytest.mark.edlio
def test_the_run_encodes_at_its_end_and_others_open_it(tmp_path: Path, edlio_summary) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bench.toml").write_text(BENCH)
    done = mlink(tmp_path, "run", "bench.toml", "--for", "1", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    (video,) = tmp_path.rglob("*.mkv")
    assert f"encoding videos/cam/{video.name}: done" in done.stdout
    attributes = tomllib.loads((video.parent / "attributes.toml").read_text())
    assert attributes["encoder"]["codec"] == "h264"
    found = edlio_summary(video.parents[2])["datasets"]["videos/cam"]
    assert found["frames"] == ffprobe_count(video) == attributes["frame_count"] >= 3


def test_without_instant_start_the_run_prints_how_to_encode(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    later = "video.deferred_encode_instant_start=false"
    done = mlink(tmp_path, "run", "bench.toml", "--for", "0.5", "--plain", "--set", later)
    assert done.returncode == 0
    (video,) = tmp_path.rglob("*.mkv")
    assert f"mlink encode {video.parents[2].relative_to(tmp_path)}" in done.stdout
    done = mlink(tmp_path, "encode", str(video.parents[2]))
    assert done.returncode == 0, done.stderr
    assert f"encoding videos/cam/{video.name}: done" in done.stdout
    assert "nothing to encode" in mlink(tmp_path, "encode", str(video.parents[2])).stdout


class Silent:
    """An observer that ignores what a run reports."""

    def on_status(self, status: object) -> None: ...
    def on_log(self, module: str, level: int, message: str) -> None: ...
    def on_output(self, module: str, text: str) -> None: ...


def encoder_of(video: Path) -> dict[str, object]:
    return tomllib.loads((video.parent / "attributes.toml").read_text())["encoder"]


@pytest.mark.parametrize(("encode", "codec"), [(True, "h264"), (False, "raw")])
def test_a_run_from_python_encodes_too_unless_asked_otherwise(
    tmp_path: Path, encode: bool, codec: str
) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    options = RunOptions(duration_s=0.5, out_dir=tmp_path / "out", encode=encode)
    result = run_bench(load_bench(tmp_path), options, Silent())
    assert result.success
    (video,) = tmp_path.rglob("*.mkv")
    assert encoder_of(video)["codec"] == codec


def test_what_cannot_be_encoded_fails_a_run_from_python(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    options = RunOptions(duration_s=0.5, out_dir=tmp_path / "out", encode=False)
    result = run_bench(load_bench(tmp_path), options, Silent())
    (video,) = tmp_path.rglob("*.mkv")
    video.write_bytes(video.read_bytes()[:2000])
    encode_raw_videos(result)
    assert not result.success
    assert result.failures[0].phase == "encode"
    assert "mlink encode" in result.failures[0].remedy


TEST = """
def test_wait(bench):
    bench.wait(0.3)

def test_complete(recording):
    assert 'codec = "h264"' in (recording.finish() / "videos/cam/attributes.toml").read_text()
"""


@pytest.mark.parametrize("only", ["wait", "complete"])
def test_a_run_of_pytest_encodes_what_it_keeps(tmp_path: Path, only: str) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "test_later.py").write_text(TEST)
    out = tmp_path / "out"
    outcome = run_pytest(tmp_path, "-k", only, "--mlink-record=always", f"--mlink-out={out}")
    assert outcome.counts["passed"] == 1, outcome.text
    (video,) = out.rglob("*.mkv")
    assert encoder_of(video)["codec"] == "h264"


def test_each_run_of_a_campaign_is_encoded(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    done = mlink(tmp_path, "run", "bench.toml", "--for", "0.5", "--repeat", "2", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    videos = list(tmp_path.rglob("*.mkv"))
    assert [encoder_of(video)["codec"] for video in videos] == ["h264", "h264"]
