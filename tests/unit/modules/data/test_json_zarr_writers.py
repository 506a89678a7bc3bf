"""The writers for JSON and Zarr: every value with all its digits, in files that others open."""

import json
import shutil
import tomllib

import numpy as np
import pandas as pd
import pytest
import zarr
import zstandard

from mlink.errors import ModuleError, StorageError
from mlink.modules.data import json_file
from mlink.modules.data.catalog import (
    JsonWriterSettings,
    ZarrWriterSettings,
    jsonwriter,
    zarrwriter,
)
from mlink.modules.data.json_file import JsonFile
from mlink.modules.data.jsonwriter import JsonWriterModule
from mlink.modules.data.zarr_store import rows_of_a_file
from mlink.modules.data.zarrwriter import ZarrWriterModule
from mlink.recording import open as open_recording
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.storage.edl import create_collection
from mlink.types import LineReading, SignalBlockF32, SignalBlockI32, SignalBlockU16
from tests.support.fake_context import FakeContext
from tests.support.recorded import edlio_reader
from tests.support.recorded.json_table import load_json

edlio_summary = edlio_reader.edlio_summary

KINDS = {
    "jsonwriter": (jsonwriter, JsonWriterSettings, JsonWriterModule),
    "zarrwriter": (zarrwriter, ZarrWriterSettings, ZarrWriterModule),
}
SIGNALS = {
    "signal_names": ["pleth", "ecg"],
    "time_unit": "microseconds",
    "data_unit": "mV",
    "sample_rate": 1000.0,
    "data_scale": 0.25,
    "timestamp_source": "kernel",
    "uncertainty_usec": 40,
}


def make(kind, tmp_path, *, metadata=SIGNALS, record=True, **settings):
    type_, settings_type, module_type = KINDS[kind]
    if record and not (tmp_path / "recording").exists():
        create_collection(tmp_path / "recording", collection_id=bytes(range(16)), generator="t")
    context = FakeContext(type_, settings_type(**settings), tmp_path, name="Data", record=record)
    (port,) = context.inputs.values()
    port.metadata = dict(metadata)
    module = module_type(context)
    module.prepare()
    module.start()
    return module, context, port


def block(start, count=100, cls=SignalBlockF32, columns=2):
    made = cls()
    made.timestamps = np.arange(start, start + count, dtype=np.uint64) * 1000
    made.data = (np.arange(count * columns).reshape(count, columns) + start) / (
        3 if cls is SignalBlockF32 else 1
    )
    return made


def run(kind, tmp_path, items, **options):
    module, context, port = make(kind, tmp_path, **options)
    for item in items:
        port.on_item(item)
    module.stop()
    module.close()
    return context, tmp_path / "recording" / "data"


def toml(path):
    return tomllib.loads(path.read_text())


