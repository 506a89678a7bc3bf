"""A module that stands still is named with its place, and no wait for it is without a limit."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from mlink.bench import load_bench
from mlink.engine import companions, guests, reaching
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.setup import devices
from mlink.engine.status import Phase
from mlink.errors import MlinkError
from mlink.recording.care.verify import verify_recording
from tests.support.bench_runner import ROWS_BENCH, BenchRunner, worker_pid

ONE = """
[bench]
name = "one"
[modules.still]
type = "pyscript"
script = "still.py"
"""
TWO_RECORDERS = """
[bench]
name = "two"
[modules.camera]
type = "camera-generic"
device = "virtual:scene?seed=3"
size = [160, 120]
framerate = 50
[modules.hangs]
type = "videorecorder"
video_codec = "av1"
video_name_from_source = false
video_name = "hangs"
inputs = { frames-in = { from = "camera.video", queue = 16 } }
[modules.whole]
type = "videorecorder"
video_name_from_source = false
video_name = "whole"
inputs = { frames-in = "camera.video" }
"""
HANGING_ENCODER = """
import ctypes
from mlink.modules.video.writer import VideoWriter

send = VideoWriter._packets

def hang(writer, picture):
    libc = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(128)
    while "hangs" in writer.path.stem and writer.frames == 10:
        libc.pthread_mutex_lock(mutex)  # no signal interrupts the second, as in an encoder
    return send(writer, picture)

VideoWriter._packets = hang
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
    assert (failure.module, failure.phase) == ("still", "prepare")
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


def test_a_hanging_encoder_is_named_and_the_other_recorder_has_every_frame(
    bench: BenchRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "sitecustomize.py").write_text(HANGING_ENCODER)
    monkeypatch.setenv("PYTHONPATH", str(bench.folder))
    result = bench.write(TWO_RECORDERS).run(2.0, stop_grace_s=2.0)
    assert [failure.module for failure in result.failures] == ["hangs"], result.failures
    (failure,) = result.failures
    assert "sitecustomize.py:11 (hang)" in failure.message
    assert "its queue of 16 was full" in bench.watcher.log_text()

    (stream,) = [each for each in result.streams if each.name == "camera.video"]
    counts = {each.module: each for each in stream.subscriptions}
    for each in counts.values():
        assert stream.sent == each.received + each.lost + each.queued
    assert counts["hangs"].lost > 0
    assert counts["hangs"].queued > 0
    # A machine that stands still for a while costs frames before the camera has sent them.
    assert counts["whole"].lost == stream.lost_at_source
    assert result.recording_dir is not None
    assert result.reports["whole"]["frames_written"] == counts["whole"].received > 0
    report = verify_recording(result.recording_dir, decode=True)
    of_whole = [each for each in report.findings if each.dataset == "videos/whole"]
    assert [each.level for each in of_whole] == ["incomplete"] * (stream.lost_at_source > 0)
    (finding,) = (each for each in report.of_level("incomplete") if each not in of_whole)
    assert finding.text.startswith(f"{stream.sent} of {stream.sent} item(s)")
    assert finding.dataset == "videos/hangs"


def stop_process(pid: int) -> None:
    """Stop a process, and wait until it has taken the signal."""
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)


def test_a_stopped_worker_is_named_and_ended(bench: BenchRunner) -> None:
    def stop_it() -> None:
        stop_process(worker_pid("still"))
        bench.stop()

    bench.write(ONE, still="").when_running(0.2, stop_it)
    result = bench.run(60.0, stop_grace_s=0.5)
    (failure,) = result.failures
    assert failure.module == "still"
    assert "is stopped (to continue it: kill -CONT" in failure.message


def fork_server() -> int:
    for process in psutil.Process().children(recursive=True):
        if "mlink.worker.forking.forkserver" in process.cmdline() and "ml:" not in process.name():
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
    def stop_it() -> None:
        stop_process(fork_server())
        bench.stop()

    bench.write(ONE, still="").when_running(0.2, stop_it)
    result = bench.run(60.0)
    assert result.success, result.failures
    assert "the fork server was stopped" in bench.watcher.log_text()


DEVICE = """
[bench]
name = "one"
[devices]
box = "odd:box"
[modules.board]
type = "firmata-io"
device = "box"
"""
ROWS = """
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
rows.set_metadata_value("table_header", ["number"])
def run():
    while syl.is_running():
        rows.submit([1])
        syl.await_data(10_000)
"""


@pytest.fixture
def hangs(monkeypatch):
    """A device that never opens, and a gate that lets it go on."""
    gate = threading.Event()

    @contextmanager
    def open_it(**_):
        gate.wait(300)
        yield None

    monkeypatch.setattr(guests, "_SHOWN_AFTER_S", 0.5)
    monkeypatch.setattr(devices, "device_provider", lambda _: SimpleNamespace(open=open_it))
    yield gate
    gate.set()


@pytest.mark.parametrize("asked", [False, True])
def test_a_device_that_never_opens_is_not_waited_for(
    bench: BenchRunner, hangs: threading.Event, asked: bool
) -> None:
    bench.write(DEVICE)
    if asked:
        timer = threading.Timer(1.5, bench.stop)
        bench.watcher.on_phase[Phase.SPAWN] = timer.start
    result = bench.run(60.0, load_timeout_s=120.0 if asked else 2.0)
    (failure,) = result.failures
    if asked:
        assert failure.message == "ended before its start: the test asked"
        assert "the run does not wait for it" in bench.watcher.log_text()
    else:
        assert failure.message == "device 'box' (odd:box) is not ready after 2 s"
        assert failure.remedy
    assert "device 'box' (odd:box) is not ready after 0.5 s" in bench.watcher.log_text()


def test_a_companion_that_fails_at_the_end_costs_no_data(
    bench: BenchRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def accompany(_given, _live):
        yield
        raise MlinkError("the lamp did not go off")

    monkeypatch.setattr(companions, "companion", lambda _: SimpleNamespace(accompany=accompany))
    bench.write(ROWS_BENCH, source=ROWS)
    checked = replace(load_bench(bench.folder / "bench.toml"), companions={"lamp": {}})
    options = RunOptions(duration_s=1.0, out_dir=bench.folder / "rec")
    bench.engine = Engine(checked, options, bench.watcher)
    result = bench.engine.run()
    (failure,) = result.failures
    assert failure.message == "the lamp did not go off"
    (stream,) = result.streams
    (subscription,) = stream.subscriptions
    assert stream.sent == subscription.received > 0
