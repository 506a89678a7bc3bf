"""The source of made-up items, the clock and the flow meter, in virtual time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mlink
from mlink.errors import BenchError
from mlink.storage.tsync.reader import read_tsync

BENCH = """
[modules.ds]
type = "devel.datasource"
fps = 20
sample_rate = 100
test_freq_low = 2
[modules.clk]
type = "devel.clock"
interval_us = 250000
[modules.meter]
type = "flowmeter"
data_type = "SignalBlockU16"
inputs = { data-in = "ds.uint16-out" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = "ds.frames-out" }
[modules.rows]
type = "table"
inputs = { rows = "ds.rows-out" }
[modules.floats]
type = "jsonwriter"
input_type = "SignalBlockF32"
inputs = { f32sig-in = "ds.float-out" }
[modules.lines]
type = "jsonwriter"
input_type = "LineReading"
inputs = { lines-in = "ds.linerd-out" }
"""


def contents(folder: Path | None) -> dict[str, bytes]:
    assert folder is not None
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(folder: Path, out: str) -> mlink.RunResult:
    (folder / "bench.toml").write_text(BENCH)
    return mlink.run(folder, duration_s=5.01, out=folder / out, time="virtual", seed=1)


def test_items_are_those_that_their_number_gives(tmp_path: Path) -> None:
    done = run(tmp_path, "rec")
    assert done.reports["meter"]["items"] == 100
    with mlink.open_recording(done.recording_dir) as recording:
        assert recording.video().times_usec.tolist() == [50_000 * n for n in range(1, 101)]
        floats = recording.signals("floats")
        seconds = floats.timestamps / 1e6
        assert floats.names == ["Low", "High", "Low+High"]
        assert np.allclose(seconds, np.arange(500) / 100)
        assert np.allclose(floats.values[:, 0], 0.5 * np.sin(2 * np.pi * 2 * seconds), atol=1e-5)
        rows = [list(row) for row in recording.table().rows]
        assert [row[:2] for row in rows] == [["50", "alpha"], ["2050", "alpha"], ["4050", "alpha"]]
        assert all(len(row[2]) == 14 for row in rows)


def test_samples_keep_their_rate_where_a_picture_has_no_whole_number_of_them(tmp_path):
    bench = BENCH.replace("fps = 20", "fps = 30").replace("sample_rate = 100", "sample_rate = 1000")
    (tmp_path / "bench.toml").write_text(bench)
    done = mlink.run(tmp_path, duration_s=5.01, out=tmp_path / "rec", time="virtual", seed=1)
    assert done.reports["meter"]["items"] == 150  # blocks of 33 and 34
    with mlink.open_recording(done.recording_dir) as recording:
        assert recording.signals("floats").timestamps.tolist() == list(range(0, 5_000_000, 1000))


def test_the_clock_keeps_its_interval_and_records_it(tmp_path: Path) -> None:
    done = run(tmp_path, "rec")
    (path,) = done.recording_dir.rglob("time-pulses.tsync")
    assert read_tsync(path).times.tolist() == [[n, 250_000 * n] for n in range(1, 21)]


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (run(tmp_path, name).recording_dir for name in ("a", "b"))
    assert contents(first) == contents(second)


def test_an_unknown_type_of_a_flow_meter_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text('[modules.m]\ntype = "flowmeter"\ndata_type = "Fram"\n')
    with pytest.raises(BenchError, match="Did you mean 'Frame'"):
        mlink.load_bench(tmp_path)
