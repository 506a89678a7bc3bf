"""Terminals, pipes and fork servers that go away in mid-run: files are closed all the same."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from mlink.engine.status import Phase
from mlink.recording.care.verify import verify_recording
from mlink.storage.inspect import inspect_recording
from tests.support import ROOT
from tests.support.bench_runner import ROWS_BENCH, BenchRunner

SOURCE = """
import syntalos_mlink as syl
from pathlib import Path
rows = syl.get_output_port("rows")
rows.set_metadata_value("table_header", ["number"])

def run():
    number = 0
    while syl.is_running():
        rows.submit([number])
        number += 1
        print(number, "x" * 200)
        Path(__file__).with_name("count").write_text(str(number))
        syl.await_data(5_000)
"""
TIMEOUT_S = 120


def heed_signals() -> None:
    """Let a new process have the signals that a background job or nohup ignores."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def mlink_run(
    folder: Path,
    *arguments: str,
    bench: tuple[str, dict[str, str]] = (ROWS_BENCH, {"source": SOURCE}),
    **popen: object,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the bench by the command line in a session of its own, in a pseudo-terminal's place."""
    BenchRunner(folder).write(bench[0], **bench[1])
    command = [str(Path(sys.executable).with_name("mlink")), "run", ".", "--out", "rec", *arguments]
    popen.setdefault("preexec_fn", heed_signals)
    process = subprocess.Popen(  # type: ignore[call-overload]
        command, cwd=folder, start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        **popen,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_for_rows(folder: Path, count: int = 50) -> None:
    """Wait until the source has sent so many more rows."""
    path = folder / "count"

    def number() -> int:
        return int(path.read_text() or 0) if path.exists() else 0

    goal, deadline = number() + count, time.monotonic() + TIMEOUT_S
    while number() < goal:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_recording(folder: Path, *, success: bool) -> str:
    """Check that the recording has been closed, whole; return its run's reason to stop."""
    (log,) = (folder / "rec").rglob("run.log")
    summary = inspect_recording(log.parent)
    assert summary.closed
    assert summary.success is success, summary.failure_reason
    assert verify_recording(log.parent).ok
    return str(summary.attributes.get("stop_reason", ""))


def test_a_terminal_that_is_closed_ends_the_run_cleanly(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with mlink_run(
        tmp_path, stdin=theirs, stdout=theirs, stderr=theirs,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0),  # TIOCSCTTY
    ) as process:  # fmt: skip
        os.close(theirs)
        shown, deadline = b"", time.monotonic() + TIMEOUT_S
        while b"running" not in shown and time.monotonic() < deadline:
            shown += os.read(ours, 65_536)
        os.close(ours)
        assert process.wait(TIMEOUT_S) == 0
    assert "SIGHUP" in check_recording(tmp_path, success=True)


@pytest.mark.parametrize("how", ["keep-going", "nohup"])
def test_a_run_goes_on_without_its_terminal(tmp_path: Path, how: str) -> None:
    option = ["--keep-going"] if how == "keep-going" else []
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with mlink_run(
        tmp_path, *option, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        **({} if option else ignore),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        wait_for_rows(tmp_path)
        process.send_signal(signal.SIGHUP)
        wait_for_rows(tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
    assert "SIGTERM" in check_recording(tmp_path, success=True)


def test_a_reader_that_takes_nothing_delays_nothing(tmp_path: Path) -> None:
    with mlink_run(
        tmp_path, "--for", "8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while not list(tmp_path.rglob("rec/**/*.csv")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        wait_for_rows(tmp_path, 600)  # 120 kB of lines: more than a pipe holds
        while not any("stop_reason" in p.read_text() for p in tmp_path.rglob("attributes.toml")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
    assert b"The run completed" in output
    check_recording(tmp_path, success=True)


def test_a_terminal_that_nobody_reads_holds_up_nothing(tmp_path: Path) -> None:
    BenchRunner(tmp_path).write(ROWS_BENCH, source=SOURCE)
    program = (
        "import mlink.cli, mlink.cli.terminal.screen as s; s._UNREAD_S = 1.0; mlink.cli.main()"
    )
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, "run", ".", "--out", "rec", "--for", "4"],
            cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, timeout=TIMEOUT_S,
            start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert os.read(ours, 100)
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 0
    assert "4 s are over" in check_recording(tmp_path, success=True)


def test_when_the_fork_server_is_killed_the_modules_close_their_files(tmp_path: Path) -> None:
    with mlink_run(tmp_path, "--json", stdout=subprocess.PIPE) as process:
        wait_for_rows(tmp_path)
        for child in psutil.Process(process.pid).children():
            if "mlink.worker.forking.forkserver" in child.cmdline():
                child.kill()
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1
    result = json.loads(output)
    (failure,) = result["failures"]
    assert "starts the modules" in failure["message"]
    assert "signal 9" in failure["message"]
    assert failure["remedy"]
    (stream,) = result["streams"]
    (subscription,) = stream["subscriptions"]
    assert stream["sent"] == subscription["received"] > 0
    check_recording(tmp_path, success=False)


def test_a_run_that_is_interrupted_before_its_start_has_failed(bench: BenchRunner) -> None:
    bench.write(ROWS_BENCH, source="import time\ntime.sleep(1)\n" + SOURCE)
    bench.watcher.on_phase[Phase.PREPARE] = bench.stop
    result = bench.run(60.0)
    assert not result.success
    (failure,) = result.failures
    assert failure.message == "ended before its start: the test asked"


DIRECT = """
import os, subprocess
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
rows.set_metadata_value("table_header", ["number"])

def run():
    number = 0
    while syl.is_running():
        os.write(1, b"x" * 5_000 + b"\\n")
        os.write(2, b"y" * 5_000 + b"\\n")
        subprocess.run(["echo", "z" * 5_000], check=True)
        rows.submit([number])
        number += 1
        syl.wait(5)
"""


def test_a_script_that_writes_to_descriptors_does_not_notice_a_reader_that_goes(
    tmp_path: Path,
) -> None:
    bench = (ROWS_BENCH, {"source": DIRECT})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with mlink_run(tmp_path, "--for", "2", "--plain", bench=bench, **streams) as process:
        assert process.stdout is not None
        process.stdout.read(300)
        process.stdout.close()
        assert process.wait(TIMEOUT_S) == 0
    check_recording(tmp_path, success=True)


LONG_LINES = """
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
rows.set_metadata_value("table_header", ["number"])

def run():
    number = 0
    while syl.is_running():
        print("x" * 10_000)
        rows.submit([number])
        number += 1
        syl.wait(20)
"""


def test_a_reader_that_pauses_until_lines_are_left_out_ends_no_run(tmp_path: Path) -> None:
    bench = (ROWS_BENCH, {"source": LONG_LINES})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with mlink_run(tmp_path, "--for", "10", "--plain", bench=bench, **streams) as process:
        deadline = time.monotonic() + TIMEOUT_S

        def printed() -> int:
            return sum(path.stat().st_size for path in (tmp_path / "rec").rglob("run.log"))

        while printed() < 1_400_000 and process.poll() is None:  # more than is kept for a reader
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert process.stdout is not None
        shown = process.stdout.read().decode()
        assert process.wait(TIMEOUT_S) == 0, shown[-2_000:]
    assert "lines left out\n" in shown
    assert "internal error" not in shown
    check_recording(tmp_path, success=True)
