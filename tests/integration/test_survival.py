"""Whatever dies, and when: what was recorded up to 2 s before is there and opens.

Each test runs a whole bench in a process group of its own, kills some of it at a random moment,
looks at what is left with other people's readers, then repairs it and looks again. The default
tier does this a few times; `pytest -m long` does it 50 times for each way to die.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest

from mlink.recording.repair import repair_recording
from mlink.recording.verify import verify_recording
from mlink.storage.tsync_reader import read_tsync
from tests.support import edlio_reader
from tests.support.bench_runner import BenchRunner

edlio_summary = edlio_reader.edlio_summary
ROOT = Path(__file__).resolve().parents[2]

BENCH = """
[bench]
name = "survivor"
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "frames", data_type = "Frame" }, { id = "rows", data_type = "TableRow" }]
[modules.video]
type = "videorecorder"
video_codec = "CODEC"
inputs = { frames-in = "source.frames" }
[modules.rows]
type = "table"
inputs = { rows = "source.rows" }
"""

SOURCE = """
import os
import numpy as np
import syntalos_mlink as syl
frames, rows = syl.get_output_port("frames"), syl.get_output_port("rows")

def prepare():
    frames.set_metadata_value("framerate", 50.0)
    rows.set_metadata_value("table_header", ["number", "time_usec"])

def run():
    truth = os.open(os.path.join(os.path.dirname(__file__), "truth"), os.O_WRONLY | os.O_CREAT)
    number = 0
    while syl.is_running():
        frame = syl.Frame()
        frame.mat = np.full((120, 160, 3), number % 256, np.uint8)
        frame.index, frame.time_usec = number, syl.time_since_start_usec()
        frames.submit(frame)
        rows.submit([number, frame.time_usec])
        os.write(truth, f"{frame.time_usec}\\n".encode())
        number += 1
        syl.await_data(20_000)
"""

ENGINE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.support.bench_runner import BenchRunner
runner = BenchRunner(Path(sys.argv[1]))
runner.when_running(0.0, lambda: print("go", flush=True))
runner.run(60.0)
"""


