"""GenICam cameras in whole runs: Aravis' fake camera, triggered by a script, unplugged, checked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from mlink.storage.tsync.reader import read_tsync
from tests.integration.cameras.test_camera_run import connections
from tests.integration.runs.test_run_life import read_table, streams
from tests.support.bench_runner import BenchRunner
from tests.support.cameras.genicam_cameras import FakeGenicam, own_network, why_missing

BENCH = """
[bench]
name = "genicam"
[devices]
eye = "genicam:serial=GV09"
[modules.camera]
type = "camera-generic"
device = "eye"
size = [320, 240]
{settings}
[modules.changes]
type = "table"
inputs = {{ rows = "camera.changes" }}
[modules.video]
type = "videorecorder"
inputs = {{ frames-in = "camera.video" }}
"""

TRIGGER = """
inputs = { control-in = "trigger.control" }
pixel_format = "Mono16"
strict = true
features = { TriggerSource = "Software", TriggerMode = "On", ExposureTimeAbs = 400 }
[modules.trigger]
type = "pyscript"
script = "trigger.py"
ports_in = [{ id = "frames", data_type = "Frame" }]
ports_out = [{ id = "control", data_type = "ControlCommand" }]
inputs = { frames = "camera.video" }
"""

TRIGGER_SCRIPT = """
import syntalos_mlink as syl

control = syl.get_output_port("control")

def send(text):
    command = syl.ControlCommand()
    command.kind = syl.ControlCommandKind.CUSTOM
    command.command = text
    control.submit(command)

def run():
    send("ExposureTimeAbs=700; TriggerActivation[TriggerSelector=FrameStart]=RisingEdge; Width=8")
    syl.wait(3000)  # longer than a free-running camera may be silent
    for _ in range(30):
        send("TriggerSoftware=true")
        syl.wait(100)
    syl.wait(1000)
"""


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    if reason := why_missing():
        pytest.skip(reason)
    with own_network():
        yield


def test_a_script_triggers_each_frame_and_waiting_for_it_is_no_loss(bench: BenchRunner) -> None:
    with FakeGenicam("GV09"):
        bench.write(BENCH.format(settings=TRIGGER), trigger=TRIGGER_SCRIPT)
        result = bench.run(20.0)
    assert result.success, result.failures
    report = result.reports["camera"]
    assert report["trigger"] == "FrameStart Software RisingEdge"
    # A trigger that comes before the last one was served makes no frame of its own.
    assert 3 <= report["frames"] <= 30
    assert report["lost"] == 0
    changes = {row[1]: row[2:] for row in read_table(result, "camera-changes") if row}
    assert changes["ExposureTimeAbs"] == ["700", "700"]
    assert changes["TriggerActivation[TriggerSelector=FrameStart]"] == ["RisingEdge", "RisingEdge"]
    assert changes["TriggerSoftware"] == ["true", "done"]
    assert "keep their size" in changes["Width"][1]


def test_an_unplugged_camera_comes_back_into_the_same_run(bench: BenchRunner) -> None:
    camera = FakeGenicam("GV09")

    def unplug_for_a_while() -> None:
        camera.unplug()
        deadline = time.monotonic() + 120
        while "waiting for it" not in bench.watcher.log_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        camera.plug(seen=False)
        while "is back after" not in bench.watcher.log_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2.0)
        bench.stop()

    with camera:
        settings = 'framerate = 50\non_loss = "continue"'
        bench.write(BENCH.format(settings=settings)).when_running(1.5, unplug_for_a_while)
        result = bench.run(300.0)
    assert result.success, result.failures
    assert connections(result)[:2] == [["connection", "", "lost"], ["connection", "", "open"]]
    report = result.reports["camera"]
    assert report["outages"] == 1
    assert report["timestamp_source"] == "genicam-synchronised"
    assert report["lost"] > 0
    assert result.recording_dir is not None
    (tsync,) = Path(result.recording_dir).rglob("*.tsync")
    times = read_tsync(tsync).times[:, 1]
    assert all(after > before for before, after in pairwise(times))
    (video,) = (stream for stream in result.streams if stream.port == "video")
    assert video.sent == report["frames"] + report["lost"] + report.get("damaged", 0)
    assert streams(result)["camera.video"] == video.sent


def test_a_lost_camera_ends_the_run_as_a_failure_by_default(bench: BenchRunner) -> None:
    camera = FakeGenicam("GV09")
    with camera:
        bench.write(BENCH.format(settings="framerate = 50")).when_running(1.0, camera.unplug)
        result = bench.run(120.0)
    assert not result.success
    assert any(
        "no frame for" in str(failure) or "does not answer" in str(failure)
        for failure in result.failures
    )


def test_devices_shows_the_camera_with_its_modes() -> None:
    with FakeGenicam("GV09"):
        command = [sys.executable, "-m", "mlink", "devices", "--modes", "--json"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    (camera,) = (it for it in found["devices"] if it["address"] == "genicam:serial=GV09")
    assert camera["kind"] == "camera"
    assert "genicam:vendor=Aravis,model=Fake" in camera["identity"]
    modes = found["answers"]["genicam:serial=GV09"]
    assert modes[0].startswith("pixel formats: BayerBG8")
    assert "rates: 0.1 to 1000 fps" in modes
