"""A whole run: 1920×1080 colour at 30 Hz, recorded without loss by default, beside a script.

A script sends pictures with a sensor's noise (from a small store, so that making them costs
nothing), another one looks at each of them, and the `videorecorder` has its default settings. The
process and its children are kept on two processors. Judged: no frame is lost, and `mlink verify`
finds the recording complete. Needs a machine without other work.
Run: python -m tests.benchmarks.bench_lossless [--seconds 60]
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import mlink
from mlink.recording.care.verify import verify_recording
from tests.benchmarks.bench_recording import cpu_s
from tests.benchmarks.table import Table, arguments, publish

PROCESSORS = 2
BENCH = """
[bench]
name = "lossless"
[modules.eye]
type = "pyscript"
script = "eye.py"
ports_out = [{ id = "video", data_type = "Frame" }]
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "video", data_type = "Frame" }]
inputs = { video = "eye.video" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = "eye.video" }
"""
EYE = """
import numpy as np
import syntalos_mlink as syl

out = syl.get_output_port("video")
rng = np.random.default_rng(0)
y, x = np.mgrid[0:1080, 0:1920]
scene = np.stack([(x // 8) % 256, (y // 5) % 256, ((x + y) // 13) % 256], axis=2)
noise = rng.normal(0, 2.5, scene.shape)
pictures = [
    np.clip(np.roll(scene, 40 * at, axis=1) + np.roll(noise, at, axis=0), 0, 255).astype(np.uint8)
    for at in range(6)
]


def prepare():
    out.set_metadata_value("framerate", 30.0)
    return True


def run():
    number = 0
    while syl.is_running():
        due_usec = number * 1_000_000 // 30
        syl.wait(max(0, due_usec - syl.time_since_start_usec()) // 1000)
        frame = syl.Frame()
        frame.mat, frame.index = pictures[number % 6], number
        frame.time_usec = syl.time_since_start_usec()
        out.submit(frame)
        number += 1
"""
LOOP = """
import syntalos_mlink as syl

video = syl.get_input_port("video")


def look(frame):
    brightness = frame.mat[::4, ::4].mean()


def prepare():
    video.on_data = look
    return True
"""


def main() -> None:
    """Run, count and print."""
    parser: Any = arguments(__doc__ or "", seconds=60.0, rounds=1)
    options = parser.parse_args()
    chosen = sorted(os.sched_getaffinity(0))[:PROCESSORS]
    os.sched_setaffinity(0, chosen)
    table = Table(
        f"(l) 1920×1080 colour at 30 Hz, recorded losslessly beside a script, "
        f"{len(chosen)} processors, {options.seconds:g} s",
        ["frames", "lost", "processors", "MB/s"],
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("bench.toml", BENCH), ("eye.py", EYE), ("loop.py", LOOP)):
            (folder / file).write_text(text)
        before = cpu_s()
        result = mlink.run(folder, duration_s=options.seconds, out=folder / "out", check=False)
        used = (cpu_s() - before) / result.duration_s
        assert result.recording_dir is not None, result.failures
        size = sum(file.stat().st_size for file in result.recording_dir.rglob("*.mkv"))
        complete = verify_recording(result.recording_dir).ok
        (stream,) = (
            each for each in result.streams if (each.module, each.port) == ("eye", "video")
        )
        for each in stream.subscriptions:
            right = each.lost == 0 and complete and result.success
            table.add(
                each.module,
                f"{each.received} of {stream.sent}",
                str(each.lost),
                f"{used:.2f}",
                f"{size / result.duration_s / 1e6:.0f}" if each.module == "video" else "",
                target="0 lost, verified",
                ok=right and stream.sent >= 29 * options.seconds,
                lost=each.lost,
            )
    publish([table], options.json)


if __name__ == "__main__":
    main()
