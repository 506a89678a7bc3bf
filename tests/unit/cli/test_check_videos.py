"""`mlink check` measures what this machine can encode before a run loses frames."""

import json

import pytest
from typer.testing import CliRunner

from mlink.cli import app
from mlink.modules.video import speed
from mlink.modules.video.writer import VideoOptions

BENCH = """
[bench]
name = "two"
[devices]
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
size = [320, 240]
framerate = {rate}
[modules.v]
type = "videorecorder"
video_codec = "{codec}"
inputs = {{ frames-in = "cam.video" }}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    return tmp_path / "cache" / "mlink" / "encoders.json"


def check(tmp_path, monkeypatch, cost, *, rate=60, codec="ffvhuff", arguments=()):
    monkeypatch.setattr(speed, "seconds_per_frame", lambda *_, **__: cost)
    (tmp_path / "bench.toml").write_text(BENCH.format(rate=rate, codec=codec))
    done = CliRunner().invoke(app, ["check", str(tmp_path / "bench.toml"), *arguments])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_it_prints_what_each_video_takes(tmp_path, monkeypatch):
    text = check(tmp_path, monkeypatch, 0.01)
    assert "v: ffvhuff, 320×240 at 60 Hz as 'cam' asks for takes 0.60 of 2 processors" in text
    assert "will be lost" not in text


@pytest.mark.parametrize("codec", ["ffv1", "mjpeg"])
def test_it_warns_of_a_machine_that_is_too_slow(tmp_path, monkeypatch, codec):
    assert "frames will be lost" in check(tmp_path, monkeypatch, 0.03, codec=codec)


def test_in_virtual_time_no_encoder_is_too_slow(tmp_path, monkeypatch):
    assert "processors" not in check(tmp_path, monkeypatch, 9, arguments=("--time", "virtual"))


def test_it_is_measured_once(cache, monkeypatch):
    options = VideoOptions(codec="mjpeg")
    first = speed.seconds_per_frame(options, (64, 48), grey=False)
    assert first > 0
    monkeypatch.setattr(speed, "_measure", lambda *_, **__: pytest.fail("measured again"))
    assert speed.seconds_per_frame(options, (64, 48), grey=False) == first
    assert list(json.loads(cache.read_text()).values()) == [first]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "b", "c": -1}'])
def test_a_damaged_cache_is_replaced(cache, text):
    cache.parent.mkdir(parents=True)
    cache.write_text(text)
    assert speed.seconds_per_frame(VideoOptions(), (64, 48), grey=True) > 0


def test_a_home_that_cannot_be_written_is_no_error(cache):
    cache.parent.parent.write_text("a file")
    assert speed.seconds_per_frame(VideoOptions(), (64, 48), grey=True) > 0
