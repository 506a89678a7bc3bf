"""A replay of a stranger's recording: refused in words, or sent as it is, at its own times."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zarr
import zstandard

from mlink.cli import app
from mlink.errors import BenchError, MlinkError
from mlink.recording.journal.file import whole_frames
from mlink.storage.tsync.writer import TsyncWriter
from tests.support.bench_runner import BenchRunner
from tests.support.recorded.replaying import sent_in_replay

Change = Callable[[Path], object]
BENCH = """
[bench]
name = "strange"
time = "virtual"
[modules.src]
type = "devel.datasource"
fps = 30
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [
  { id = "frames", data_type = "Frame" }, { id = "rows", data_type = "TableRow" },
  { id = "lines", data_type = "LineReading" }, { id = "floats", data_type = "SignalBlockF32" },
  { id = "ints", data_type = "SignalBlockI32" },
]
ports_out = []
[modules.loop.inputs]
frames = "src.frames-out"
rows = "src.rows-out"
lines = "src.linerd-out"
floats = "src.float-out"
ints = "src.int-out"
[modules.video]
type = "videorecorder"
inputs = { frames-in = "src.frames-out" }
[modules.rows]
type = "table"
inputs = { rows = "src.rows-out" }
[modules.lines]
type = "jsonwriter"
input_type = "LineReading"
inputs = { lines-in = "src.linerd-out" }
[modules.floats]
type = "zarrwriter"
inputs = { f32sig-in = "src.float-out" }
[modules.ints]
type = "jsonwriter"
input_type = "SignalBlockI32"
inputs = { i32sig-in = "src.int-out" }
"""
LOOP = """
import syntalos_mlink as syl
for name in ("frames", "rows", "lines", "floats", "ints"):
    syl.get_input_port(name).on_data = lambda item: None
def run():
    while syl.is_running():
        syl.await_data(50_000)
"""
LINES, INTS, ROWS = "src/data.json.zst", "src-3/data.json.zst", "table-src/testvalues.csv"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench.toml").write_text(BENCH)
    (folder / "loop.py").write_text(LOOP)
    return folder


@pytest.fixture(scope="module")
def lab(bench: Path) -> Path:
    """A run of half a second, with a journal."""
    result = BenchRunner(bench).run(0.5, journal=True)
    assert result.success, result.failures
    assert result.recording_dir is not None
    return Path(result.recording_dir)


@pytest.fixture
def recording(lab: Path, tmp_path: Path) -> Path:
    """It, without its journal: its recorders' files are sent."""
    copy = shutil.copytree(lab, tmp_path / "recorded")
    shutil.rmtree(copy / "journal")
    return copy


def counted(recording: Path, dataset: str, **values: object) -> None:
    """Let attributes state other values."""
    path = recording / dataset / "attributes.toml"
    text = path.read_text()
    for key, value in values.items():
        text, found = re.subn(rf"(?ms)^{key} = (\[.*?^\]|[^\n]*)$", f"{key} = {value}", text)
        assert found, key
    path.write_text(text)


def rows_of(name: str, titles: str, rows: list[str]) -> Change:
    def change(recording: Path) -> None:
        text = f'{{"columns":["timestamp_usec",{titles}],"data":[' + ",".join(rows) + "]}"
        (recording / name).write_bytes(zstandard.compress(text.encode()))
        counted(recording, str(Path(name).parent), row_count=len(rows))

    return change


def lines(*rows: str) -> Change:
    return rows_of(LINES, '"line_id","value"', list(rows))


def ints(*rows: str, blocks: int = 1, runs: str = "[[0, 0, 1]]") -> Change:
    def change(recording: Path) -> None:
        rows_of(INTS, '"Int Low"', list(rows))(recording)
        counted(recording, "src-3", block_count=blocks, block_start_runs=runs)

    return change


def floats(times: Any, data: Any) -> Change:
    def change(recording: Path) -> None:
        shutil.rmtree(recording / "src-2" / "src-2.zarr")
        group = zarr.open_group(recording / "src-2" / "src-2.zarr", mode="w")
        group.create_array("timestamps", data=np.array(times))
        values = group.create_array("data", data=np.array(data))
        values.attrs["signal_names"] = ["Low", "High", "Low+High"][: len(data[0])]
        group.attrs["sample_count"] = len(times)
        counted(recording, "src-2", sample_count=len(times), block_count=1,
                block_start_runs="[[0, 0, 1]]")  # fmt: skip

    return change


