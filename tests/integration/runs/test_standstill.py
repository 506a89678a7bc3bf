"""A module that stands still is named with its place, and no wait for it is without a limit."""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil
import pytest

from mlink.engine import reaching
from mlink.engine.status import Phase
from tests.support.bench_runner import BenchRunner, worker_pid

ONE = """
[bench]
name = "one"
[modules.still]
type = "pyscript"
script = "still.py"
"""
LOOP = """
import time
def turn():
    while True:
        time.sleep(0.01)
"""


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(reaching, "_SHOWN_AFTER_S", 1.0)


@pytest.mark.parametrize(
    "call",
    ["turn()", "def prepare(): turn()"],
    ids=["top level", "prepare"],
)
def test_a_preparation_without_end_is_reported_and_ended(
    bench: BenchRunner, impatient: None, call: str
) -> None:
    bench.write(ONE, still=f"{LOOP}\n{call}\n")
    result = bench.run(1.0, prepare_timeout_s=2.5, stop_grace_s=0.5)
    (failure,) = result.failures
    assert failure.module == "still"
    assert "was not ready within 2.5 s" in failure.message
    assert "still.py:5" in failure.message
    assert "still preparing after 1 s: it stands at still.py:5 (turn)" in bench.watcher.log_text()


def test_a_start_without_end_ends_with_the_length_of_the_run(bench: BenchRunner) -> None:
    bench.write(ONE, still=f"{LOOP}\ndef start(): turn()\n")
    began = time.monotonic()
    result = bench.run(0.5, start_timeout_s=600.0, stop_grace_s=1.0)
    assert time.monotonic() - began < 300
    (failure,) = result.failures
    assert failure.phase == "start"
    assert "had not started when the 0.5 s of the run were over" in failure.message
    assert "still.py:5" in failure.message


def test_a_call_in_c_that_cannot_be_interrupted_is_named_by_its_line(bench: BenchRunner) -> None:
    script = """
import ctypes
def run():
    ctypes.PyDLL(None).sleep(3600)  # holds the interpreter lock
"""
    result = bench.write(ONE, still=script).run(0.3, stop_grace_s=0.5)
    assert not result.success
    assert "it stands at still.py:4 (run)" in bench.watcher.log_text()
    assert "still.py:4 (run)" in result.failures[0].message


def test_a_stopped_worker_is_named_and_ended(bench: BenchRunner) -> None:
    bench.write(ONE, still="")
    bench.when_running(0.2, lambda: os.kill(worker_pid("still"), signal.SIGSTOP))
    result = bench.run(1.0, stop_grace_s=0.5)
    (failure,) = result.failures
    assert failure.module == "still"
    assert "is stopped (to continue it: kill -CONT" in failure.message


def fork_server() -> int:
    for process in psutil.Process().children(recursive=True):
        if "mlink.worker.forkserver" in process.cmdline() and "ml:" not in process.name():
            return int(process.pid)
    raise AssertionError("no fork server runs")


def test_a_stopped_fork_server_does_not_hold_up_the_load(
    bench: BenchRunner, impatient: None
) -> None:
    bench.write(ONE, still="")
    bench.watcher.on_phase[Phase.SPAWN] = lambda: threading.Thread(target=stop_early).start()

    def stop_early() -> None:
        while True:
            try:
                os.kill(fork_server(), signal.SIGSTOP)
            except (AssertionError, psutil.Error):
                continue
            return

    result = bench.run(1.0, load_timeout_s=2.5, stop_grace_s=0.5)
    (failure,) = result.failures
    assert failure.module == "still"
    assert "the fork server is stopped" in failure.message


def test_a_stopped_fork_server_does_not_hold_up_the_end(bench: BenchRunner) -> None:
    bench.write(ONE, still="")
    bench.when_running(0.2, lambda: os.kill(fork_server(), signal.SIGSTOP))
    result = bench.run(1.0)
    assert result.success, result.failures
    assert "the fork server was stopped" in bench.watcher.log_text()
