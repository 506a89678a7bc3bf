"""How runs grow: with modules, with subscribers of a stream, with cameras and boards, with rate.

Nothing may grow faster than its work. So costs are given for one module, subscriber, camera or
board, and compared with the row before; they are processor time, wake-ups and memory, which other
programs on the machine change little.
Run: python -m tests.benchmarks.bench_growth
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

import mlink
from tests.benchmarks.endurance import Load, endure
from tests.benchmarks.table import Table, arguments, growth, publish

MODULES = (10, 30, 100)
SUBSCRIBERS = (1, 2, 4, 8, 16)
DEVICES = (1, 2, 4, 8)
_START_LIMIT_S = 120
_FRAMES_HZ = 50

IDLE = """
import syntalos_mlink as syl

port = syl.get_input_port("in")
if port:
    port.on_data = lambda item: None
"""

FRAMES = f"""
import numpy as np
import syntalos_mlink as syl

out = syl.get_output_port("out")

def prepare():
    out.set_metadata_value("framerate", {_FRAMES_HZ}.0)
    out.set_metadata_value("size", [640, 480])

def run():
    pixels, due = np.zeros((480, 640, 3), np.uint8), syl.time_since_start_usec()
    frame = syl.Frame()
    while syl.is_running():
        due += {1_000_000 // _FRAMES_HZ}
        syl.await_data(max(1, due - syl.time_since_start_usec()))
        frame.mat, frame.time_usec = pixels, syl.time_since_start_usec()
        out.submit(frame)
"""

BURSTS = """
import syntalos_mlink as syl

out = syl.get_output_port("out")
RATE = {rate}

def run():
    sent, reading = 0, syl.LineReading()
    begin = syl.time_since_start_usec()
    while syl.is_running():
        now = syl.time_since_start_usec()
        due = (now - begin) * RATE // 1_000_000
        while sent < due:
            reading.value, reading.time_usec = sent % 1000, now
            out.submit(reading)
            sent += 1
        syl.await_data(1000)
"""


def write_bench(folder: Path, source: str, data_type: str, subscribers: int) -> Path:
    """Write a bench of one source and so many scripts that take what it sends."""
    (folder / "source.py").write_text(source)
    (folder / "idle.py").write_text(IDLE)
    lines = ['[bench]\nname = "growth"', "[modules.source]", 'type = "pyscript"']
    lines += ['script = "source.py"', f'ports_out = [{{ id = "out", data_type = "{data_type}" }}]']
    for number in range(subscribers):
        lines += [f"[modules.idle{number}]", 'type = "pyscript"', 'script = "idle.py"']
        lines += [f'ports_in = [{{ id = "in", data_type = "{data_type}" }}]']
        lines += ['inputs = { in = "source.out" }']
    path = folder / "bench.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass
class Cost:
    """What a run used."""

    start_s: float
    """Processor time of all processes until the modules run."""
    cpu_s: float
    """Processor time for each second of the run."""
    wakeups: float
    """Voluntary context switches for each second of the run."""
    memory_mb: float
    """Of all processes, a shared page counted once."""
    source_s: float
    """Processor time of the first worker for each second of the run."""


def run_for(bench: Path, seconds: float) -> Cost:
    """Run a bench in a process of its own, and look at its processes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlink", "run", str(bench), "--no-record", "--plain"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=bench.parent,
    )  # fmt: skip
    running, lines = threading.Event(), []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if re.search(r"\s+running\s", line):
                running.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        if not running.wait(_START_LIMIT_S):
            raise RuntimeError(f"it does not run after {_START_LIMIT_S} s:\n{''.join(lines)}")
        engine = psutil.Process(process.pid)
        processes = [engine, *engine.children(recursive=True)]
        before = _used(processes)
        began = time.monotonic()
        time.sleep(seconds)
        after, elapsed = _used(processes), time.monotonic() - began
        memory = sum(each.memory_full_info().pss for each in processes) / 1e6
        return Cost(
            start_s=sum(cpu for cpu, _ in before),
            cpu_s=sum(b[0] - a[0] for a, b in zip(before, after, strict=True)) / elapsed,
            wakeups=sum(b[1] - a[1] for a, b in zip(before, after, strict=True)) / elapsed,
            memory_mb=memory,
            source_s=(after[2][0] - before[2][0]) / elapsed,
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        reader.join(5)


def _used(processes: Sequence[psutil.Process]) -> list[tuple[float, int]]:
    found = []
    for each in processes:
        cpu = each.cpu_times()
        found.append((cpu.user + cpu.system, each.num_ctx_switches().voluntary))
    return found


def of_modules(seconds: float) -> Table:
    """Idle scripts: start, processor time, memory."""
    columns = ["start CPU s", "idle CPU ‰", "wake-ups/s", "memory MB"]
    table = Table("(g) idle modules, each in its process", [*columns, "start CPU ms each"])
    last = None
    for count in MODULES:
        with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
            bench = write_bench(Path(folder), IDLE, "LineReading", count - 1)
            cost = run_for(bench, seconds)
        each = cost.start_s / count
        table.add(
            f"{count}",
            f"{cost.start_s:.2f}", f"{1000 * cost.cpu_s:.1f}", f"{cost.wakeups:.0f}",
            f"{cost.memory_mb:.0f}", f"{1000 * each:.1f}",
            **growth(each, last, "each"),
            start_s=cost.start_s, cpu_s=cost.cpu_s, wakeups=cost.wakeups, memory_mb=cost.memory_mb,
        )  # fmt: skip
        last = each
    return table


def of_subscribers(seconds: float) -> Table:
    """One stream of frames, more and more subscribers."""
    columns = ["sender CPU µs/frame", "all CPU %", "memory MB", "sender µs/frame each"]
    table = Table(f"(s) subscribers of one stream, 640×480 at {_FRAMES_HZ} Hz", columns)
    last = None
    for count in SUBSCRIBERS:
        with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
            cost = run_for(write_bench(Path(folder), FRAMES, "Frame", count), seconds)
        frame_usec = 1e6 * cost.source_s / _FRAMES_HZ
        each = frame_usec / count
        table.add(
            f"{count}",
            f"{frame_usec:.0f}", f"{100 * cost.cpu_s:.0f}", f"{cost.memory_mb:.0f}", f"{each:.0f}",
            **growth(each, last, "each"),
            frame_usec=frame_usec, cpu_s=cost.cpu_s, memory_mb=cost.memory_mb,
        )  # fmt: skip
        last = each
    return table


def of_devices(seconds: float) -> Table:
    """Cameras with their recorders, and boards with their simulated fingers."""
    table = Table(
        "(d) cameras (640×480, 10 Hz, recorded) and boards (protocol simulator), so many of each",
        ["CPU %", "memory MB", "lost", "CPU % each"],
    )
    last = None
    for count in DEVICES:
        with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
            load = Load(count, 10, count, "mjpeg", simulator="protocol")
            found = endure(load, seconds, Path(folder), sample_s=0.5, report=lambda _: None)
        each = 100 * found.cpu_cores / count
        table.add(
            f"{count}",
            f"{100 * found.cpu_cores:.0f}", f"{found.memory_mb:.0f}", f"{found.lost}",
            f"{each:.0f}", **growth(each, last, "each"),
            cpu_cores=found.cpu_cores, memory_mb=found.memory_mb, lost=found.lost,
        )  # fmt: skip
        last = each
    return table


def of_rates(seconds: float) -> Table:
    """Double the rate of a stream of readings until the first loss, or the sender cannot more."""
    table = Table(
        "(r) readings per second, to one script, until the first loss",
        ["wanted/s", "sent/s", "lost"],
    )
    rate = 8000
    while rate <= 1_024_000:
        with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
            bench = write_bench(Path(folder), BURSTS.format(rate=rate), "LineReading", 1)
            result = mlink.run(bench, duration_s=seconds, record=False, check=False)
        (stream,) = result.streams
        sent = stream.sent / max(0.001, result.duration_s)
        table.add(f"{rate}", f"{rate}", f"{sent:.0f}", f"{stream.lost}", sent_hz=sent)
        if stream.lost or sent < rate / 2:
            break
        rate *= 2
    return table


PARTS = {
    "modules": of_modules,
    "subscribers": of_subscribers,
    "devices": of_devices,
    "rates": of_rates,
}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "", seconds=5.0, rounds=1)
    parser.add_argument("only", nargs="*", help=f"parts to measure: {', '.join(PARTS)}")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", flush=True)
    names = [name for name in PARTS if name in (options.only or PARTS)]
    publish([PARTS[name](options.seconds) for name in names], options.json)


if __name__ == "__main__":
    main()
