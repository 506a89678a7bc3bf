"""`mlink export` and `mlink info --plot`: what other programs and people look at."""

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet
import pynwb
import pytest
import typer
from typer.testing import CliRunner

import mlink.recording
from mlink.cli.recorded.export import export
from mlink.cli.recorded.info import info
from mlink.errors import StorageError
from mlink.modules.data.catalog import JsonWriterSettings, TableSettings, jsonwriter, table
from mlink.modules.data.jsonwriter import JsonWriterModule
from mlink.modules.data.table import TableModule
from mlink.recording.export.export import export_recording
from mlink.recording.plot.canvas import EVENT, LEFT, LEVEL, LOSS, MARGIN, TRACE, WIDTH, Scale
from mlink.recording.plot.tracks import event_track
from mlink.recording.stream import unique_titles
from mlink.types import LineReading, SignalBlockF32
from tests.support.fake_context import FakeContext
from tests.support.recorded.recordings import FRAMES, LiveRecording, time_of

MOUSE = {"id": "m7", "age": "P12W", "sex": "F", "species": "Mus musculus"}


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
    [("csv", "csv"), ("parquet", "pyarrow"), ("nwb", "pynwb"), ("mat", "h5py"), ("rrd", "rerun")],
)
def test_a_run_in_which_nothing_came_is_exported_too(form, library, tmp_path):
    pytest.importorskip(library)
    live = LiveRecording(tmp_path / "live")
    with mlink.recording.open(live.close()) as nothing:
        made = export_recording(nothing, form, tmp_path / "out")
    assert all(path.stat().st_size for path in made)
    assert made


def test_nwb(recording, tmp_path):
    (file,) = export_recording(recording, "nwb", tmp_path / "out")
    with pynwb.NWBHDF5IO(str(file), "r") as io:
        found = io.read()
        assert found.identifier == recording.collection_id
        video = found.acquisition["video"]
        assert video.timestamps[:].tolist() == [time_of(i) / 1e6 for i in range(FRAMES)]
        assert not Path(video.external_file[0]).is_absolute()
        assert (file.parent / video.external_file[0]).is_file()
        assert list(found.acquisition["lines"].data[0]) == [7, 0]
        events = found.acquisition["events-table"]
        assert events["time_usec"][:].tolist() == [time_of(i) for i in range(FRAMES)]
        assert events["what"][3] == 'what "3"; or\nnot'


def test_a_video_at_exactly_regular_times_has_a_rate_and_the_number_of_its_frames(tmp_path):
    live = LiveRecording(tmp_path)
    folder = live.feed(FRAMES, lambda i: 2_000 + 33_333 * i).close()
    with mlink.recording.open(folder) as found:
        (file,) = export_recording(found, "nwb", tmp_path / "out", subject=MOUSE)
    assert inspected(file) == []
    with pynwb.NWBHDF5IO(str(file), "r") as io:
        video = io.read().acquisition["video"]
        assert (video.starting_time, video.rate) == (0.002, 1e6 / 33_333)
        assert video.num_samples == FRAMES


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
    [
        ("parquet", "pyarrow", "pyarrow"),
        ("nwb", "pynwb", "pynwb"),
        ("mat", "h5py", "h5py"),
        ("rrd", "rerun", "rerun-sdk"),
    ],
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
    recording.plot().save(tmp_path / "a.png")
    image = cv2.imread(str(tmp_path / "a.png"))
    assert image.shape[1] == WIDTH
    assert image.shape[0] > 300  # a strip, the raster of frames, rows, two lines, the axis
    assert len(columns_of(image, EVENT)) == FRAMES  # frames and rows came together
    # line 7 was high from 40 to 80 ms, and so on: its level is drawn from its first reading on
    scale = Scale(0, 3_000_000)
    level = columns_of(image, LEVEL)
    assert {scale.x(0), scale.x(300_000), scale.x(2_999_999)} <= level
    assert not columns_of(image, LOSS)


def installed(library):
    return pytest.importorskip(library, reason=f"no {library}: pip install 'mlink-hil[test]'")


