"""Cameras in whole runs: transformed, recorded, adjusted by a script, lost and found again."""

from __future__ import annotations

import time
import tomllib
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mlink.engine.status import RunResult
from mlink.storage.tsync.reader import read_tsync
from tests.integration.runs.test_run_life import read_table, streams
from tests.support.bench_runner import BenchRunner
from tests.support.cameras.network_cameras import MjpegCamera, RtspCamera

SCENE = """
[bench]
name = "scene"
[modules.camera]
type = "camera-generic"
device = "virtual:scene?seed=3"
size = [320, 240]
framerate = 50
inputs = { control-in = "watch.control" }
[modules.small]
type = "videotransform"
video_transform = [{ type = "scale", scale_factor = 0.5 }, { type = "greyscale" }]
inputs = { frames-in = "camera.video" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = "small.frames-out" }
[modules.window]
type = "canvas"
inputs = { frames-in = "camera.video" }
[modules.watch]
type = "pyscript"
script = "watch.py"
ports_in = [{ id = "frames", data_type = "Frame" }]
ports_out = [{ id = "control", data_type = "ControlCommand" }]
inputs = { frames = "camera.video" }
[modules.changes]
type = "table"
inputs = { rows = "camera.changes" }
"""

WATCH = """
import syntalos_mlink as syl

control = syl.get_output_port("control")
seen = 0

def on_frame(frame):
    global seen
    seen += 1
    if seen == 20:
        command = syl.ControlCommand()
        command.kind = syl.ControlCommandKind.CUSTOM
        command.command = "exposure=5000"
        control.submit(command)

syl.get_input_port("frames").on_data = on_frame
"""


def test_a_scene_is_transformed_recorded_watched_and_adjusted(
    bench: BenchRunner, monkeypatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    result = bench.write(SCENE, watch=WATCH).run(2.0)
    assert result.success, result.failures
    sent = streams(result)
    assert sent["camera.video"] >= 20
    assert all(stream.lost == 0 for stream in result.streams)
    assert result.recording_dir is not None

    (video,) = Path(result.recording_dir).rglob("*.mkv")
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert len(pictures) == sent["camera.video"]
    assert pictures[0].shape == (120, 160)
    (tsync,) = Path(result.recording_dir).rglob("*.tsync")
    assert len(read_tsync(tsync).times) == len(pictures)

    rows = [row for row in read_table(result, "camera-changes") if row]
    change = next(row for row in rows if "exposure" in row)
    assert change[1:] == ["exposure", "5000", "this source has no such control"]
    assert int(change[0]) > 0
    assert "nothing is shown: there is no display" in bench.watcher.log_text()


FOLDER = """
[bench]
name = "folder"
[modules.camera]
type = "camera-generic"
device = "images:frames"
framerate = 100
paced = false
roi = [8, 0, 32, 40]
[modules.video]
type = "videorecorder"
inputs = { frames-in = "camera.video" }
"""


def test_a_folder_of_images_is_a_camera_and_its_end_the_runs(bench: BenchRunner) -> None:
    folder = bench.folder / "frames"
    folder.mkdir()
    for number in range(30):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 8 * number, np.uint8))
    result = bench.write(FOLDER).run(60.0)
    assert result.success, result.failures
    assert result.duration_s < 60
    assert result.recording_dir is not None
    (video,) = Path(result.recording_dir).rglob("*.mkv")
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert [int(picture[0, 0, 0]) for picture in pictures] == [8 * n for n in range(30)]
    assert pictures[0].shape == (40, 32, 3)


def test_a_source_that_ends_before_all_modules_have_started_loses_nothing(
    bench: BenchRunner,
) -> None:
    (bench.folder / "frames").mkdir()
    cv2.imwrite(str(bench.folder / "frames/0.png"), np.zeros((48, 64, 3), np.uint8))
    late = '[modules.late]\ntype = "pyscript"\nscript = "late.py"\ninputs = {i = "camera.video"}\n'
    ports = 'ports_in = [{id = "i", data_type = "Frame"}]\n'
    text = FOLDER.replace("roi = [8, 0, 32, 40]\n", "") + late + ports
    script = "import time\ndef start(): time.sleep(1)\n"
    result = bench.write(text, late=script).run(20.0)
    assert result.success, result.failures
    (stream,) = [each for each in result.streams if each.port == "video"]
    assert [(each.received, each.lost) for each in stream.subscriptions] == [(1, 0), (1, 0)]


