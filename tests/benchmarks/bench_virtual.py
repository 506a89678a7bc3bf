"""Speed of virtual time on one processor, and what a run costs before its first turn.

Processor time of all processes of a run, so that a busy machine changes it little: a long run less
a short one, per virtual second. The rest is the start and the end. The floor is the encoder alone:
the pictures of the run, encoded again by the recorder's writer.
Run: python -m tests.benchmarks.bench_virtual [--seconds 10] [--rounds 3]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

from mlink.modules.video.writer import VideoOptions, VideoWriter
from tests.benchmarks.bench_hil import BENCHES, SCENE
from tests.benchmarks.table import Table, arguments, median, publish

SHORT_SEC = 1.0
LIMIT_SEC = 600
CHIPLESS = """
[devices]
eye = "virtual:scene"

[modules.cam]
type = "camera-generic"
device = "eye"
size = [320, 240]
framerate = 30

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "frames-in", data_type = "Frame" }]
ports_out = [{ id = "table-out", data_type = "TableRow" }]
inputs = { frames-in = "cam.video" }

[modules.video]
type = "videorecorder"
inputs = { frames-in = "cam.video" }

[modules.events]
type = "table"
inputs = { rows = "loop.table-out" }
"""
LOOP = """
import syntalos_mlink as syl

frames = syl.get_input_port("frames-in")
table = syl.get_output_port("table-out")

def prepare():
    frames.on_data = on_frame
    table.set_metadata_value("table_header", ["time_usec", "index", "brightness"])

def on_frame(frame):
    if frame is not None:
        table.submit([frame.time_usec, frame.index, int(frame.mat[:40, :40].mean())])
"""


def run(bench: Path, seconds: float, folder: Path) -> float:
    """Run a bench in virtual time on one processor; return the processor time of its processes."""
    processor = min(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "mlink", "run", str(bench), "--time", "virtual", "--seed", "1"]
    command += ["--for", str(seconds), "--plain", "--order", "", "--out", str(folder)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        preexec_fn=lambda: os.sched_setaffinity(0, {processor}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_SEC,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{bench} did not run:\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def encode_again(video: Path, folder: Path) -> float:
    """Return the processor time that the encoder alone takes for a recorded video."""
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate)
    options = VideoOptions(threads=2)
    began = time.process_time()
    with VideoWriter(
        folder / "again.mkv", folder / "again.tsync", pictures[0], options,
        framerate=rate, collection_id=bytes(16), generator="benchmark",
    ) as writer:  # fmt: skip
        for number, picture in enumerate(pictures):
            writer.write(picture, round(number * 1e6 / rate))
    return time.process_time() - began


def measure(bench: Path, seconds: float, rounds: int) -> tuple[float, float, float]:
    """Return s per virtual second of the run and of the encoder, and s of start and end."""
    per_second, encoder, rest = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="mlbench") as name:
            folder = Path(name)
            (folder / "short").mkdir()
            (folder / "long").mkdir()
            short = run(bench, SHORT_SEC, folder / "short")
            long = run(bench, SHORT_SEC + seconds, folder / "long")
            (video,) = (folder / "long").rglob("*.mkv")
            encoder.append(encode_again(video, folder) / (SHORT_SEC + seconds))
        per_second.append((long - short) / seconds)
        rest.append(short - SHORT_SEC * per_second[-1])
    return median(per_second), median(encoder), median(rest)


def table(seconds: float, rounds: int) -> Table:
    """Measure the benches that have a target, and two chips with a scene."""
    found = Table(
        f"Virtual time on one processor, {seconds:g} virtual s, median of {rounds}",
        ["× real time", "s per virtual s", "of it encoder", "start and end s"],
    )
    with tempfile.TemporaryDirectory(prefix="mlbench") as name:
        folder = Path(name)
        (folder / "chipless").mkdir()
        (folder / "chipless" / "bench.toml").write_text(CHIPLESS)
        (folder / "chipless" / "loop.py").write_text(LOOP)
        (folder / "two").mkdir()
        (folder / "two" / "bench.toml").write_text(SCENE)
        for title, bench, target in (
            ("demo bench (640×480, 30 Hz)", BENCHES / "led-follows-button", 2.0),
            ("scene, script, recorder (320×240, 30 Hz)", folder / "chipless", 10.0),
            ("two chips, one scene (640×480, 60 Hz)", folder / "two", None),
        ):
            per_second, encoder, rest = measure(bench, seconds, rounds)
            speed = 1 / per_second
            found.add(
                title, f"{speed:.1f}", f"{per_second:.3f}", f"{encoder:.3f}", f"{rest:.1f}",
                target="" if target is None else f"≥ {target:g} ×",
                ok=None if target is None else speed >= target,
                speed=speed, cpu_sec=per_second, encoder_sec=encoder, start_sec=rest,
            )  # fmt: skip
    found.notes.append("processor time; the encoder (FFV1, the recorder's default) is a floor")
    return found


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", seconds=10, rounds=3).parse_args()
    publish([table(options.seconds, options.rounds)], options.json)


if __name__ == "__main__":
    main()
