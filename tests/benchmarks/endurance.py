"""A long run with cameras, boards, a script and every recorder: what was lost, how memory grew.

Used by `bench_marathon` (minutes) and `soak` (`make soak`, an hour). Memory is the proportional set
size (PSS) of all the run's processes, which counts a shared page once; what is in /dev/shm, the
frames in flight, is reported apart: it grows to what the longest queue needed, bounded by the plan,
and stays. "Growth" is from the median of the second tenth of the run to that of its last tenth, so
that neither the start nor one odd sample counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import Phase, RunResult, RunStatus
from mlink.recording.care.verify import VerifyReport, verify_recording

_ALL_KEY_FRAMES = ("mjpeg", "ffv1", "raw")
_CUE_BYTES = 40
_COMPARED_SHARE = 0.8
"""Of a run, from the middle of its second tenth to that of its last."""

HEAD = """
[bench]
name = "endurance"
[devices]
{devices}

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ports_in}]
ports_out = [{ports_out}
  {{ id = "table-out", data_type = "TableRow" }},
  {{ id = "signals", data_type = "SignalBlockF32" }}]
inputs = {{ {inputs} }}

[modules.events]
type = "table"
inputs = {{ rows = "loop.table-out" }}
[modules.signals-json]
type = "jsonwriter"
use_name_from_source = false
data_name = "signals-json"
inputs = {{ f32sig-in = "loop.signals" }}
[modules.signals-zarr]
type = "zarrwriter"
use_name_from_source = false
data_name = "signals-zarr"
inputs = {{ f32sig-in = "loop.signals" }}
"""

CAMERA = """
[modules.cam{n}]
type = "camera-generic"
device = "eye{n}"
size = [640, 480]
framerate = {rate}
[modules.video{n}]
type = "videorecorder"
video_codec = "{codec}"
threads = 1
slices_enabled = {slices}
slices_interval = {minutes}
inputs = {{ frames-in = "cam{n}.video" }}
"""

BOARD = """
[modules.board{n}]
type = "firmata-io"
device = "uno{n}"
inputs = {{ fmctl = "loop.commands{n}" }}
[modules.finger{n}]
type = "virtual-button"
device = "uno{n}"
line = 7
answer_line = 8
presses_hz = 5
[modules.latencies{n}]
type = "table"
inputs = {{ rows = "finger{n}.latencies" }}
"""

LOOP = """
import numpy as np
import syntalos_mlink as syl

BOARDS = range({boards})
table, signals = syl.get_output_port("table-out"), syl.get_output_port("signals")
commands = [syl.get_output_port(f"commands{{n}}") for n in BOARDS]
buttons = [syl.HwInputLine(commands[n], 7, pullup=True) for n in BOARDS]
leds = [syl.HwOutputLine(commands[n], 8) for n in BOARDS]
frames = 0


def prepare():
    table.set_metadata_value("table_header", ["time_usec", "board", "value", "frames"])
    table.set_metadata_value("data_name_proposal", "events/table")
    signals.set_metadata_value("time_unit", "microseconds")
    signals.set_metadata_value("signal_names", ["a", "b", "c", "d"])
    signals.set_metadata_value("sample_rate", 1000.0)
    for n in BOARDS:
        syl.get_input_port(f"readings{{n}}").on_data = lambda reading, n=n: on_reading(n, reading)
    syl.get_input_port("frames").on_data = on_frame


def start():
    for n in BOARDS:
        buttons[n].send_mode()
        leds[n].send_mode()


def on_reading(board, reading):
    if reading.line_id == 7:
        leds[board].set_value(1 - reading.value)
        table.submit([reading.time_usec, board, reading.value, frames])


def on_frame(frame):
    global frames
    frames += 1