def columns_of(image, colour):
    return set(np.flatnonzero(np.all(image == colour, axis=2).any(axis=0)).tolist())


def with_signals(folder, metadata, times_usec, data):
    """Return a recording that has the dataset "ecg" too."""
    live = LiveRecording(folder)
    context = FakeContext(jsonwriter, JsonWriterSettings(), folder, name="ecg")
    context.inputs["f32sig-in"].metadata = {"time_unit": "microseconds", **metadata}
    live.modules.append(JsonWriterModule(context))
    live.modules[-1].prepare()
    live.modules[-1].start()
    block = SignalBlockF32()
    block.timestamps, block.data = times_usec.astype(np.uint64), data.astype(np.float32)
    context.inputs["f32sig-in"].on_item(block)
    return live


def test_a_plot_shows_a_signal_between_its_least_and_greatest_value(tmp_path):
    values = np.linspace(-1, 1, 3000).reshape(-1, 1)
    live = with_signals(tmp_path, {"data_unit": "mV"}, np.arange(0, 3_000_000, 1000), values)
    with mlink.recording.open(live.feed(3).close()) as found:
        found.plot().save(tmp_path / "a.png")
    trace = np.all(cv2.imread(str(tmp_path / "a.png")) == TRACE, axis=2)
    heights = trace.argmax(axis=0)[np.flatnonzero(trace.any(axis=0))]
    assert len(heights) == WIDTH - LEFT - MARGIN
    assert np.all(np.diff(heights) <= 0)  # it rises from the left to the right
    assert np.ptp(heights) > 40


def test_what_was_lost_is_red_in_a_plot(tmp_path):
    live = LiveRecording(tmp_path).feed(30)
    live.video.inputs["frames-in"].on_gap(5)
    with mlink.recording.open(live.feed(5).close()) as found:
        found.plot().save(tmp_path / "a.png")
    assert columns_of(cv2.imread(str(tmp_path / "a.png")), LOSS)


