"""`mlink export` and `mlink info --plot`: what other programs and people look at."""

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import typer
from typer.testing import CliRunner

import mlink.recording
from mlink.cli.export import export
from mlink.cli.info import info
from mlink.errors import StorageError
from mlink.modules.data.catalog import JsonWriterSettings, jsonwriter
from mlink.modules.data.jsonwriter import JsonWriterModule
from mlink.recording.export import export_recording
from mlink.recording.plot.canvas import EVENT, LEFT, LEVEL, LOSS, MARGIN, TRACE, WIDTH, Scale
from mlink.recording.plot.overview import plot_recording
from mlink.types import LineReading, SignalBlockF32
from tests.support.fake_context import FakeContext
from tests.support.recorded.recordings import FRAMES, LiveRecording, time_of


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    live = LiveRecording(folder)
    lines = FakeContext(jsonwriter, JsonWriterSettings(input_type="LineReading"), folder,
                        name="lines")  # fmt: skip
    live.modules.append(JsonWriterModule(lines))
    live.modules[-1].prepare()
    live.modules[-1].start()
    for i in range(40):
        lines.inputs["lines-in"].on_item(LineReading(7 + i % 2, i % 4 // 2, 20_000 * i))
    return live.feed(FRAMES).close()


@pytest.fixture
def recording(path):
    with mlink.recording.open(path) as found:
        yield found


def test_csv(recording, tmp_path):
    made = export_recording(recording, "csv", tmp_path / "out")
    assert {file.name for file in made} == {"events-table.csv", "lines.csv", "video.csv"}
    frame = pd.read_csv(tmp_path / "out" / "video.csv")
    assert frame["time_usec"].tolist() == [time_of(i) for i in range(FRAMES)]
    with (tmp_path / "out" / "events-table.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["time_usec", "what"]
    assert rows[4][1] == 'what "3"; or\nnot'
    with pytest.raises(StorageError, match="exists already"):
        export_recording(recording, "csv", tmp_path / "out")


def test_parquet(recording, tmp_path):
    export_recording(recording, "parquet", tmp_path / "out")
    table = pyarrow.parquet.read_table(tmp_path / "out" / "lines.parquet")
    assert table.column_names == ["time_usec", "line_id", "value"]
    assert table["line_id"].to_pylist()[:3] == [7, 8, 7]
    video = pyarrow.parquet.read_table(tmp_path / "out" / "video.parquet")
    assert video["time_usec"].to_pylist() == [time_of(i) for i in range(FRAMES)]
    assert video.schema.metadata[b"timestamp_source"] == b"kernel"
    assert video.schema.metadata[b"uncertainty_usec"] == b"200.0"


@pytest.mark.parametrize(
    ("form", "library"),
    [("csv", "csv"), ("parquet", "pyarrow"), ("nwb", "pynwb"), ("rrd", "rerun")],
)
def test_a_run_in_which_nothing_came_is_exported_too(form, library, tmp_path):
    pytest.importorskip(library)
    live = LiveRecording(tmp_path / "live")
    with mlink.recording.open(live.close()) as nothing:
        made = export_recording(nothing, form, tmp_path / "out")
    assert all(path.stat().st_size for path in made)
    assert made


def test_nwb(recording, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    (file,) = export_recording(recording, "nwb", tmp_path / "out")
    with pynwb.NWBHDF5IO(str(file), "r") as io:
        found = io.read()
        assert found.identifier == recording.collection_id
        video = found.acquisition["video"]
        assert video.timestamps[:].tolist() == [time_of(i) / 1e6 for i in range(FRAMES)]
        assert Path(video.external_file[0]).is_file()
        assert list(found.acquisition["lines"].data[0]) == [7, 0]
        events = found.acquisition["events-table"]
        assert events["time_usec"][:].tolist() == [time_of(i) for i in range(FRAMES)]
        assert events["what"][3] == 'what "3"; or\nnot'


def test_rerun(recording, tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk takes 500 MB: pip install 'mlink-hil[export]'")
    (file,) = export_recording(recording, "rrd", tmp_path / "out")
    rerun = Path(sys.executable).with_name("rerun")  # its own reader of its own files
    shown = subprocess.run([rerun, "rrd", "print", "-v", file], capture_output=True, text=True)
    rows = Counter()
    for count, entity in re.findall(r"with (\d+) rows .* - /(\S+) - data", shown.stdout):
        rows[entity] += int(count)
    assert rows["video"] == FRAMES
    assert rows["events/table"] == FRAMES
    assert rows["lines/value"] == rows["lines/line_id"] == 40


@pytest.mark.parametrize(
    ("form", "library", "package"),
    [("parquet", "pyarrow", "pyarrow"), ("nwb", "pynwb", "pynwb"), ("rrd", "rerun", "rerun-sdk")],
)
def test_a_library_that_is_missing_is_named(
    recording, tmp_path, monkeypatch, form, library, package
):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(StorageError, match=f"needs {package}") as caught:
        export_recording(recording, form, tmp_path)
    assert f"pip install {package}" in caught.value.remedy


def test_export_as_a_command(path, tmp_path):
    app = typer.Typer()
    app.command()(export)
    done = CliRunner().invoke(app, [str(path), "--to", "csv", "--out", str(tmp_path / "o")])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "o").iterdir())) == 3


def test_a_plot_shows_pictures_and_events(recording, tmp_path):
    plot_recording(recording, tmp_path / "a.png")
    image = cv2.imread(str(tmp_path / "a.png"))
    assert image.shape[1] == WIDTH
    assert image.shape[0] > 300  # a strip, the raster of frames, rows, two lines, the axis
    assert len(columns_of(image, EVENT)) == FRAMES  # frames and rows came together
    # line 7 was high from 40 to 80 ms, and so on: its level is drawn from its first reading on
    scale = Scale(0, 3_000_000)
    level = columns_of(image, LEVEL)
    assert {scale.x(0), scale.x(300_000), scale.x(2_999_999)} <= level
    assert not columns_of(image, LOSS)


def columns_of(image, colour):
    return set(np.flatnonzero(np.all(image == colour, axis=2).any(axis=0)).tolist())


def test_a_plot_shows_a_signal_between_its_least_and_greatest_value(tmp_path):
    live = LiveRecording(tmp_path)
    context = FakeContext(jsonwriter, JsonWriterSettings(), tmp_path, name="ecg")
    context.inputs["f32sig-in"].metadata = {"time_unit": "microseconds", "data_unit": "mV"}
    live.modules.append(JsonWriterModule(context))
    live.modules[-1].prepare()
    live.modules[-1].start()
    block = SignalBlockF32()
    block.timestamps = np.arange(0, 3_000_000, 1000, dtype=np.uint64)
    block.data = np.linspace(-1, 1, 3000, dtype=np.float32).reshape(-1, 1)
    context.inputs["f32sig-in"].on_item(block)
    with mlink.recording.open(live.feed(3).close()) as found:
        plot_recording(found, tmp_path / "a.png")
    trace = np.all(cv2.imread(str(tmp_path / "a.png")) == TRACE, axis=2)
    heights = trace.argmax(axis=0)[np.flatnonzero(trace.any(axis=0))]
    assert len(heights) == WIDTH - LEFT - MARGIN
    assert np.all(np.diff(heights) <= 0)  # it rises from the left to the right
    assert np.ptp(heights) > 40


def test_what_was_lost_is_red_in_a_plot(tmp_path):
    live = LiveRecording(tmp_path).feed(30)
    live.video.inputs["frames-in"].on_gap(5)
    with mlink.recording.open(live.feed(5).close()) as found:
        plot_recording(found, tmp_path / "a.png")
    assert columns_of(cv2.imread(str(tmp_path / "a.png")), LOSS)


def test_info_draws_it_and_shows_where_times_come_from(path, tmp_path, capsys):
    info(path, plot=tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert "kernel ±200 µs" in capsys.readouterr().out
    with pytest.raises(StorageError, match="no picture can be written"):
        info(path, plot=tmp_path / "a.xyz")
