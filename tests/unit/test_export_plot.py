"""`mlink export` and `mlink info --plot`: what other programs and people look at."""

import csv
import sys

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
from mlink.modules.jsonwriter import JsonWriterModule
from mlink.modules.writer_catalog import JsonWriterSettings, jsonwriter
from mlink.recording.export import export_recording
from mlink.recording.plot import WIDTH, plot_recording
from mlink.types import LineReading
from tests.support.fake_context import FakeContext
from tests.support.recordings import FRAMES, LiveRecording, time_of


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


def test_nwb(recording, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    (file,) = export_recording(recording, "nwb", tmp_path / "out")
    with pynwb.NWBHDF5IO(str(file), "r") as io:
        found = io.read()
        assert found.identifier == recording.collection_id
        video = found.acquisition["video"]
        assert len(video.timestamps) == FRAMES
        assert list(found.acquisition["lines"].data[0]) == [7, 0]


def test_rerun(recording, tmp_path):
    pytest.importorskip("rerun")
    (file,) = export_recording(recording, "rrd", tmp_path / "out")
    assert file.stat().st_size > 1000


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
    event = np.all(image == (160, 80, 20), axis=2)
    rows = [row for row in range(image.shape[0]) if event[row].any()]
    assert len({tuple(event[row]) for row in rows}) == 3  # frames and rows came together


def test_info_draws_it_and_tells_where_times_come_from(path, tmp_path, capsys):
    info(path, plot=tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert "kernel ±200 µs" in capsys.readouterr().out
    with pytest.raises(StorageError, match="no picture can be written"):
        info(path, plot=tmp_path / "a.xyz")
