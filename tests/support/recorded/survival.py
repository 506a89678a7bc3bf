"""A bench that is to be killed, and looking at what is left of its recording with others' readers.

What must be there is known from the recorders' own counts: the engine's process prints them with
each status, so that a busy machine, on which a recorder gets things late, changes nothing.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.storage.tsync.reader import read_tsync
from tests.support import ROOT
from tests.support.bench_runner import BenchRunner

EdlioSummary = Callable[[Path], dict[str, Any]]
PROMISED_USEC = 2_000_000
"""What was recorded up to this long before the end is there."""

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
        os.write(truth, f"{frame.time_usec}\\n".encode())
        frames.submit(frame)
        rows.submit([number, frame.time_usec])
        number += 1
        syl.await_data(20_000)
"""
NOISY_SOURCE = SOURCE.replace(
    "np.full((120, 160, 3), number % 256, np.uint8)",
    "np.random.default_rng(number).integers(0, 256, (120, 160, 3), np.uint8)",
)

_VIDEO = "videos/source"
"""The dataset of the video."""

_ENGINE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from mlink.engine.status import Phase
from tests.support.bench_runner import BenchRunner, Watcher

class Teller(Watcher):
    def on_status(self, status):
        super().on_status(status)
        if status.phase is not Phase.RUN:
            return
        subscriptions = [sub for stream in status.streams for sub in stream.subscriptions]
        got = {sub.module: sub.received for sub in subscriptions}
        with (Path(sys.argv[1]) / "got").open("a") as file:
            file.write(f"{got.get('video', 0)} {got.get('rows', 0)}\\n")

runner = BenchRunner(Path(sys.argv[1]), Teller())
runner.when_running(0.0, lambda: print("go", flush=True))
result = runner.run(60.0, out_dir=Path(sys.argv[3]), journal=sys.argv[4] == "journal")
print(result.success, [f"{f.message} {f.remedy}" for f in result.failures], flush=True)
"""


@dataclass
class Victim:
    """A running bench in a process group of its own."""

    folder: Path
    process: subprocess.Popen[str]
    out_dir: Path

    @classmethod
    def begin(
        cls,
        folder: Path,
        codec: str,
        *,
        source: str = SOURCE,
        out_dir: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Victim:
        """Start the bench of these tests and wait until it runs."""
        folder.mkdir()
        BenchRunner(folder).write(BENCH.replace("CODEC", codec), source=source)
        return cls.begin_bench(folder, out_dir=out_dir, environment=environment)

    @classmethod
    def begin_bench(
        cls,
        folder: Path,
        *,
        out_dir: Path | None = None,
        environment: dict[str, str] | None = None,
        journal: bool = False,
    ) -> Victim:
        """Start the bench that lies in a folder, and wait until it runs."""
        out = out_dir or folder / "rec"
        process = subprocess.Popen(
            [sys.executable, "-c", _ENGINE, str(folder), str(ROOT), str(out),
             "journal" if journal else ""],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True,
            env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        return cls(folder, process, out)

    def worker(self, module: str) -> int:
        """Return the process of a module."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if child.name() == f"ml:{module}"[:15]:
                return int(child.pid)
        raise AssertionError(f"no worker of {module} runs")

    def kill(self, what: str) -> None:
        """Kill -9 the engine, everything at once, or the worker of a module."""
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
        self.process.wait(60)
        deadline = time.monotonic() + 60
        while mine := [p for p in psutil.process_iter(["name"]) if self._writes(p)]:
            assert time.monotonic() < deadline, f"still writing: {mine}"
            time.sleep(0.05)

    def outcome(self) -> tuple[bool, str]:
        """Wait for the run's own end; return whether it succeeded, and its failures."""
        assert self.process.stdout is not None
        self.process.wait(90)
        success, _, failures = self.process.stdout.read().partition(" ")
        return success == "True", failures

    def end(self) -> None:
        """Remove what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()

    def _writes(self, process: psutil.Process) -> bool:
        if not process.info["name"].startswith("ml:"):
            return False
        folders = (str(self.folder), str(self.out_dir))
        try:
            return any(file.path.startswith(folders) for file in process.open_files())
        except psutil.Error:
            return False

    @property
    def recording(self) -> Path:
        """The folder of the recording."""
        (path,) = {p.parent for p in self.out_dir.rglob("run.log")}
        return path

    def promised_usec(self, number: int) -> int:
        """Return the time up to which data must be there, of recorder 0 (video) or 1 (rows).

        That is 2 s before the last item that the engine knows the recorder to have had by now.
        """
        lines = (self.folder / "got").read_text().splitlines()
        received = int(lines[-1].split()[number]) if lines else 0
        times = (self.folder / "truth").read_text().splitlines()
        return int(times[received - 1]) - PROMISED_USEC if received else -1


@dataclass
class Promise:
    """Until when there must be pictures and rows; µs of the master timer."""

    video_usec: int
    rows_usec: int

    @classmethod
    def now(cls, victim: Victim) -> Promise:
        """Return what must be there of what was recorded until now."""
        return cls(victim.promised_usec(0), victim.promised_usec(1))


def check_what_is_left(
    recording: Path, promise: Promise, edlio_summary: EdlioSummary, *, torn: bool = False
) -> None:
    """Look with edlio, pandas, ffprobe and verify; repair; look again.

    `torn` means that the disk was pulled: then what is behind the promise may be damaged.
    """
    if promise.video_usec > 0 or list((recording / _VIDEO).glob("*.mkv")):
        found = edlio_summary(recording)["datasets"].get(_VIDEO, {})
        times = found.get("times_usec", [])
        assert found.get("strictly_increasing", not times)
        assert promise.video_usec < 0 or times[-1] > promise.video_usec
    else:
        found = {}
    rows = recording / "source" / "table.csv"
    if promise.rows_usec > 0 or rows.exists():
        frame = pd.read_csv(io.StringIO(_whole_lines(rows)), sep=";")
        assert frame["number"].tolist() == list(range(len(frame)))
        assert promise.rows_usec < 0 or frame["time_usec"].iloc[-1] > promise.rows_usec

    before = verify_recording(recording)
    assert torn or not before.of_level("damage"), before.findings
    report = repair_recording(recording)
    assert report.ok, (report.failed, report.after and report.after.findings)
    after = edlio_summary(recording)["datasets"].get(_VIDEO, {})
    assert after.get("frames", 0) == found.get("frames", 0)
    assert after.get("sha256") == found.get("sha256") or not found.get("frames")
    if frames := after.get("frames", 0):
        (video,) = (recording / _VIDEO).glob("*.mkv")
        times = read_tsync(video.with_name(f"{video.stem}_timestamps.tsync")).times
        assert ffprobe_count(video) == len(times) == frames


def ffprobe_count(path: Path) -> int:
    """Return how many frames ffprobe decodes, without a complaint."""
    assert shutil.which("ffprobe"), "apt-get install ffmpeg"
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert done.stderr == ""
    return int(json.loads(done.stdout)["streams"][0]["nb_read_frames"])


def _whole_lines(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1]