def test_info_draws_it_and_shows_where_times_come_from(path, tmp_path, capsys):
    info(path, plot=tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
    shown = capsys.readouterr().out
    assert "kernel ±200 µs" in shown
    assert f"overview drawn: {tmp_path / 'a.png'}" in shown
    info(path, json=True, plot=tmp_path / "b.jpg")
    assert json.loads(capsys.readouterr().out)["plot"] == str(tmp_path / "b.jpg")
    assert cv2.imread(str(tmp_path / "b.jpg")).shape[1] == WIDTH
    with pytest.raises(StorageError, match="no picture can be written"):
        info(path, plot=tmp_path / "a.xyz")


def test_a_plot_that_cannot_be_drawn_is_an_error(tmp_path):
    live = LiveRecording(tmp_path)
    with pytest.raises(StorageError, match="no data with times"):
        info(live.close(), plot=tmp_path / "a.png")


def with_table(folder, header, rows):
    """A recording with a table of one's own beside the usual one."""
    live = LiveRecording(folder)
    context = FakeContext(table, TableSettings(), folder, name="trials")
    context.inputs["rows"].metadata = {"table_header": header, "data_name_proposal": "trials/table"}
    live.modules.append(TableModule(context))
    live.modules[-1].prepare()
    live.modules[-1].start()
    for row in rows:
        context.inputs["rows"].on_item(row)
    return live.feed(3).close()


def test_a_plot_traces_numbers_of_rows_and_writes_their_texts(tmp_path):
    rows = [[str(300 * i), f"cue {i}\n\x1b[31m", str(i * 0.5)] for i in range(9)]
    path = with_table(tmp_path, ["time_msec", "what", "reaction"], rows)
    with mlink.recording.open(path) as found:
        drawn = found.plot()
        plain = event_row_of(found, "trials/table")
    assert len(columns_of(drawn.pixels, TRACE)) == WIDTH - LEFT - MARGIN
    assert drawn._repr_png_().startswith(b"\x89PNG")  # what a notebook shows
    assert plain.shape[0] > 42  # a line of texts below the ticks
    assert (plain[42:] != 255).any()


def event_row_of(recording, name):
    stream = recording[name]
    texts = stream.columns()["what"].tolist()
    return event_track(name, stream, stream.times_usec, Scale(0, 3_000_000), texts)


ODD_HEADER = ["time_usec", "a/b:c", "a/b:c", "id", "end", ""]
ODD_ROWS = [["5", "x y", "2", "7", "1.5", "ü\U0001f600"], ["9", "", "3", "8", "2.5", "", "wide"]]


def test_many_equal_titles_take_no_time():
    assert unique_titles(["a"] * 50_000, "a")[-1] == "a.50000"


def test_columns_of_any_title_are_kept_apart(tmp_path):
    mat73 = installed("mat73")
    with mlink.recording.open(with_table(tmp_path, ODD_HEADER, ODD_ROWS)) as found:
        columns = found["trials"].columns()
        assert list(columns) == ["time_usec", "a/b:c", "a/b:c.1", "id", "end", "", "column-7"]
        assert columns["a/b:c.1"].tolist() == [2, 3]
        assert columns["column-7"].tolist() == ["", "wide"]
        for form in ("csv", "parquet", "nwb", "mat"):
            failed = []
            export_recording(found, form, tmp_path / form, failed=failed)
            assert failed == []
    with (tmp_path / "csv" / "trials.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[2] == ["9", "", "3", "8", "2.5", "", "wide"]
    matlab = mat73.loadmat(tmp_path / "mat" / "recording.mat")["trials"]
    assert [title[0] for title in matlab["titles"]] == list(columns)
    assert matlab["xend"].tolist() == [1.5, 2.5]
    assert matlab["id"].dtype == np.int64
    (text,) = matlab["x"][0]
    assert text.encode("utf-16", "surrogatepass").decode("utf-16") == "ü\U0001f600"
    assert matlab["a_b_c"][0] == ["x y"]
    with pynwb.NWBHDF5IO(str(tmp_path / "nwb" / "recording.nwb"), "r") as io:
        events = io.read().acquisition["trials"]
        assert events["a-b-c.1"][:].tolist() == [2, 3]
        assert events["id.1"][:].tolist() == [7, 8]


def test_matlab(path, recording, tmp_path):
    h5py, mat73, scipy_io = installed("h5py"), installed("mat73"), installed("scipy.io")
    (file,) = export_recording(recording, "mat", tmp_path / "out")
    head = file.read_bytes()[:128]
    assert head.startswith(b"MATLAB 7.3 MAT-file")
    assert head[124:] == b"\x00\x02IM"
    with pytest.raises(NotImplementedError, match="HDF reader for matlab"):
        scipy_io.loadmat(file)  # it knows the format, and leaves it to h5py
    found = mat73.loadmat(file)
    assert found["recording"]["collection_id"] == recording.collection_id
    assert found["recording"]["subject_id"] == "m7"
    assert found["video"]["time_usec"].tolist() == [time_of(i) for i in range(FRAMES)]
    assert found["video"]["frame"].tolist() == list(range(FRAMES))
    assert Path(found["video"]["files"][0]).is_file()
    assert found["events_table"]["what"][3] == ['what "3"; or\nnot']
    lines = found["lines"]
    assert [name[0] for name in lines["channels"]] == ["line_id", "value"]
    assert lines["values"].shape == (40, 2)
    assert lines["values"][1].tolist() == [8, 0]
    assert lines["time_usec"].dtype == np.int64
    with h5py.File(file) as opened:
        assert opened["lines/values"].shape == (2, 40)  # MATLAB's order: columns first


def test_polars_and_xarray(path, recording):
    installed("polars"), installed("xarray")
    rows = recording.table().polars()
    assert rows["time_usec"].to_list() == [time_of(i) for i in range(FRAMES)]
    assert rows["what"][3] == 'what "3"; or\nnot'
    assert recording.video().polars()["frame"].to_list() == list(range(FRAMES))
    lines = recording.signals("lines")
    assert lines.polars().columns == ["time_usec", "line_id", "value"]
    array = lines.xarray()
    assert array.dims == ("time_usec", "channel")
    assert array.sel(channel="line_id").values[:3].tolist() == [7, 8, 7]
    assert array.sel(time_usec=slice(0, 100_000)).shape == (6, 2)
    assert array.attrs["items_lost"] == 0
    events = recording.table().xarray()
    assert str(events["what"].sel(time_usec=time_of(3)).item()) == 'what "3"; or\nnot'
    assert recording.video().xarray()["frame"].dims == ("time_usec",)
    assert recording.video().xarray().attrs["uncertainty_usec"] == 200


@pytest.mark.parametrize(("how", "package"), [("polars", "polars"), ("xarray", "xarray")])
def test_a_library_for_frames_that_is_missing_is_named(recording, monkeypatch, how, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StorageError, match=f"needs {package}") as caught:
        getattr(recording.table(), how)()
    assert caught.value.remedy == f"pip install {package}"


def test_physical_values_and_units_reach_xarray(tmp_path):
    installed("polars"), installed("xarray")
    units = {"signal_names": ["a", "time_usec"], "data_unit": ["mV", "K"], "data_scale": 0.5}
    values = np.array([[1, 2], [3, np.inf], [5, np.nan]])
    live = with_signals(tmp_path, units, np.arange(3), values)
    with mlink.recording.open(live.feed(3).close()) as found:
        ecg = found.signals()
        np.testing.assert_array_equal(ecg.xarray()[:, 1], [1, np.inf, np.nan])
        assert ecg.xarray()["unit"].values.tolist() == ["mV", "K"]
        assert ecg.polars().columns == ["time_usec", "a", "time_usec.1"]
        assert ecg.frame().columns.tolist() == ["a", "time_usec.1"]


SUBJECT = """[subject]
id = "m7"
age = "P12W"
sex = "female"
species = "Mus musculus"
weight = "25 g"
description = "a mouse"
institution = "University of Somewhere"
"""


def inspected(file):
    """What the inspector of the NWB archives finds that is more than a suggestion."""
    nwbinspector = installed("nwbinspector")
    return [
        (found.importance.name, found.message)
        for found in nwbinspector.inspect_nwbfile(nwbfile_path=file)
        if found.importance.name != "BEST_PRACTICE_SUGGESTION"
    ]


def test_archives_accept_a_file_with_the_subject_of_a_file(path, tmp_path):
    (tmp_path / "subject.toml").write_text(SUBJECT)
    app = typer.Typer()
    app.command()(export)
    arguments = [str(path), "--to", "nwb", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--subject-file", str(tmp_path / "subject.toml")])
    assert done.exit_code == 0, done.output
    assert "not known" not in done.output
    (file,) = (tmp_path / "out").iterdir()
    assert inspected(file) == []
    with pynwb.NWBHDF5IO(str(file), "r") as io:
        found = io.read()
        assert (found.subject.subject_id, found.subject.sex, found.subject.age) == (
            "m7", "F", "P12W",
        )  # fmt: skip
        assert found.institution == "University of Somewhere"


@pytest.mark.parametrize("samples", [0, 1])
def test_archives_accept_short_recordings(tmp_path, samples):
    live = with_signals(tmp_path, {"signal_names": ["a", "b"]}, np.arange(samples),
                        np.ones((samples, 2)))  # fmt: skip
    with mlink.recording.open(live.feed(5).close()) as found:
        (file,) = export_recording(found, "nwb", tmp_path / "out", subject=MOUSE)
    worst = {importance for importance, _ in inspected(file)}
    assert not worst & {"CRITICAL", "ERROR", "PYNWB_VALIDATION"}


def test_what_archives_need_and_is_not_known_is_named(path, tmp_path):
    app = typer.Typer()
    app.command()(export)
    done = CliRunner().invoke(app, [str(path), "--to", "nwb", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "not known of the subject: age, sex, species" in done.output
    assert "--subject-file" in done.output
