"""What scripts start ends with the run, whoever was killed, and is named with its module.

A run that failed before anything flowed leaves no recording.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from mlink.cli import app
from mlink.engine.setup.workdir import remove_stale_runs
from tests.integration.runs.test_terminals import TIMEOUT_S, mlink_run, wait_for_rows
from tests.support.bench_runner import ROWS_BENCH, BenchRunner

BENCH = f"""{ROWS_BENCH}[modules.long-name-of-a-module]
type = "pyscript"
script = "daemon.py"
"""
SOURCE = """
import subprocess
from pathlib import Path
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
rows.set_metadata_value("table_header", ["number"])

def start():
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["sh", "-c", "trap '' TERM; while true; do sleep 1001; done"])
    subprocess.Popen(["setsid", "-f", "sleep", "1002"])
    subprocess.run(["sleep", "0.01"])

def run():
    number = 0
    while syl.is_running():
        rows.submit([number])
        number += 1
        Path(__file__).with_name("count").write_text(str(number))
        syl.await_data(5_000)
"""
DAEMON = """
import os, time
def start():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
"""
NAMED = {
    "(sleep 1000) that module 'source' started",
    "(sh -c trap '' TERM; while true; do sleep 1001; done) that module 'source' started",
    "(sleep 1001) that module 'source' started",
    "(sleep 1002) that module 'source' started",
    "(a fork of its own process) that module 'long-name-of-a-module' started",
}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for run folders of this test; marks all processes, which are gone afterwards."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder / "mlink"
    left = marked(folder)
    for process in left:
        process.kill()
    assert left == []


def marked(folder: Path) -> list[psutil.Process]:
    """Return the processes below a test's runs, whoever their parent is now."""
    mark = f"XDG_RUNTIME_DIR={folder}".encode()
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environment and process.pid != os.getpid():
            found.append(process)
    return found


def wait_for_none(folder: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while marked(folder):
        assert time.monotonic() < deadline, marked(folder)
        time.sleep(0.1)


def test_children_daemons_and_forks_end_with_the_run(bench: BenchRunner, runs: Path) -> None:
    result = bench.write(BENCH, source=SOURCE, daemon=DAEMON).run(2.0)
    assert result.success, result.failures
    assert marked(runs.parent) == []
    lines = [text for _, _, text in bench.watcher.logs if "was left behind" in text]
    assert len(lines) == len(NAMED)
    assert all(any(name in line for line in lines) for name in NAMED), lines
    assert result.recording_dir is not None
    assert "(sleep 1000) that module 'source'" in (result.recording_dir / "run.log").read_text()


def run_and_kill(tmp_path: Path, *victims: str) -> str:
    """Run, kill "engine" or "server" or both in mid-run, return what is printed."""
    with mlink_run(
        tmp_path, "--plain", bench=(BENCH, {"source": SOURCE, "daemon": DAEMON}),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        wait_for_rows(tmp_path)
        engine = psutil.Process(process.pid)
        pids = {"engine": process.pid, "server": engine.children()[0].pid}
        for victim in victims:
            os.kill(pids[victim], signal.SIGSTOP)  # none sees the other's end
        for victim in victims:
            os.kill(pids[victim], signal.SIGKILL)
        if victims == ("engine", "server"):
            process.wait(TIMEOUT_S)
            return ""  # what is left has its output open
        output, _ = process.communicate(timeout=TIMEOUT_S)
        return str(output.decode())


@pytest.mark.parametrize("victim", ["engine", "server"])
def test_when_one_is_killed_the_other_ends_and_names_them(
    tmp_path: Path, runs: Path, victim: str
) -> None:
    output = run_and_kill(tmp_path, victim)
    wait_for_none(runs.parent)
    assert "(sleep 1000) that module 'source' started was left behind" in output
    assert "(a fork of its own process) that module 'long-name-of" in output


def test_when_both_are_killed_the_next_start_does(
    tmp_path: Path, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_and_kill(tmp_path, "engine", "server")
    assert marked(runs.parent)
    remove_stale_runs(runs)
    wait_for_none(runs.parent)
    assert "a run that was killed: process" in caplog.text
    assert "(sleep 1000) that module 'source' started was left behind" in caplog.text
    assert list(runs.iterdir()) == []


def test_a_module_that_hangs_without_engine_is_ended(tmp_path: Path, runs: Path) -> None:
    hang = SOURCE.replace("        syl.await_data(5_000)\n", "").replace("syl.is_running()", "1")
    with mlink_run(
        tmp_path, "--plain", bench=(BENCH, {"source": hang, "daemon": DAEMON}),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        wait_for_rows(tmp_path)
        process.kill()
        output, _ = process.communicate(timeout=TIMEOUT_S)
    wait_for_none(runs.parent)
    assert b"of module 'source' was left behind, and is ended" in output


PORT = 'import syntalos_mlink as syl\nrows = syl.get_output_port("rows")\n'


@pytest.mark.parametrize("phase", ["prepare", "start", "run"])
def test_a_run_that_failed_before_anything_flowed_leaves_no_recording(
    bench: BenchRunner, phase: str
) -> None:
    source = f"{PORT}print('loaded')\ndef {phase}():\n    raise ValueError('no valve')\n"
    result = bench.write(ROWS_BENCH, source=source).run(5.0, journal=True)
    assert not result.success
    assert result.recording_dir is None
    assert not (bench.folder / "rec").exists()
    (line,) = [text for _, _, text in bench.watcher.logs if "is not kept" in text]
    assert "before anything was sent" in line


@pytest.mark.parametrize(
    "last",
    [
        "rows.submit([1])",
        "print('about to measure')",
        "import os; os.kill(os.getpid(), 9)",
    ],
)
def test_a_run_that_failed_later_keeps_its_recording(bench: BenchRunner, last: str) -> None:
    source = f"{PORT}def run():\n    {last}\n    raise ValueError('no valve')\n"
    result = bench.write(ROWS_BENCH, source=source).run(5.0)
    assert not result.success
    assert result.recording_dir is not None
    listed = CliRunner().invoke(app, ["list", str(bench.folder / "rec"), "--json"])
    (found,) = json.loads(listed.stdout)
    assert found["result"] == "failed"
    assert found["reason"].startswith("source (run): ")


def test_a_folder_with_other_recordings_stays(bench: BenchRunner) -> None:
    other = bench.folder / "rec" / "other"
    other.mkdir(parents=True)
    source = f"{PORT}def start():\n    raise ValueError('no valve')\n"
    assert not bench.write(ROWS_BENCH, source=source).run(5.0).success
    assert list((bench.folder / "rec").iterdir()) == [other]
