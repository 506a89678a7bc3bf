"""Signals to `mlink run`: a clean end, or what a SIGKILL leaves; never an end without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink.cli import app
from mlink.recording.care.verify import verify_recording
from mlink.storage.edl import UNCLOSED
from mlink.storage.manifest import read_toml
from tests.integration.runs.test_nothing_left import wait_for_none
from tests.integration.runs.test_terminals import (
    TIMEOUT_S,
    check_recording,
    heed_signals,
    mlink_run,
    wait_for_rows,
)
from tests.support.bench_runner import ROWS_BENCH
from tests.support.recorded.files import folder_of

REQUESTS = ["SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU", "SIGPWR", "SIGRTMIN"]
FAULTS = ["SIGABRT", "SIGSEGV", "SIGTRAP", "SIGSYS"]
BUSY_IMPORT = """
import pathlib, time
pathlib.Path(__file__).with_name("importing").touch()
time.sleep(600)
"""


@pytest.mark.parametrize("name", REQUESTS)
def test_a_signal_that_asks_for_the_end_ends_a_run_cleanly(tmp_path: Path, name: str) -> None:
    with mlink_run(tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_rows(tmp_path)
        for _ in range(2 if name in ("SIGUSR1", "SIGXCPU") else 1):  # no impatience of a person
            process.send_signal(getattr(signal, name))
        assert process.wait(TIMEOUT_S) == 0
    reason = check_recording(tmp_path, success=True)
    assert reason.startswith("interrupted by ")
    assert name in reason or str(int(getattr(signal, name))) in reason


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGHUP"])
def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    with mlink_run(
        tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    ) as process:  # fmt: skip
        wait_for_rows(tmp_path)
        process.send_signal(number)
        wait_for_rows(tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
    assert "SIGTERM" in check_recording(tmp_path, success=True)


@pytest.mark.parametrize("name", [*FAULTS, "SIGKILL"])
def test_a_fault_of_the_engine_leaves_what_a_kill_leaves(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorders close their files; the recording itself is closed by `mlink repair`."""
    mark = tmp_path / "runs"
    mark.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(mark))
    number = getattr(signal, name)
    with mlink_run(tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_rows(tmp_path, 200)
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == -number
        (log,) = (tmp_path / "rec").rglob("run.log")
        recording, deadline = log.parent, time.monotonic() + TIMEOUT_S
        rows = folder_of(recording, "rows")
        while "row_count" not in read_toml(rows / "attributes.toml"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    wait_for_none(mark)  # of its workers: the table's manifest comes last
    assert read_toml(recording / "attributes.toml")["failure_reason"] == UNCLOSED
    found = [(each.level, each.dataset) for each in verify_recording(recording).findings]
    assert found == [("unfinished", "")]
    repaired = CliRunner().invoke(app, ["repair", str(recording)])
    assert repaired.exit_code == 0, repaired.output
    assert verify_recording(recording).intact


@pytest.mark.parametrize("module", ["typer", "rich", "msgspec"])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("SIGINT", "interrupted"),
        ("SIGTERM", "ended by SIGTERM"),
        ("SIGHUP", "ended by SIGHUP"),
        ("SIGQUIT", "ended by SIGQUIT"),
        ("SIGUSR1", "ended by SIGUSR1"),
    ],
)
def test_a_signal_while_mlink_imports_is_one_line(
    tmp_path: Path, module: str, name: str, line: str
) -> None:
    (tmp_path / f"{module}.py").write_text(BUSY_IMPORT)
    (tmp_path / "bench.toml").write_text(ROWS_BENCH)
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("mlink")), "run", "."],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=heed_signals,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + TIMEOUT_S
        while not (tmp_path / "importing").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        number = getattr(signal, name)
        process.send_signal(number)
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert (out, err, process.returncode) == ("", f"{line}\n", 128 + number)


def test_ctrl_c_before_there_is_a_handler_is_no_traceback(tmp_path: Path) -> None:
    """`typing` stands for what the first lines of mlink import, which takes a while."""
    (tmp_path / "typing.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise SystemExit('goes on')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mlink", "list"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, text=True,
        capture_output=True, preexec_fn=heed_signals, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("", "", -signal.SIGINT)
