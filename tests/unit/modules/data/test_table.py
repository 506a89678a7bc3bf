"""The table module: every row as it came, in a file that other programs read."""

import csv
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink.errors import ModuleError, StorageError
from mlink.modules.data.catalog import TableSettings, table
from mlink.modules.data.csv_file import CsvFile
from mlink.modules.data.table import TableModule
from tests.support.fake_context import FakeContext


def make(tmp_path, *, metadata=None, record=True, **settings):
    context = FakeContext(table, TableSettings(**settings), tmp_path, name="Events", record=record)
    context.inputs["rows"].metadata = metadata or {}
    module = TableModule(context)
    module.prepare()
    return module, context


def run(tmp_path, rows, **options):
    module, context = make(tmp_path, **options)
    module.start()
    for row in rows:
        context.inputs["rows"].on_item(row)
    module.stop()
    module.close()
    return context


def toml(path):
    return tomllib.loads(path.read_text())


def test_rows_and_header_are_written(tmp_path):
    context = run(tmp_path, [["1", "press"], ["2", "a;b"]],
                  metadata={"table_header": ["time", "what"], "src_mod_name": "loop"})  # fmt: skip
    folder = tmp_path / "recording" / "loop"
    assert (folder / "table.csv").read_bytes() == b'time;what\n1;press\n2;"a;b"\n'
    manifest = toml(folder / "manifest.toml")
    assert manifest["data"]["media_type"] == "text/csv"
    assert manifest["data"]["parts"] == [{"fname": "table.csv"}]
    attributes = toml(folder / "attributes.toml")
    assert attributes == {"has_header": True, "source_module": "loop", "row_count": 2,
                          "items_lost": 0, "subscription": {
                              "module": "Events", "port": "rows", "data_type": "TableRow",
                          }, "stream": {
                              "src_mod_name": "loop", "table_header": ["time", "what"],
                          }}  # fmt: skip
    assert context.reports == {"rows_written": 2, "rows_lost": 0}


def test_pandas_reads_it(tmp_path):
    run(tmp_path, [["1", 'x;\n"y"'], ["2", ""]], metadata={"table_header": ["t", "text"]})
    frame = pd.read_csv(tmp_path / "recording/events/table.csv", sep=";", keep_default_na=False)
    assert frame.to_dict("list") == {"t": [1, 2], "text": ['x;\n"y"', ""]}


@pytest.mark.parametrize(
    ("metadata", "settings", "path"),
    [
        ({"data_name_proposal": "events/table"}, {}, "events/table.csv"),
        ({"data_name_proposal": "Trials", "src_mod_name": "Loop"}, {}, "loop/table.csv"),
        ({}, {}, "events/table.csv"),
        ({"data_name_proposal": "a b/c/d"}, {}, "a-b/c-d.csv"),
        ({"data_name_proposal": "/c", "src_mod_name": "loop"}, {}, "loop/c.csv"),
        ({"data_name_proposal": "a/"}, {}, "a/table.csv"),
        (
            {"data_name_proposal": "events/table"},
            {"use_name_from_source": False, "data_name": "My Data"},
            "my-data/table.csv",
        ),
    ],
)
def test_the_dataset_is_named_by_source_setting_or_module(tmp_path, metadata, settings, path):
    run(tmp_path, [["1"]], metadata=metadata, **settings)
    assert (tmp_path / "recording" / path).read_text() == "1\n"


def test_a_missing_name_is_refused_before_the_run(tmp_path):
    with pytest.raises(ModuleError, match="no name for its data"):
        make(tmp_path, use_name_from_source=False)


@pytest.mark.parametrize("options", [{"record": False}, {"save_data": False}])
def test_rows_are_counted_when_nothing_is_saved(tmp_path, options):
    context = run(tmp_path, [["1"], ["2"]], **options)
    assert context.reports["rows_written"] == 2
    assert not list(tmp_path.rglob("*.csv"))