def run():
    sample = 0
    while syl.is_running():
        syl.await_data(20_000)
        until = syl.time_since_start_usec() // 1000
        if until - sample >= 100:  # 1 kHz, in blocks of what came since
            block = syl.SignalBlockF32()
            block.timestamps = np.arange(sample, until) * 1000
            phases = np.arange(sample, until)[:, None] / np.array([[10, 30, 100, 300]])
            block.data = np.sin(phases)
            signals.submit(block)
            sample = until
"""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is to run at once."""

    cameras: int
    rate: int
    boards: int
    codec: str
    slice_min: float = 0.0
    """Length of a video file in minutes; 0 makes one of each video."""
    simulator: str = "yasimavr"
    """Of the boards; one on yasimavr takes near half a processor, "protocol" next to nothing."""

    def __str__(self) -> str:
        return (
            f"{self.cameras} cameras of 640×480 at {self.rate} Hz to {self.codec}, "
            f"{self.boards} boards ({self.simulator}), 1 script, CSV, JSON and Zarr"
        )

    def write(self, folder: Path) -> Path:
        """Write the bench and its script; return the bench's path."""
        boards, cameras = range(self.boards), range(self.cameras)
        devices = [f'uno{n} = "virtual:uno?simulator={self.simulator}"' for n in boards]
        devices += [f'eye{n} = "virtual:scene?seed={n}"' for n in cameras]
        ports_in = [f'{{ id = "readings{n}", data_type = "LineReading" }}, ' for n in boards]
        ports_out = [f'{{ id = "commands{n}", data_type = "LineCommand" }}, ' for n in boards]
        inputs = [f'readings{n} = "board{n}.fmdata"' for n in boards]
        text = HEAD.format(
            devices="\n".join(devices),
            ports_in="".join(ports_in) + '{ id = "frames", data_type = "Frame" }',
            ports_out="".join(ports_out),
            inputs=", ".join([*inputs, 'frames = "cam0.video"']),
        )
        text += "".join(BOARD.format(n=n) for n in boards)
        for n in cameras:
            text += CAMERA.format(
                n=n,
                rate=self.rate,
                codec=self.codec,
                slices=str(self.slice_min > 0).lower(),
                minutes=self.slice_min or 5.0,
            )
        (folder / "bench.toml").write_text(text)
        (folder / "loop.py").write_text(LOOP.format(boards=self.boards))
        return folder / "bench.toml"


@dataclass(slots=True)
class Sample:
    """The run at one moment."""

    elapsed_s: float
    memory_mb: float
    by_process: dict[str, float]
    shm_mb: float
    cpu_s: float
    lost: int
    queued: int

    def __str__(self) -> str:
        return (
            f"{self.elapsed_s:6.0f} s: memory {self.memory_mb:.1f} MB, frames in flight "
            f"{self.shm_mb:.0f} MB, lost {self.lost}, longest queue {self.queued}"
        )


