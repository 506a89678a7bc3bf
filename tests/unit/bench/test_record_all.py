"""`record = "all"`: each stream gets a recorder of its kind, once."""

from __future__ import annotations

import pytest

from mlink.bench import load_bench
from mlink.bench.record_all import RECORDERS, unrecorded
from mlink.catalog import module_types
from mlink.errors import BenchError
from mlink.module import Category
from mlink.types import DataType

BENCH = """
[bench]
{head}
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [
    {{ id = "frames", data_type = "Frame" }},
    {{ id = "rows", data_type = "TableRow" }},
    {{ id = "lines", data_type = "LineReading" }},
    {{ id = "floats", data_type = "SignalBlockF32" }},
    {{ id = "ints", data_type = "SignalBlockI32" }},
    {{ id = "words", data_type = "SignalBlockU16" }},
    {{ id = "commands", data_type = "LineCommand" }},
    {{ id = "control", data_type = "ControlCommand" }},
]
[modules.table]
type = "table"
inputs = {{ rows = "source.rows" }}
[modules.window]
type = "canvas"
inputs = {{ frames-in = "source.frames" }}
"""


@pytest.fixture
def load(tmp_path):
    def load(head="", **options):
        (tmp_path / "source.py").touch()
        (tmp_path / "bench.toml").write_text(BENCH.format(head=head))
        return load_bench(tmp_path, **options)

    return load


def recorders(bench):
    return {
        (connection.source_module, connection.source_port): module.type.id
        for module in bench.modules.values()
        if module.type.category is Category.WRITER
        for connection in module.connections
    }


def test_without_it_nothing_is_added_and_what_is_not_recorded_is_known(load):
    bench = load()
    assert list(bench.modules) == ["source", "table", "window"]
    missing = [f"{name}.{port.id}" for name, port in unrecorded(bench.modules)]
    assert missing == [
        "source.frames",
        "source.lines",
        "source.floats",
        "source.ints",
        "source.words",
    ]


@pytest.mark.parametrize(("head", "options"), [('record = "all"', {}), ("", {"record_all": True})])
def test_each_stream_without_a_recorder_gets_one_of_its_kind(load, head, options):
    bench = load(head, **options)
    assert unrecorded(bench.modules) == []
    assert recorders(bench) == {
        ("source", "frames"): "videorecorder",
        ("source", "rows"): "table",
        ("source", "lines"): "jsonwriter",
        ("source", "floats"): "jsonwriter",
        ("source", "ints"): "jsonwriter",
        ("source", "words"): "jsonwriter",
    }
    assert bench.modules["record-source-lines"].settings.data_name == "source-lines"


def test_another_word_is_refused(load):
    with pytest.raises(BenchError, match=r"\[bench\] record"):
        load('record = "everything"')


@pytest.mark.parametrize("data_type", [*DataType])
def test_every_type_of_data_has_a_recorder_that_takes_it(data_type):
    if data_type in {DataType.LineCommand, DataType.ControlCommand}:
        assert data_type not in RECORDERS
        return
    kind, settings = RECORDERS[data_type]
    made = module_types()[kind]
    inputs, _ = made.ports_for(made.settings(**settings))
    assert [spec.data_type for spec in inputs].count(data_type) == 1


def test_names_of_recorders_are_valid_and_different_whatever_the_ports_are_called(tmp_path):
    ids = ["x" * 90, "x" * 91, "a.b", "a b", "a-b", "ä"]
    ports = ", ".join(f'{{ id = "{each}", data_type = "TableRow" }}' for each in ids)
    (tmp_path / "s.py").touch()
    (tmp_path / "bench.toml").write_text(
        f'[modules.s]\ntype = "pyscript"\nscript = "s.py"\nports_out = [{ports}]\n'
        '[modules.record-s-a-b]\ntype = "table"\n'
    )
    bench = load_bench(tmp_path, record_all=True)
    assert len(recorders(bench)) == len(ids)
    assert len(bench.modules) == 2 + len(ids)
