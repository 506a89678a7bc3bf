"""How fast a recording is replayed: beside the lab's time, and beside a bare loop over its data.

A run with --replayable is recorded, then replayed at full speed. The peer does without everything
that a replay is for (clock, order, streams, recorders): a Python loop that reads the journal, or
the video, and calls the same function.

Run: python -m tests.benchmarks.bench_replay
"""

from __future__ import annotations

import runpy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlink.recording
from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.engine.run import run_bench
from mlink.engine.status import Phase, RunStatus
from mlink.recording.journal.reading import read_journal
from mlink.replay import replay
from mlink.transport.codec import small_decoder
from mlink.types import DataType
from tests.benchmarks.harness import interleaved
from tests.benchmarks.table import Table, arguments, median, publish
from tests.support import varied_source

ROWS_BENCH = """
[bench]
name = "rows"
[modules.source]
type = "varied-source"
period_usec = PERIOD
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "items", data_type = "TableRow" }]
ports_out = [{ id = "log", data_type = "TableRow" }]
inputs = { items = "source.rows" }
[modules.log]
type = "table"
inputs = { rows = "loop.log" }
"""
FRAMES_BENCH = """
[bench]
name = "frames"
[devices]
eye = "virtual:scene"
[modules.source]
type = "camera-generic"
device = "eye"
size = [640, 480]
framerate = 30
[modules.video]
type = "videorecorder"
inputs = { frames-in = "source.video" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "items", data_type = "Frame" }]
ports_out = [{ id = "log", data_type = "TableRow" }]
inputs = { items = "source.video" }
[modules.log]
type = "table"
inputs = { rows = "loop.log" }
"""
SCRIPT = """
from answer import answer

import syntalos_mlink as syl

items, log = syl.get_input_port("items"), syl.get_output_port("log")


def prepare():
    log.set_metadata_value("table_header", ["a", "b"])
    items.on_data = lambda item: log.submit(answer(item))


def run():
    while syl.is_running():
        syl.await_data(50_000)
"""
ROWS_ANSWER = """
def answer(row):
    return [row[1], int(row[0]) % 1000]
"""
FRAMES_ANSWER = """
def answer(frame):
    return [frame.index, int(frame.mat[::8, ::8].max())]
"""


@dataclass
class Stopwatch:
    """An observer that notes when the run itself began and ended."""

    times: dict[Phase, float] = field(default_factory=dict)

    def on_status(self, status: RunStatus) -> None:
        """Note the first moment of each phase."""
        self.times.setdefault(status.phase, time.perf_counter())

    def on_log(self, module: str, level: int, message: str) -> None:
        """Take no notice."""

    def on_output(self, module: str, text: str) -> None:
        """Take no notice."""

    @property
    def run_s(self) -> float:
        """How long it ran, without start and end, in s."""
        later = [at for phase, at in self.times.items() if at > self.times[Phase.RUN]]
        return min(later) - self.times[Phase.RUN]


@dataclass
class Lab:
    """A recorded run."""

    folder: Path
    recording: Path
    items: int
    """What its script met."""
    length_s: float


def record(folder: Path, bench: str, answer: str, seconds: float) -> Lab:
    """Run a bench in the lab."""
    (folder / "bench.toml").write_text(bench)
    (folder / "loop.py").write_text(SCRIPT)
    (folder / "answer.py").write_text(answer)
    options = RunOptions(duration_s=seconds, out_dir=folder / "lab", journal=True)
    result = run_bench(load_bench(folder / "bench.toml"), options, Stopwatch())
    if not result.success:
        raise RuntimeError(f"the run failed: {result.failures}")
    assert result.recording_dir is not None
    recording = Path(result.recording_dir)
    return Lab(folder, recording, rows_of(recording), seconds)


def rows_of(recording: Path) -> int:
    """Return how many answers the script gave."""
    with mlink.recording.open(recording) as opened:
        return len(opened.table("log"))