NETWORK = """
[bench]
name = "network"
[modules.camera]
type = "camera-generic"
device = "{url}"
on_loss = "{policy}"
[modules.changes]
type = "table"
inputs = {{ rows = "camera.changes" }}
[modules.video]
type = "videorecorder"
inputs = {{ frames-in = "camera.video" }}
"""


def connections(result: RunResult) -> list[list[str]]:
    """Return what the table of changes has of losses and returns."""
    rows = read_table(result, "camera-changes")
    return [row[1:] for row in rows if row and "connection" in row]


def frames_sent(bench: BenchRunner) -> int:
    return sum(each.sent for each in bench.watcher.status.streams if each.name == "camera.video")


def test_a_network_camera_that_was_away_goes_on_in_the_same_run(bench: BenchRunner) -> None:
    with MjpegCamera() as camera:
        bench.write(NETWORK.format(url=camera.url, policy="continue"))

        def pull_the_cable_for_a_while() -> None:
            camera.plugged.clear()
            time.sleep(0.7)
            camera.plugged.set()
            bench.stop_when(lambda: "is back after" in bench.watcher.log_text())

        bench.when_running(0.5, pull_the_cable_for_a_while)
        result = bench.run(None)
    assert result.success, result.failures
    assert connections(result)[:2] == [["connection", "", "lost"], ["connection", "", "open"]]
    assert result.reports["camera"]["outages"] >= 1  # more: the machine stood still, too
    assert "is back after" in bench.watcher.log_text()


def test_an_rtsp_camera_is_recorded_also_when_it_was_away(bench: BenchRunner) -> None:
    with RtspCamera(bench.folder) as camera:
        bench.write(NETWORK.format(url=camera.url, policy="continue"))

        def restart() -> None:
            camera.kill()
            camera.start()
            bench.stop_when(
                lambda: "is back after" in bench.watcher.log_text() and frames_sent(bench) > 80
            )

        bench.when_running(1.0, restart)
        result = bench.run(None)
    assert result.success, result.failures
    assert connections(result)[:2] == [["connection", "", "lost"], ["connection", "", "open"]]
    assert result.reports["camera"]["timestamp_source"] == "arrival"
    assert result.recording_dir is not None
    (tsync,) = Path(result.recording_dir).rglob("*.tsync")
    times = [time_usec for _, time_usec in read_tsync(tsync).times]
    # What was under way when the camera vanished can be a damaged picture, which is a gap.
    damaged = result.reports["camera"].get("damaged", 0)
    assert len(times) + damaged == streams(result)["camera.video"] > 50
    assert max(after - before for before, after in pairwise(times)) > 200_000  # the gap


def test_a_lost_camera_ends_the_run_by_default_and_is_named(bench: BenchRunner) -> None:
    with MjpegCamera() as camera:
        bench.write(NETWORK.format(url=camera.url, policy="stop"))
        bench.when_running(0.5, camera.plugged.clear)
        result = bench.run(60.0)
    assert not result.success
    assert result.failures[0].module == "camera"
    assert "has ended, or nothing came" in result.failures[0].message
    assert 'on_loss = "continue"' in result.failures[0].remedy


@pytest.mark.parametrize("silent_for", [0.7, 4.0])
def test_a_camera_that_is_silent_at_the_stop_fails_no_run_that_continues(
    bench: BenchRunner, silent_for: float
) -> None:
    with MjpegCamera() as camera:
        bench.write(NETWORK.format(url=camera.url, policy="continue"))

        def fall_silent() -> None:
            while not frames_sent(bench):
                time.sleep(0.05)
            camera.frozen.set()
            time.sleep(silent_for)
            bench.stop()

        bench.when_running(1.0, fall_silent)
        result = bench.run(60.0)
    assert result.success, result.failures
    assert result.reports["camera"]["frames"] > 0


def test_the_rate_of_the_bench_counts_and_a_slow_camera_is_no_lost_one(bench: BenchRunner) -> None:
    with MjpegCamera(rate=0.5) as camera:
        text = NETWORK.format(url=camera.url, policy="stop")
        bench.write(text.replace("[modules.camera]", "[modules.camera]\nframerate = 0.5"))
        result = bench.run(7.0)
    assert result.success, result.failures
    assert result.recording_dir is not None
    (attributes,) = Path(result.recording_dir).rglob("videos/*/attributes.toml")
    assert tomllib.loads(attributes.read_text())["video"]["framerate"] == 0.5
    assert result.reports["camera"]["frames"] >= 2
