"""Measured costs: which recording and which times are taken, and what is refused in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from mlink.bench import load_bench
from mlink.cli import app
from mlink.engine.virtual_time.costs import costs_of
from mlink.engine.virtual_time.simulated import in_virtual_time
from mlink.errors import BenchError
from mlink.worker_spec import Cost

BENCH = """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "a", data_type = "TableRow" }, { id = "b", data_type = "TableRow" }]
"""
TIMES = {"loop": {"a": {"usec": [100, 900], "count": [99, 1]}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loop.py").write_text("")
    (tmp_path / "main.py").write_text("")
    (tmp_path / "bench.toml").write_text(BENCH)
    record(tmp_path / "lab", handler_times=TIMES)
    return tmp_path


def record(folder: Path, kind: str = "collection", **attributes: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.toml").write_text(f'type = "{kind}"\ncollection_id = "0123"\n')
    (folder / "attributes.toml").write_text(tomli_w.dumps(attributes))


def costs(folder: Path, cost: object = "measured:lab", **more: object):
    settings = {"loop.cost": cost, **{f"loop.{key}": value for key, value in more.items()}}
    return costs_of(load_bench(folder / "bench.toml", overrides=settings))


def refusal(folder: Path, cost: str = "measured:lab") -> str:
    with pytest.raises(BenchError) as caught:
        costs(folder, cost)
    assert caught.value.remedy
    return caught.value.message


def test_an_input_has_its_own_times_or_those_of_all(folder: Path) -> None:
    times = Cost([100, 900], [99, 1])
    assert costs(folder).by_module == {"loop": {"a": times, "b": times}}
    two = {"loop": {"a": TIMES["loop"]["a"], "c": {"usec": [50, 100], "count": [1, 2]}}}
    record(folder / "lab", handler_times=two)
    pooled = Cost([50, 100, 900], [1, 101, 1])
    assert costs(folder).by_module == {"loop": {"a": times, "b": pooled}}


def test_the_recording_states_them(folder: Path) -> None:
    stated = {"p50_usec": 100, "p99_usec": 100, "max_usec": 900}
    assert costs(folder).attributes == {
        "cost": {"loop": {"measured": "lab", "collection_id": "0123", **stated}}
    }
    assert costs(folder, "", cost_usec=5).attributes == {"cost_usec": {"loop": 5}}
    assert costs(folder, "").attributes == {}


def test_the_id_that_a_seed_gives_follows_from_the_times(folder: Path) -> None:
    def run_uuid() -> bytes | None:
        settings = {"loop.cost": "measured:lab"}
        bench = load_bench(folder / "bench.toml", overrides=settings)
        virtual, made, _ = in_virtual_time(bench, 1.0, seed=7)
        assert virtual.seed == 7
        return made

    first = run_uuid()
    assert run_uuid() == first
    record(folder / "lab", handler_times={"loop": {"a": {"usec": [100], "count": [99]}}})
    assert run_uuid() != first


@pytest.mark.parametrize("inside", ["lab", "lab/attributes.toml", "lab/video", "lab/video/0.mkv"])
def test_a_file_in_the_recording_names_it_too(folder: Path, inside: str) -> None:
    record(folder / "lab/video", kind="dataset")
    (folder / "lab/video/0.mkv").write_bytes(b"")
    assert costs(folder, f"measured:{inside}").by_module["loop"]
    assert costs(folder, f"measured:{folder / inside}").by_module["loop"]


def test_a_program_has_costs_as_a_script_has(folder: Path) -> None:
    text = BENCH.replace("pyscript", "python").replace('script = "loop.py"', 'main = "main.py"')
    (folder / "bench.toml").write_text(text)
    assert costs(folder).by_module["loop"]["a"] == Cost([100, 900], [99, 1])
    assert costs(folder, "", cost_usec=5).by_module["loop"]["b"] == Cost([5], [1])


def test_what_is_no_recording_of_real_time_is_refused(folder: Path) -> None:
    assert "there is no recording at" in refusal(folder, "measured:absent")
    assert "there is no recording at" in refusal(folder, "measured:lab/absent")
    assert "there is no recording at" in refusal(folder, "measured:loop.py")
    for attributes in ({"time": "virtual"}, {"replay_of": "0123"}):
        record(folder / "lab", handler_times=TIMES, **attributes)
        assert "is of virtual time, in which nothing is measured" in refusal(folder)


@pytest.mark.parametrize(
    "times",
    [3, {"loop": 3}, {"loop": {"a": {"usec": [-1], "count": [1]}}}, {"loop": {"a": {"usec": []}}},
     {"loop": {"a": {"usec": ["x"], "count": [1]}}},
     {"loop": {"a": {"usec": [1, 2], "count": [1]}}}, {"loop": {"a": {"usec": [], "count": []}}}],
)  # fmt: skip
def test_damaged_times_are_refused(folder: Path, times: object) -> None:
    record(folder / "lab", handler_times=times)
    assert "is damaged: " in refusal(folder)


def test_a_module_without_times_is_named_with_those_that_have_some(folder: Path) -> None:
    record(folder / "lab", handler_times={"first": TIMES["loop"], "second": TIMES["loop"]})
    assert re.search("handlers of first, second, not of loop", refusal(folder))
    record(folder / "lab")
    assert re.search("handlers of no module, not of loop", refusal(folder))


@pytest.mark.parametrize("cost", ["measured:", "lab", "MEASURED:lab", "800"])
def test_another_form_is_an_error_of_the_bench(folder: Path, cost: str) -> None:
    assert "is not of the form" in refusal(folder, cost)


def test_both_are_an_error_of_the_bench(folder: Path) -> None:
    with pytest.raises(BenchError, match="give either cost_usec or cost"):
        costs(folder, cost_usec=5)


def test_check_names_a_missing_recording_of_costs_before_a_run_needs_it(folder: Path) -> None:
    command = ["check", str(folder / "bench.toml"), "--set", "loop.cost=measured:none", "--json"]
    real = CliRunner().invoke(app, command)
    assert json.loads(real.stdout)["problems"] == []  # costs are for virtual time
    virtual = CliRunner().invoke(app, [*command, "--time", "virtual"])
    (problem,) = json.loads(virtual.stdout)["problems"]
    assert "there is no recording at" in problem["what"]