def test_signals_reach_json_with_every_digit(tmp_path):
    blocks = [block(0), block(100)]
    context, folder = run("jsonwriter", tmp_path, blocks, format="extended-pandas")
    content = load_json(folder / "data.json.zst")
    assert content["collection_id"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert (content["time_unit"], content["data_unit"]) == ("microseconds", "mV")
    assert content["sample_rate"] == 1000.0
    assert content["columns"] == ["timestamp_usec", "pleth", "ecg"]
    rows = np.array(content["data"])
    assert rows[:, 0].tolist() == [i * 1000 for i in range(200)]
    assert np.array_equal(rows[:100, 1:].astype(np.float32), blocks[0].data)
    attributes = toml(folder / "attributes.toml")
    assert attributes["json_schema"] == "extended-pandas"
    assert attributes["data_scale"] == 0.25
    assert "data_offset" not in attributes
    assert attributes["row_count"] == 200
    assert attributes["items_lost"] == 0
    assert (attributes["timestamp_source"], attributes["uncertainty_usec"]) == ("kernel", 40)
    assert attributes["stream"]["sample_rate"] == 1000.0
    manifest = toml(folder / "manifest.toml")["data"]
    assert (manifest["file_type"], manifest["media_type"]) == ("json.zst", "application/zstd")
    assert context.reports == {"rows_written": 200, "blocks_written": 2, "blocks_lost": 0}


def test_pandas_reads_what_is_written_by_default(tmp_path):
    blocks = [block(0, cls=SignalBlockI32)]
    _, folder = run("jsonwriter", tmp_path, blocks, input_type="SignalBlockI32")
    frame = pd.read_json(folder / "data.json.zst", orient="split")
    assert list(frame.columns) == ["timestamp_usec", "pleth", "ecg"]
    assert frame["ecg"].tolist() == blocks[0].data[:, 1].tolist()
    assert frame["timestamp_usec"].tolist() == [i * 1000 for i in range(100)]
    attributes = toml(folder / "attributes.toml")
    assert (attributes["json_schema"], attributes["sample_rate"]) == ("pandas-split", 1000.0)


@pytest.mark.edlio
def test_pandas_and_edlio_tell_what_is_not_finite_apart(tmp_path, edlio_summary):
    odd = block(0, 4)
    odd.data[:, 0] = [np.nan, np.inf, -np.inf, 3e38]
    _, folder = run("jsonwriter", tmp_path, [odd, block(4, 1)])
    expected = [np.nan, np.inf, -np.inf, float(np.float32(3e38)), block(4, 1).data[0, 0]]
    text = zstandard.decompress((folder / "data.json.zst").read_bytes(), 1 << 20).decode()
    json.loads(text, parse_constant=pytest.fail)  # strict JSON: no words such as NaN
    found = [
        [row[1] for row in edlio_summary(tmp_path / "recording")["datasets"]["data"]["rows"]],
        pd.read_json(folder / "data.json.zst", orient="split")["pleth"].to_list(),
    ]
    with open_recording(tmp_path / "recording") as opened:
        found.append(opened.signals().values[:, 0].tolist())
    for values in found:
        np.testing.assert_array_equal(np.float32(values), np.float32(expected))


def test_a_repair_keeps_what_is_infinite(tmp_path):
    odd = block(0, 3)
    odd.data[:, 0] = [np.nan, np.inf, -np.inf]
    module, _, port = make("jsonwriter", tmp_path)
    port.on_item(odd)
    module._json.flush()
    kept = (tmp_path / "recording" / "data" / "data.json.zst").read_bytes()
    module.close()
    (tmp_path / "recording" / "data" / "data.json.zst").write_bytes(
        kept[:-5]
    )  # as a kill leaves it
    attributes = tmp_path / "recording" / "data" / "attributes.toml"
    attributes.write_text(attributes.read_text().replace("row_count", "former_count"))
    assert repair_recording(tmp_path / "recording").ok
    with open_recording(tmp_path / "recording") as opened:
        values = opened.signals().values
    np.testing.assert_array_equal(values, odd.data)


@pytest.mark.edlio
@pytest.mark.parametrize("format", ["pandas-split", "extended-pandas"])
def test_edlio_reads_both_formats(tmp_path, edlio_summary, format):
    run("jsonwriter", tmp_path, [LineReading(3, 1, 500), LineReading(4, 0, 2**53 - 1)],
        input_type="LineReading", format=format, metadata={})  # fmt: skip
    found = edlio_summary(tmp_path / "recording")["datasets"]["data"]
    assert found["columns"] == ["timestamp_usec", "line_id", "value"]
    assert found["rows"] == [[500, 3, 1], [2**53 - 1, 4, 0]]


def test_rows_and_their_header_reach_json(tmp_path):
    _, folder = run("jsonwriter", tmp_path, [["1", 'a "b"\n'], ["2", "ü"]], input_type="TableRow",
                    metadata={"table_header": ["time", "what"]})  # fmt: skip
    content = load_json(folder / "data.json.zst")
    assert content["columns"] == ["time", "what"]
    assert content["data"] == [["1", 'a "b"\n'], ["2", "ü"]]


def test_chosen_channels_keep_the_streams_order(tmp_path):
    _, folder = run("jsonwriter", tmp_path, [block(0, 2)], record_all=False,
                    recorded_entries=["ecg"])  # fmt: skip
    content = load_json(folder / "data.json.zst")
    assert content["columns"] == ["timestamp_usec", "ecg"]
    assert content["data"][0] == [0, pytest.approx(1 / 3)]
    module, _, port = make("jsonwriter", tmp_path, record_all=False, recorded_entries=["emg"])
    with pytest.raises(ModuleError, match="no channel 'emg'"):
        port.on_item(block(0))
    module.close()


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_do_not_fit_are_an_error_and_missing_ones_are_made(tmp_path, kind):
    module, _, port = make(kind, tmp_path)
    with pytest.raises(ModuleError, match="has 3 channels, but its `signal_names` are 2"):
        port.on_item(block(0, columns=3))
    module.close()
    _, _ = run(kind, tmp_path, [block(0)], metadata={})
    attributes = toml(tmp_path / "recording" / "data-2" / "attributes.toml")
    assert attributes["signal_names"] == ["channel-1", "channel-2"]


@pytest.mark.parametrize("kind", KINDS)
def test_without_data_the_dataset_is_empty_and_valid(tmp_path, kind):
    context, folder = run(kind, tmp_path, [])
    assert "data" not in toml(folder / "manifest.toml")
    assert context.reports["rows_written"] == 0
    assert verify_recording(tmp_path / "recording").of_level("damage") == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written_when_the_run_is_not_recorded(tmp_path, kind):
    run(kind, tmp_path, [block(0)], record=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_gaps_are_kept(tmp_path, kind):
    module, _, port = make(kind, tmp_path)
    port.on_item(block(0))
    port.on_gap(3)
    module.stop()
    attributes = toml(tmp_path / "recording" / "data" / "attributes.toml")
    assert (attributes["items_lost"], attributes["gaps"][0]["after"]) == (3, 100)


@pytest.mark.parametrize(
    ("cls", "dtype"),
    [(SignalBlockF32, "float32"), (SignalBlockI32, "int32"), (SignalBlockU16, "uint16")],
)
def test_signals_reach_zarr(tmp_path, cls, dtype):
    blocks = [block(i * 700, 700, cls) for i in range(4)]
    _, folder = run("zarrwriter", tmp_path, blocks, input_type=cls.__name__)
    group = zarr.open_group(str(folder / "data.zarr"), mode="r")
    data, times = group["data"], group["timestamps"]
    assert data.metadata.zarr_format == 3
    assert (data.dtype.name, times.dtype.name) == (dtype, "uint64")
    assert data.metadata.dimension_names == ("time", "channel")
    assert np.array_equal(data[:], np.concatenate([b.data for b in blocks]))
    assert np.array_equal(times[:], np.arange(2800) * 1000)
    assert times.attrs["time_unit"] == "microseconds"
    assert data.attrs["signal_names"] == ["pleth", "ecg"]
    assert data.attrs["collection_id"].startswith("00010203")
    assert data.chunks == (1000, 2)
    assert toml(folder / "attributes.toml")["sample_count"] == 2800
    manifest = toml(folder / "manifest.toml")["data"]
    assert manifest["file_type"] == "zarr"
    assert "media_type" not in manifest


def test_minutes_of_signals_make_few_zarr_files_since_many_chunks_share_one(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mlink.modules.data.data_file.FLUSH_INTERVAL_S", 0.0
    )  # as if a second passed
    blocks = [block(i * 1000, 1000) for i in range(100)]
    _, folder = run("zarrwriter", tmp_path, blocks)
    store = folder / "data.zarr"
    assert len([path for path in store.rglob("c/*") if path.is_file()]) <= 4
    data = zarr.open_group(str(store), mode="r")["data"]
    assert data.chunks == (1000, 2)  # what a reader has to fetch for a sample
    assert data.shards == (64_000, 2)
    assert np.array_equal(data[:], np.concatenate([b.data for b in blocks]))


def test_a_chunk_of_many_channels_is_no_larger_than_readers_take(tmp_path, monkeypatch):
    monkeypatch.setattr("mlink.modules.data.zarrwriter._CHUNK_BYTES", 4096)
    blocks = [block(0), block(100)]
    _, folder = run("zarrwriter", tmp_path, blocks, input_type="SignalBlockF32")
    data = zarr.open_group(str(folder / "data.zarr"), mode="r")["data"]
    assert data.chunks == (512, 2)  # of 4 bytes each
    assert data.shape == (200, 2)


@pytest.mark.parametrize(
    ("chunk_rows", "row_bytes", "rows"),
    [(1000, 16, 64_000), (30_000, 128, 30_000), (10_000, 8, 520_000), (100_000, 4, 500_000)],
)
def test_a_zarr_file_is_rewritten_each_second_and_so_holds_a_few_megabytes(
    chunk_rows, row_bytes, rows
):
    assert rows_of_a_file(chunk_rows, row_bytes) == rows


def test_line_readings_reach_zarr(tmp_path):
    _, folder = run("zarrwriter", tmp_path, [LineReading(3, 1, 500), LineReading(4, 0, 900)],
                    input_type="LineReading", metadata={})  # fmt: skip
    group = zarr.open_group(str(folder / "data.zarr"), mode="r")
    assert group["data"][:].tolist() == [[3, 1], [4, 0]]
    assert group["timestamps"][:].tolist() == [500, 900]


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_writer_leaves_what_was_there_a_second_before(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("mlink.modules.data.data_file.FLUSH_INTERVAL_S", 0.0)
    module, _, port = make(kind, tmp_path / "live")
    for i in range(5):
        port.on_item(block(i * 100))
    killed = shutil.copytree(tmp_path / "live" / "recording", tmp_path / "killed")
    module.close()
    before = verify_recording(killed)
    assert not before.of_level("damage"), before.findings
    report = repair_recording(killed)
    assert report.ok, (report.failed, report.after.findings)
    (dataset,) = report.after.datasets
    assert dataset.items >= 400


def test_json_is_whole_after_every_flush_and_mended_when_cut_anywhere(tmp_path):
    path = tmp_path / "a.json.zst"
    file = JsonFile(path, {"collection_id": "x"}, ["t", "v"])
    rng = np.random.default_rng(0)
    for i in range(40):
        file.write_rows([[i * 50 + k, float(rng.normal())] for k in range(50)])
        file.flush()
        assert len(load_json(path)["data"]) == (i + 1) * 50
        with path.open("rb") as stream:  # as pandas and edlio read: one frame, streamed
            text = zstandard.ZstdDecompressor().stream_reader(stream).read()
        assert len(json.loads(text)["data"]) == (i + 1) * 50
    file.close()


@pytest.mark.parametrize("share", [0.1, 0.7, 0.95])
def test_a_torn_json_is_ended_behind_its_last_whole_row(tmp_path, share):
    _, folder = run("jsonwriter", tmp_path, [block(i * 500, 500) for i in range(24)])
    path = folder / "data.json.zst"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    recording = tmp_path / "recording"
    assert "not complete JSON" in verify_recording(recording).findings[1].text
    report = repair_recording(recording)
    assert report.ok, (report.failed, report.after.findings)
    rows = load_json(path)["data"]
    assert [row[0] for row in rows] == [i * 1000 for i in range(len(rows))]
    assert len(rows) > 12_000 * share - 4_500  # a zstd block holds 128 KiB of text


def test_a_full_disk_is_one_clear_error_and_the_file_opens(tmp_path, monkeypatch):
    path = tmp_path / "a.json.zst"
    file = JsonFile(path, {}, ["t"])
    file.write_rows([[1]])
    file.flush()
    real = json_file.os.pwrite
    room = [20]

    def tight(fd, data, offset):
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        count = real(fd, bytes(data)[: room[0]], offset)
        room[0] -= count
        return count

    monkeypatch.setattr(json_file.os, "pwrite", tight)
    file.write_rows([[float(i) / 7] for i in range(1000)])
    with pytest.raises(StorageError, match="No space left") as caught:
        file.flush()
    assert "The disk is full" in caught.value.remedy
    monkeypatch.setattr(json_file.os, "pwrite", real)
    file.close()


def test_the_extra_is_asked_for_when_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    module, _, port = make("zarrwriter", tmp_path)
    with pytest.raises(ModuleError) as caught:
        port.on_item(block(0))
    assert "pip install 'mlink-hil[zarr]'" in caught.value.remedy
    module.close()