def test_a_gap_is_logged_and_recorded(tmp_path, caplog):
    module, context = make(tmp_path)
    module.start()
    rows = context.inputs["rows"]
    rows.on_item(["1"])
    rows.on_gap(5)
    rows.on_item(["2"])
    module.stop()
    attributes = toml(tmp_path / "recording/events/attributes.toml")
    assert attributes["items_lost"] == 5
    assert attributes["gap_count"] == 1
    assert attributes["gaps"][0]["after"] == 1
    assert attributes["gaps"][0]["lost"] == 5
    assert not caplog.records  # the engine logs losses: it knows their cause
    assert context.reports["rows_lost"] == 5


def test_rows_of_another_width_are_kept_and_warned_of_once(tmp_path, caplog):
    run(tmp_path, [["1"], ["1", "2", "3"]], metadata={"table_header": ["a", "b"]})
    assert (tmp_path / "recording/events/table.csv").read_text() == "a;b\n1\n1;2;3\n"
    assert caplog.text.count("the header has 2") == 1


def test_rows_reach_the_disk_within_a_second(tmp_path):
    now = 100.0
    module, context = make(tmp_path)
    context.waiting = SimpleNamespace(now_ns=lambda: round(now * 1e9))
    module.start()
    path = tmp_path / "recording/events/table.csv"
    for i in range(30):
        context.inputs["rows"].on_item([str(i)])
        now += 0.1
        assert len(path.read_text().splitlines()) >= i - 10
    context.inputs["rows"].on_item(["last"])
    now += 1.0

    def serve(timeout_usec=-1):
        assert 0 < timeout_usec <= 1_000_001
        context.running = False

    context.serve = serve
    module.run()  # the stream is silent: what is left is flushed by the serving loop
    assert path.read_text().endswith("last\n")
    module.close()


def test_a_full_disk_is_one_clear_error(tmp_path):
    module, _ = make(tmp_path)
    module.start()
    file = module._file
    real = file._file
    file._file = Path("/dev/full").open("w", 1)  # noqa: SIM115  # line buffered: fails at once
    file._csv = csv.writer(file._file, delimiter=";")
    with pytest.raises(StorageError, match=r"table\.csv: No space left") as caught:
        module._on_item(["x" * 100])
    assert "The disk is full" in caught.value.remedy
    module.close()  # already reported: not raised again
    real.close()
    assert toml(tmp_path / "recording/events/attributes.toml")["items_lost"] == 0


CELLS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.lists(CELLS, min_size=1), max_size=8))
def test_any_text_reads_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with CsvFile(path) as file:
        for row in rows:
            file.write_row(row)
    with path.open(newline="", encoding="utf-8") as text:
        read = list(csv.reader(text, delimiter=";"))
    # a zero byte is written as an escape
    assert read == [[cell.replace("\0", "\\x00") for cell in row] for row in rows]
    assert file.rows == len(rows)


def test_half_a_surrogate_pair_does_not_end_the_run(tmp_path):
    with CsvFile(tmp_path / "a.csv") as file:
        file.write_row(["a\ud800b"])
    assert (tmp_path / "a.csv").read_text() == "a\\ud800b\n"


def test_a_zero_byte_is_written_as_an_escape(tmp_path):
    with CsvFile(tmp_path / "a.csv") as file:
        file.write_row(["a\0b"])
    assert (tmp_path / "a.csv").read_text() == "a\\x00b\n"


def test_what_is_in_no_listed_gap_is_counted(tmp_path):
    module, context = make(tmp_path)
    module.start()
    rows = context.inputs["rows"]
    for _ in range(1_200):
        rows.on_gap(2)
    module.stop()
    attributes = toml(tmp_path / "recording/events/attributes.toml")
    listed = sum(gap["lost"] for gap in attributes["gaps"])
    assert listed + attributes["items_lost_unlisted"] == attributes["items_lost"] == 2_400