@dataclass(slots=True)
class Endured:
    """What a run showed."""

    load: Load
    result: RunResult
    verified: VerifyReport
    samples: list[Sample]
    warnings: list[str]

    @property
    def lost(self) -> int:
        """Items that a subscriber did not get, and frames that a camera did not."""
        cameras = sum(
            int(figures.get(key, 0))
            for name, figures in self.result.reports.items()
            if name.startswith("cam")
            for key in ("lost", "unsent", "disordered", "damaged")
        )
        return cameras + sum(stream.lost for stream in self.result.streams)

    @property
    def growth_mb(self) -> float:
        """Memory at the end less that soon after the start."""
        return self._growth([sample.memory_mb for sample in self.samples])

    @property
    def index_mb(self) -> float:
        """What the indexes of open videos took of that: they are written when a file is closed.

        libavformat keeps 40 bytes (`mkv_cuepoint`) for each key frame of a Matroska file; here
        each frame is one. Files that are cut by time (slices) begin anew, and grow to a bound.
        """
        if self.load.slice_min or self.load.codec not in _ALL_KEY_FRAMES:
            return 0.0
        written = sum(
            int(report.get("frames_written", 0)) for report in self.result.reports.values()
        )
        return written * _CUE_BYTES * _COMPARED_SHARE / 1e6

    @property
    def growers(self) -> list[tuple[str, float]]:
        """Growth of each process in MB, the largest first."""
        names = self.samples[-1].by_process if self.samples else {}
        found = [
            (name, self._growth([sample.by_process.get(name, 0.0) for sample in self.samples]))
            for name in names
        ]
        return sorted(found, key=lambda item: -item[1])

    @property
    def memory_mb(self) -> float:
        """Memory of all processes, median."""
        return statistics.median([sample.memory_mb for sample in self.samples] or [0.0])

    @property
    def cpu_cores(self) -> float:
        """Processors in use over the run."""
        if not self.samples:
            return 0.0
        first, last = self.samples[0], self.samples[-1]
        return (last.cpu_s - first.cpu_s) / max(0.001, last.elapsed_s - first.elapsed_s)

    def _growth(self, values: list[float]) -> float:
        tenth = max(1, len(values) // 10)
        if len(values) < 3 * tenth:
            return 0.0
        return statistics.median(values[-tenth:]) - statistics.median(values[tenth : 2 * tenth])


@dataclass
class _Watch:
    """The run's observer: takes the samples."""

    sample_s: float
    report: Callable[[Sample], None]
    samples: list[Sample] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    next_s: float = 0.0
    engine: Engine | None = None

    def on_status(self, status: RunStatus) -> None:
        if status.phase is not Phase.RUN or status.elapsed_s < self.next_s:
            return
        self.next_s = status.elapsed_s + self.sample_s
        memory, cpu_s = _processes()
        work_dir = self.engine.work_dir if self.engine else None
        subscriptions = [sub for stream in status.streams for sub in stream.subscriptions]
        self.samples.append(
            Sample(
                elapsed_s=status.elapsed_s,
                memory_mb=sum(memory.values()),
                by_process=memory,
                shm_mb=_shared_mb(f"mlink{work_dir.name}") if work_dir else 0.0,
                cpu_s=cpu_s,
                lost=sum(sub.lost for sub in subscriptions),
                queued=max((sub.queued for sub in subscriptions), default=0),
            )
        )
        self.report(self.samples[-1])

    def on_log(self, module: str, level: int, message: str) -> None:
        if level >= 30 and len(self.warnings) < 100:
            self.warnings.append(f"{module or 'engine'}: {message}")

    def on_output(self, module: str, text: str) -> None:
        self.warnings.append(f"{module} printed: {text}")


def endure(
    load: Load, seconds: float, folder: Path, *, sample_s: float, report: Callable[[Sample], None]
) -> Endured:
    """Run, then verify what was recorded."""
    watch = _Watch(sample_s, report)
    bench = load_bench(load.write(folder))
    options = RunOptions(duration_s=seconds, out_dir=folder / "rec", subject="endurance")
    watch.engine = Engine(bench, options, watch)
    result = watch.engine.run()
    assert result.recording_dir is not None
    return Endured(
        load, result, verify_recording(result.recording_dir), watch.samples, watch.warnings
    )


def _processes() -> tuple[dict[str, float], float]:
    """Return PSS in MB of this process and each below it, and the CPU s of all so far."""
    memory: dict[str, float] = {}
    cpu_s = 0.0
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        try:
            name = "engine" if process == this else process.name()
            pss = _own_mb(process.pid)
            times = process.cpu_times()
        except (psutil.Error, OSError):
            continue
        memory[name] = memory.get(name, 0.0) + pss
        cpu_s += times.user + times.system
    return memory, cpu_s


def _own_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kinds = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return (kinds["Pss_Anon"] + kinds["Pss_File"]) * 1024 / 1e6


def _shared_mb(prefix: str) -> float:
    found = 0
    for path in Path("/dev/shm").glob(f"{prefix}*"):
        with suppress(OSError):
            found += path.stat().st_blocks * 512
    return found / 1e6
