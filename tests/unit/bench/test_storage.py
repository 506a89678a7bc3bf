"""`[storage]` and `[[subject]]` of a bench: where a run is recorded, and of whom."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import mlink
from mlink.bench import Bench, load_bench
from mlink.bench.subject import Subject
from mlink.errors import BenchError
from mlink.storage.place import Storage, moniker

MODULES = """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "rows", data_type = "TableRow" }]
[modules.table]
type = "table"
inputs = { rows = "loop.rows" }
"""
SCRIPT = """
import syntalos_mlink as syl
def start():
    syl.get_output_port("rows").submit([1])
"""
LIST = """
[[subject]]
id = "m7"
group = "control"
comment = "left-handed"
[[subject]]
id = "m3"
active = false
"""


def load(folder: Path, text: str) -> Bench:
    (folder / "loop.py").write_text(SCRIPT)
    (folder / "bench.toml").write_text(text + MODULES)
    return load_bench(folder)


def test_the_options_of_a_bench(tmp_path: Path) -> None:
    text = """[storage]
order = ["time", "experiment-id"]
experiment_id = "t{n}"
clock_time_in_dir = true
flat_root = true
add_moniker = true
"""
    expected = Storage(("time", "experiment-id"), "t{n}", True, True, True)
    assert load(tmp_path, text).storage == expected
    assert load(tmp_path, "").storage == Storage()


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("order = ['mood']", "[storage] order", "'mood' is not a folder of a recording's path"),
        ("order = ['time', 'time']", "[storage] order", "'time' is in the order twice"),
        ("order = 'time'", "[storage] order", "expected 'array'"),
        ("flat_rot = true", "[storage] flat_rot", "unknown key"),
        ("add_moniker = 1", "[storage] add_moniker", "expected 'bool'"),
        ("experiment_id = 'a\u009b'", "[storage] experiment_id", "must be one line"),
        (f"experiment_id = '{'x' * 101}'", "[storage] experiment_id", "must be one line"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(BenchError) as caught:
        load(tmp_path, f"[storage]\n{text}\n")
    (problem,) = caught.value.problems
    assert problem.where == where
    assert what in problem.what


def test_a_run_is_recorded_there(tmp_path: Path) -> None:
    bench = load(
        tmp_path, "[storage]\nexperiment_id='t{n}'\nadd_moniker=true\norder=['experiment-id']"
    )
    for number in (1, 2):
        done = mlink.run(bench, duration_s=0.1, out=tmp_path / "rec", time="virtual")
        assert done.recording_dir == tmp_path / "rec" / f"t{number}"
        attributes = tomllib.loads((done.recording_dir / "attributes.toml").read_text())
        assert attributes["collection_name"] == f"t{number}"
        with mlink.open_recording(done.recording_dir) as recording:
            run_id = bytes.fromhex(recording.collection_id.replace("-", ""))
            assert recording.manifest["collection_moniker"] == moniker(run_id)
    done = mlink.run(bench, duration_s=0.1, out=tmp_path / "rec", time="virtual", order=[])
    assert done.recording_dir == tmp_path / "rec" / "recording"


def test_a_run_takes_a_subject_of_the_list(tmp_path: Path) -> None:
    bench = load(tmp_path, LIST)
    assert [each.id for each in bench.subjects] == ["m7", "m3"]
    assert bench.subject_of("") == Subject()
    assert bench.subject_of("m7").facts == {
        "id": "m7", "group": "control", "comment": "left-handed",
    }  # fmt: skip
    assert bench.subject_of("", Subject(id="m7", sex="F")).group == "control"
    assert bench.subject_of("", Subject(id="m9", sex="F")).facts == {"id": "m9", "sex": "F"}
    with pytest.raises(BenchError, match="no subject 'm8' in the bench") as caught:
        bench.subject_of("m8")
    assert "Known subjects: m7." in caught.value.remedy
    with pytest.raises(BenchError, match="'m3' is not active"):
        bench.subject_of("m3")
    done = mlink.run(bench, duration_s=0.1, out=tmp_path / "rec", time="virtual", subject="m7")
    attributes = tomllib.loads((done.recording_dir / "attributes.toml").read_text())
    assert attributes["subject_group"] == "control"
    assert attributes["subject_comment"] == "left-handed"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[[subject]]\ngroup = 'x'", "[subject] 1.id", "is missing"),
        ("[[subject]]\nid = 'a'\n[[subject]]\nid = 'a'", "[subject] 2.id", "'a' is there twice"),
        ("[[subject]]\nid = 'a'\nsex = 'x'", "[subject] 1.sex", "'x' is not sex"),
    ],
)
def test_what_is_wrong_in_the_list_is_named(
    tmp_path: Path, text: str, where: str, what: str
) -> None:
    with pytest.raises(BenchError) as caught:
        load(tmp_path, text + "\n")
    (problem,) = caught.value.problems
    assert (problem.where, problem.what) == (where, what)
