"""Costs that were measured in a run in real time delay the handlers of a run in virtual time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlink import recording
from tests.integration.virtual_time.test_simulated_benches import run

PORT = '[{ id = "in", data_type = "TableRow" }]'
BENCH = f"""
[bench]
name = "x"

[modules.tick]
type = "pyscript"
script = "tick.py"
ports_out = [{{ id = "out", data_type = "TableRow" }}]

[modules.loop]
type = "pyscript"
script = "loop.py"
inputs = {{ in = "tick.out" }}
ports_in = {PORT}

[modules.own]
type = "python"
main = "own.py"
inputs = {{ in = "tick.out" }}
ports_in = {PORT}

[modules.table]
type = "table"
inputs = {{ rows = "tick.out" }}
"""
TICK = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def start():
    out.set_metadata_value("table_header", ["sent"])
def run():
    while syl.is_running():
        syl.wait(50)
        out.submit([syl.time_since_start_usec()])
"""
HANDLER = """
import time
import syntalos_mlink as syl
LINK
def on_row(row):
    print("delay", syl.time_since_start_usec() - int(row[0]))
    end_s = time.process_time() + 0.002
    while time.process_time() < end_s:
        pass
    syl.wait(20)
PORT.on_data = on_row
"""


def delays(text: str, module: str) -> list[int]:
    lines = [line for line in text.splitlines() if line.startswith(f"{module} │ delay ")]
    return [int(line.split()[-1]) for line in lines]


def info(folder: Path) -> str:
    command = [sys.executable, "-m", "mlink", "info", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench with a recording "lab" of a run in real time."""
    folder = tmp_path_factory.mktemp("costs")
    (folder / "bench.toml").write_text(BENCH)
    (folder / "tick.py").write_text(TICK)
    loop = HANDLER.replace("LINK", "").replace("PORT", 'syl.get_input_port("in")')
    (folder / "loop.py").write_text(loop)
    own = HANDLER.replace("LINK", 'link = syl.init_link()\nPORT = link.register_input_port('
                          '"in", "in", syl.DataType.TableRow)')  # fmt: skip
    (folder / "own.py").write_text(f"{own}link.await_data_forever()\n")
    done = run(folder, "--for", "2", "--time", "real", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "out" / "recording").rename(folder / "lab")
    assert "handler p50" in done.stdout
    assert "virtual" not in done.stdout
    return folder


def test_a_run_in_real_time_has_the_times_of_handlers_without_their_waits(folder: Path) -> None:
    with recording.open(folder / "lab") as lab:
        times = lab.attributes["handler_times"]
        assert set(times) == {"loop", "own"}
        for module in times.values():
            assert set(module) == {"in"}
            assert min(module["in"]["usec"]) >= 1900  # computing alone
            assert sum(module["in"]["count"]) >= 5
        figures = lab.attributes["reports"]["loop"]
        assert figures["handler_p50_usec"] <= figures["handler_max_usec"]
        assert "time" not in lab["table"].attributes


def test_they_are_the_costs_of_a_run_in_virtual_time_which_is_marked_everywhere(
    folder: Path,
) -> None:
    lab = ("--set", "loop.cost=measured:lab", "--set", "own.cost=measured:lab/run.log")
    outputs = []
    for seed in ("1", "1", "2"):
        done = run(folder, "--for", "1", "--seed", seed, *lab)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The run completed after 1.0 s of virtual time" in done.stdout
        outputs.append(done.stdout)
        (folder / "out" / "recording").rename(folder / f"virtual-{len(outputs)}")
    with recording.open(folder / "lab") as opened:
        measured = opened.attributes["handler_times"]
        collection_id = opened.collection_id
    for module in ("loop", "own"):
        found = [delays(text, module) for text in outputs]
        assert found[0] == found[1]
        # the last item is handled at the stop, where no time passes
        assert len(found[0]) >= 18
        assert set(found[0][:-2]) <= set(measured[module]["in"]["usec"])
    with recording.open(folder / "virtual-1") as opened:
        assert opened.attributes["time"] == "virtual"
        assert opened.attributes["seed"] == 1
        costs = opened.attributes["cost"]
        assert {name: each["measured"] for name, each in costs.items()} == {
            "loop": "lab",
            "own": "lab/run.log",
        }
        assert {each["collection_id"] for each in costs.values()} == {collection_id}
        assert opened["table"].attributes["time"] == "virtual"
        assert "handler_times" not in opened.attributes
    shown = info(folder / "virtual-1")
    assert "in virtual time (seed 1, cost of loop as in lab, cost of own as in lab/run" in shown
    assert "virtual" not in info(folder / "lab")
    refused = run(folder, "--for", "1", "--set", "loop.cost=measured:virtual-1")
    assert refused.returncode == 2
    assert "is of virtual time, in which nothing is measured" in refused.stdout + refused.stderr


def test_the_result_has_its_kind_of_time(folder: Path) -> None:
    for kind in ("virtual", "real"):
        done = run(folder, "--for", "0.2", "--time", kind, "--json", "--no-record")
        assert json.loads(done.stdout)["time"] == kind