@dataclass
class Victim:
    """A running bench in a process group of its own."""

    folder: Path
    process: subprocess.Popen[bytes]

    def worker(self, module: str) -> int:
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if child.name() == f"ml:{module}"[:15]:
                return int(child.pid)
        raise AssertionError(f"no worker of {module} runs")

    def kill(self, what: str) -> None:
        if what == "engine":
            self.process.kill()
        elif what == "everything":
            everybody = psutil.Process(self.process.pid).children(recursive=True)
            for process in [psutil.Process(self.process.pid), *everybody]:
                process.suspend()  # nobody sees another die
            for process in [psutil.Process(self.process.pid), *everybody]:
                process.kill()
        else:
            os.kill(self.worker(what), signal.SIGKILL)

    def wait_until_quiet(self) -> None:
        """Wait for the engine and for workers that outlived it."""
        self.process.wait(30)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            mine = [
                process
                for process in psutil.process_iter(["name"])
                if process.info["name"].startswith("ml:") and self._writes(process)
            ]
            if not mine:
                return
            time.sleep(0.05)
        raise AssertionError(f"still writing: {mine}")

    def _writes(self, process: psutil.Process) -> bool:
        try:
            return any(file.path.startswith(str(self.folder)) for file in process.open_files())
        except psutil.Error:
            return False

    @property
    def recording(self) -> Path:
        (path,) = {p.parent for p in (self.folder / "rec").rglob("run.log")}
        return path

    @property
    def last_sent_usec(self) -> int:
        text = (self.folder / "truth").read_text()
        return int(text[: text.rfind("\n")].splitlines()[-1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    begun: list[Victim] = []

    def begin(codec: str) -> Victim:
        folder = tmp_path / str(len(begun))
        folder.mkdir()
        BenchRunner(folder).write(BENCH.replace("CODEC", codec), source=SOURCE)
        process = subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(folder), str(ROOT)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        begun.append(Victim(folder, process))
        return begun[-1]

    yield begin
    for victim in begun:
        if victim.process.poll() is None:
            victim.process.kill()
            victim.process.wait(10)
        if victim.process.stdout:
            victim.process.stdout.close()
    BenchRunner(tmp_path)  # the next run of any bench clears what the dead ones left in /dev/shm


def survives(victim: Victim, what: str, alive_s: float, edlio_summary) -> None:
    time.sleep(alive_s)
    victim.kill(what)
    victim.wait_until_quiet()
    recording, last_usec = victim.recording, victim.last_sent_usec
    known_usec = last_usec - 2_000_000

    found = edlio_summary(recording)["datasets"]["video"]
    assert found["strictly_increasing"]
    if what != "video":  # a dead recorder ends the run some time later
        assert found["frames"] == 0 or found["times_usec"][-1] > known_usec
    frame = pd.read_csv(
        io.StringIO(whole_lines(recording / "rows" / "rows.csv")), sep=";"
    )  # fmt: skip
    assert frame["number"].tolist() == list(range(len(frame)))
    if what != "rows":
        assert known_usec < 0 or frame["time_usec"].iloc[-1] > known_usec

    before = verify_recording(recording)
    assert not before.of_level("damage"), before.findings
    report = repair_recording(recording)
    assert report.ok, (report.failed, report.after and report.after.findings)
    times = read_tsync(recording / "video" / "video.tsync").times
    after = edlio_summary(recording)["datasets"]["video"]
    assert after["frames"] == len(times) == found["frames"]
    assert after["sha256"] == found["sha256"]
    if shutil.which("ffprobe") and len(times):
        assert ffprobe_count(recording / "video" / "video.mkv") == len(times)


def whole_lines(path: Path) -> str:
    text = path.read_text()
    return text[: text.rfind("\n") + 1]


def ffprobe_count(path: Path) -> int:
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return int(json.loads(done.stdout)["streams"][0]["nb_read_frames"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.5 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.edlio
@pytest.mark.parametrize("codec", ["ffv1", "h264", "raw"])
def test_a_full_disk_ends_the_run_and_all_that_was_recorded_is_there(
    tmp_path, small_disk, edlio_summary, codec
) -> None:
    runner = BenchRunner(tmp_path)
    noisy = SOURCE.replace(
        "np.full((120, 160, 3), number % 256, np.uint8)",
        "np.random.default_rng(number).integers(0, 256, (120, 160, 3), np.uint8)",
    )
    result = runner.write(BENCH.replace("CODEC", codec), source=noisy).run(30, out_dir=small_disk)
    assert not result.success
    assert "No space left" in result.failures[0].message
    assert "The disk is full" in result.failures[0].remedy
    assert result.recording_dir is not None
    saved = shutil.copytree(result.recording_dir, tmp_path / "saved")  # there is no room to repair
    before = verify_recording(saved)
    assert not before.of_level("damage"), before.findings
    report = repair_recording(saved)
    assert report.ok, (report.failed, report.after and report.after.findings)
    video = edlio_summary(saved)["datasets"]["video"]
    times = read_tsync(saved / "video" / "video.tsync").times
    assert video["frames"] == len(times) > 10


@pytest.mark.edlio
@pytest.mark.parametrize("what", ["video", "rows", "engine", "everything"])
def test_a_run_that_is_killed_at_a_random_moment_is_there(start, edlio_summary, what) -> None:
    codec = random.choice(["ffv1", "h264"])
    survives(start(codec), what, random.uniform(1.0, 3.5), edlio_summary)


@pytest.mark.edlio
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["video", "rows", "engine", "everything"])
def test_fifty_runs_that_are_killed_at_random_moments_are_there(start, edlio_summary, what) -> None:
    for number in range(50):
        codec = ("ffv1", "h264")[number % 2]
        survives(start(codec), what, random.uniform(0.2, 4.5), edlio_summary)