def table(text: str) -> Change:
    def change(recording: Path) -> None:
        (recording / ROWS).write_text(text)
        counted(recording, "table-src", row_count=text.count("\n") - 1)

    return change


def stated(dataset: str, **values: object) -> Change:
    return lambda recording: counted(recording, dataset, **values)


def numbered(runs: str) -> Change:
    def change(recording: Path) -> None:
        path = recording / "videos" / "src" / "attributes.toml"
        path.write_text(f"source_index_runs = {runs}\n{path.read_text()}")

    return change


def described(line: str) -> Change:
    def change(recording: Path) -> None:
        path = recording / "src" / "attributes.toml"
        path.write_text(path.read_text() + f"\n[stream.more]\n{line}\n")

    return change


def times_of_another(recording: Path) -> None:
    file = next((recording / "videos" / "src").glob("*.tsync"))
    file.unlink()
    with TsyncWriter(file, collection_id=bytes(range(16))) as writer:
        for at in range(15):
            writer.append(at, at * 1000)


BAD: dict[str, tuple[Change, str]] = {
    "a time of 2**62": (lines("[1,0,0]", f"[{2**62},1,1]"), "far too large"),
    "no time": (lines("[null,0,0]"), "times that are no numbers"),
    "a line of half a number": (lines("[1,0.5,0]"), "no board sends"),
    "a line of no number": (lines("[1,null,0]", "[2,1,1]"), "no board sends"),
    "a line that is a text": (lines('[1,"x",0]'), "no board sends"),
    "a value of 2**40": (lines(f"[1,0,{2**40}]"), "no board sends"),
    "lists in lists": (lines("[" * 900 + "]" * 900), "torn"),
    "a sample before the start": (ints("[-1000,5]"), "timestamps of 'src-3' have some"),
    "a sample between two µs": (ints("[1000.7,5]"), "timestamps of 'src-3' have some"),
    "a sample of 2**40": (ints(f"[1000,{2**40}]"), "values of 'src-3' have some"),
    "a sample of no number": (ints("[1000,null]", "[2000,6]"), "values of 'src-3' have some"),
    "a sample that is a text": (ints('[1000,"x"]'), "no numbers"),
    "blocks behind the rows": (
        ints("[1,1]", "[2,6]", blocks=2, runs="[[0, 0, 1], [1, 50, 50]]"), "follow one another"
    ),
    "blocks that go back": (
        ints("[1,1]", "[2,6]", "[3,6]", blocks=3, runs="[[0, 2, -1]]"), "follow one another"
    ),
    "more blocks than memory": (ints("[1,1]", blocks=10**12), "not 1000000000000 blocks"),
    "blocks at 2**63": (
        ints("[1,1]", "[2,6]", blocks=2, runs=f"[[0, {2**63 - 1}, {2**62}]]"), "no recorder writes"
    ),
    "samples of 1e300": (floats([5, 6], [[1e300] * 3] * 2), "values of 'src-2' have some"),
    "samples at NaN": (floats([np.nan, 6.0], [[0.0] * 3] * 2), "no number"),
    "samples of fewer channels": (floats([5, 6], [[0.0] * 2] * 2), "2 of 3 channels"),
    "frame numbers of 2**63": (numbered(f"[[0, {2**63 - 1}, {2**63 - 1}]]"), "no recorder writes"),
    "frame numbers below 0": (numbered("[[0, -100, -7]]"), "no camera counts"),
    "times of another recording": (times_of_another, "is of another recording"),
    "a year without items": (stated(".", recording_length_msec=10**11), "h after its last item"),
    "an end before the start": (stated(".", recording_length_msec=-1000), "no recorder writes"),
    "metadata that is a date": (described("x = 2026-12-01 10:00:00Z"), "metadata of no source"),
    "a stream behind the end": (lines(*(["[900000,0,1]"] * 100_001)), "later than its end"),
    "a loss below 0": (stated("src", items_lost=-5), "no recorder writes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_sent_as_it_was_is_refused(
    recording: Path, bench: Path, tmp_path: Path, name: str
) -> None:
    change, reason = BAD[name]
    change(recording)
    with pytest.raises(MlinkError, match=reason) as caught:
        sent_in_replay(recording, bench, tmp_path)
    assert caught.value.remedy


def test_all_is_sent_of_a_recording_that_nobody_changed(
    recording: Path, bench: Path, tmp_path: Path
) -> None:
    sent, outcome = sent_in_replay(recording, bench, tmp_path)
    counts = {stream: len(items) for stream, items in sent.items() if items}
    assert counts == {"src.frames-out": 15, "src.rows-out": 1, "src.linerd-out": 4,
                      "src.float-out": 15, "src.int-out": 15}  # fmt: skip
    assert [frame.time_usec for frame in sent["src.frames-out"]][:2] == [33_333, 66_667]
    assert outcome.notes == [
        "the rows of src.rows-out were recorded without times: all come at the start"
    ]


@pytest.mark.parametrize("cell", ["nan", "1e300", str(2**63), "inf"])
def test_a_row_with_a_time_that_is_none_is_noted(
    recording: Path, bench: Path, tmp_path: Path, cell: str
) -> None:
    table(f"time_usec;a\n{cell};b\n7;c\n")(recording)
    sent, outcome = sent_in_replay(recording, bench, tmp_path)
    assert sent["src.rows-out"] == [[cell, "b"], ["7", "c"]]
    assert any("were recorded without times" in note for note in outcome.notes)


@pytest.mark.parametrize("until_s", [float("nan"), -1.0, 0.0])
def test_an_end_that_is_none_is_refused(
    recording: Path, bench: Path, tmp_path: Path, until_s: float
) -> None:
    with pytest.raises(BenchError, match="cannot end at"):
        sent_in_replay(recording, bench, tmp_path, until_s)


def test_a_replay_without_a_journal_lasts_as_long_as_its_recording(
    recording: Path, bench: Path, tmp_path: Path
) -> None:
    from mlink.replay import replay

    result = replay(recording, bench=bench, out_dir=tmp_path, record=False).result
    assert result.success, result.failures
    assert result.duration_s >= 0.5  # not all of it at the stop


def journal_with(change: Callable[[list[Any]], list[Any]]) -> Change:
    def write(recording: Path) -> None:
        path = next((recording / "journal" / "loop").glob("*.zst"))
        frames = [msgspec.msgpack.decode(content) for _, content in whole_frames(path)]
        header, *records = [record for frame in frames for record in frame]
        records = change(records)
        path.write_bytes(zstandard.compress(msgspec.msgpack.encode([header, *records])))
        counted(recording, "journal/loop", record_count=len(records))

    return write


STOP = 4
JOURNALS: dict[str, tuple[Change, str]] = {
    "a stop at 2**62": (
        journal_with(lambda all: [[STOP, 2**62] if each[0] == STOP else each for each in all]),
        "cannot be read",
    ),
    "a stop before the start": (
        journal_with(lambda all: [[STOP, -100] if each[0] == STOP else each for each in all]),
        "nothing to replay",
    ),
    "items that are none": (
        journal_with(
            lambda all: [
                [*each[:4], b"\xc1"] if each[0] == 0 and isinstance(each[4], bytes) else each
                for each in all
            ]
        ),
        "cannot be read",
    ),
    "records without end": (
        journal_with(lambda all: all + [[2, 500_000, 1]] * 5_000_000), "more than 4,194,304"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JOURNALS)
def test_a_journal_that_no_run_wrote_is_refused(
    lab: Path, bench: Path, tmp_path: Path, name: str
) -> None:
    recording = shutil.copytree(lab, tmp_path / "recorded")
    change, reason = JOURNALS[name]
    change(recording)
    with pytest.raises(MlinkError, match=reason):
        sent_in_replay(recording, bench, tmp_path)


def test_the_command_refuses_it_in_words(recording: Path, bench: Path) -> None:
    from typer.testing import CliRunner

    lines(f"[{2**62},1,1]")(recording)
    words = ["replay", str(recording), "--bench", str(bench), "--no-record", "--until", "nan"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, BenchError | SystemExit)
    assert "None" not in result.output
