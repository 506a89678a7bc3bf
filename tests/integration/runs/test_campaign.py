"""`mlink run --repeat N --every PERIOD`: runs at their turns, a summary, a clean end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink.cli import app

BENCH = """
[modules.work]
type = "pyscript"
script = "work.py"
ports_in = []
ports_out = [{ id = "rows", data_type = "TableRow" }]

[modules.rows]
type = "table"
inputs = { rows = "work.rows" }
"""

SCRIPT = """
import pathlib
import syntalos_mlink as syl

rows = syl.get_output_port("rows")
count = pathlib.Path(__file__).with_name("count")


def start():
    runs = len(count.read_text()) + 1 if count.exists() else 1
    count.write_text("x" * runs)
    rows.submit([runs])
    if runs == FAILS:
        raise RuntimeError("this one fails")
"""


def bench(tmp_path: Path, fails: int = 0) -> str:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "work.py").write_text(SCRIPT.replace("FAILS", str(fails)))
    return str(tmp_path)


def run(folder: str, *options: str) -> tuple[int, dict[str, object]]:
    out = str(Path(folder) / "out")
    arguments = ["run", folder, "--for", "0.2", "--out", out, "--json", *options]
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1])


def test_each_run_is_recorded_and_summed_up(tmp_path: Path) -> None:
    code, found = run(bench(tmp_path), "--repeat", "3")
    assert code == 0
    assert found["success"] is True
    assert [each["run"] for each in found["runs"]] == [1, 2, 3]
    folders = {each["result"]["recording_dir"] for each in found["runs"]}
    assert len(folders) == 3
    tables = [next(Path(folder).rglob("*.csv")).read_text() for folder in folders]
    assert sorted(tables) == ["1\n", "2\n", "3\n"]


def test_a_run_that_fails_makes_the_campaign_fail_but_not_end(tmp_path: Path) -> None:
    code, found = run(bench(tmp_path, fails=2), "--repeat", "3")
    assert code == 1
    assert found["failed"] == 1
    assert [each["result"]["success"] for each in found["runs"]] == [True, False, True]
    assert "this one fails" in found["runs"][1]["result"]["failures"][0]["message"]


def test_runs_start_a_period_apart(tmp_path: Path) -> None:
    _, found = run(bench(tmp_path), "--repeat", "2", "--every", "3s")
    first, second = (datetime.fromisoformat(each["started"]) for each in found["runs"])
    late_s = found["runs"][1]["late_s"]
    # `started` is a moment after the lateness was measured; never before.
    assert (second - first).total_seconds() > 3 + late_s - 0.05 - found["runs"][0]["late_s"]


def test_a_run_that_takes_too_long_delays_the_next_and_reports_it(tmp_path: Path) -> None:
    _, found = run(bench(tmp_path), "--repeat", "2", "--every", "10ms")
    assert found["runs"][1]["late_s"] > 0.1


def test_people_get_a_table(tmp_path: Path) -> None:
    folder = bench(tmp_path, fails=2)
    options = ["--for", "0.2", "--no-record", "--repeat", "2", "--plain"]
    done = CliRunner().invoke(app, ["run", folder, *options])
    assert done.exit_code == 1
    assert "✘ 1 of 2 runs failed" in done.stdout
    assert "✔ completed" in done.stdout
    assert "work (start): " in done.stdout


@pytest.mark.parametrize("when", ["between runs", "during a run"])
def test_ctrl_c_ends_the_campaign_cleanly(when: str, tmp_path: Path) -> None:
    length = "0.2" if when == "between runs" else "60"
    command = [
        str(Path(sys.executable).with_name("mlink")),
        "run",
        bench(tmp_path),
        "--for",
        length,
    ]
    command += ["--every", "1h", "--out", str(tmp_path / "out"), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        deadline = time.monotonic() + 60
        ready = (tmp_path / "count").exists
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.05)
        if when == "between runs":
            while not _has_ended(tmp_path / "out") and time.monotonic() < deadline:
                time.sleep(0.05)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    found = json.loads(out)
    assert found["stopped"] == "interrupted by Ctrl-C"
    assert len(found["runs"]) == 1
    assert found["runs"][0]["result"]["success"] is True


def _has_ended(out: Path) -> bool:
    return any("success = true" in path.read_text() for path in out.glob("*/*/attributes.toml"))