def replayed(lab: Lab) -> tuple[float, float]:
    """Replay it at full speed; return (s of its run, s with start, end and checks)."""
    with tempfile.TemporaryDirectory(dir=lab.folder) as out:
        watch, began = Stopwatch(), time.perf_counter()
        outcome = replay(
            lab.recording, bench=lab.folder / "bench.toml", out_dir=Path(out), observer=watch
        )
        taken = time.perf_counter() - began
        assert outcome.result.success, outcome.result.failures
        assert outcome.result.recording_dir is not None
        if (met := rows_of(Path(outcome.result.recording_dir))) != lab.items:
            raise RuntimeError(f"the script met {lab.items} items in the lab, now {met}")
    return watch.run_s, taken


def bare_rows(lab: Lab, answer: Callable[[Any], list[Any]]) -> int:
    """Read the journal and call the function."""
    journal = read_journal(lab.recording / "journal" / "loop" / "loop.journal.msgpack.zst")
    decode = small_decoder(DataType.TableRow)
    answers = [answer(decode(packed)) for _, packed in journal.items_of("source.rows")]
    return len(answers)


def bare_frames(lab: Lab, answer: Callable[[Any], list[Any]]) -> int:
    """Decode the video and call the function."""
    with mlink.recording.open(lab.recording) as opened:
        return len([answer(frame) for frame in opened.video("video")])


def bare(lab: Lab, loop: Callable[[Lab, Callable[[Any], list[Any]]], int]) -> tuple[float, float]:
    """Time the bare loop; both figures are the same."""
    answer = runpy.run_path(str(lab.folder / "answer.py"))["answer"]
    began = time.perf_counter()
    if (met := loop(lab, answer)) != lab.items:
        raise RuntimeError(f"the script met {lab.items} items, the bare loop {met}")
    taken = time.perf_counter() - began
    return taken, taken


def measure(
    title: str,
    bench: str,
    answer: str,
    loop: Callable[[Lab, Callable[[Any], list[Any]]], int],
    seconds: float,
    rounds: int,
) -> Table:
    """Record once, then replay and loop in turns."""
    with tempfile.TemporaryDirectory(prefix="mlbench") as name:
        lab = record(Path(name), bench, answer, seconds)
        runs: dict[str, Callable[[], tuple[float, float]]] = {
            "replay": lambda: replayed(lab),
            "bare": lambda: bare(lab, loop),
        }
        found = interleaved(list(runs), rounds, lambda kind: runs[kind]())
    table = Table(
        f"{title}, {lab.items} items in {seconds:g} s of the lab, median of {rounds}",
        ["items/s", "× real time"],
    )
    peer_s = median([run_s for run_s, _ in found["bare"]])
    run_s = median([run_s for run_s, _ in found["replay"]])
    whole_s = median([whole_s for _, whole_s in found["replay"]])

    def add(row: str, taken_s: float, *, judged: bool = False) -> None:
        faster = seconds / taken_s
        table.add(
            row,
            f"{lab.items / taken_s:.0f}",
            f"{faster:.1f}",
            ratio=peer_s / taken_s,
            target="≥ 1 × real time" if judged else "",
            ok=faster >= 1 if judged else None,
            items_per_s=lab.items / taken_s,
            real_time_factor=faster,
        )

    add("mlink replay, its run", run_s, judged=True)
    add("mlink replay, with start, end and checks", whole_s)
    add("bare loop, same function", peer_s)
    add("the lab's run", seconds)
    return table


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", seconds=10.0, rounds=3).parse_args()
    varied_source.install()
    rows = ROWS_BENCH.replace("PERIOD", "1000")
    tables = [
        measure(
            "(r) replay of rows at 1 kHz", rows, ROWS_ANSWER, bare_rows,
            options.seconds, options.rounds,
        ),
        measure(
            "(s) replay of frames, 640×480×3 at 30 Hz, recorded again", FRAMES_BENCH,
            FRAMES_ANSWER, bare_frames, options.seconds, options.rounds,
        ),
    ]  # fmt: skip
    publish(tables, options.json)


if __name__ == "__main__":
    main()
