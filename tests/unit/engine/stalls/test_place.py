"""Where a worker stands: the line of the user, the state of its process; nothing if not known."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlink.engine.stalls.place import describe, place_of
from mlink.engine.workers import State
from tests.support import ROOT
from tests.support.engine_fakes import FakeWorker

BENCH = Path("/home/me/bench")
MLINK = str(ROOT / "runtime/mlink/module.py")


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([("/home/me/bench/loop.py", 3, "stop"), (MLINK, 9, "run")], "loop.py:3 (stop)"),
        ([("/home/me/bench/lib/a.py", 3, "<module>")], "lib/a.py:3"),
        (
            [("/usr/lib/python3.11/threading.py", 324, "wait"), ("/x/my.py", 4, "f")],
            "my.py:4 (f), in threading.py:324 (wait)",
        ),
        ([(MLINK, 9, "run")], "module.py:9 (run)"),
        ([], ""),
    ],
)
def test_the_innermost_line_of_the_users_is_shown(frames, text):
    assert describe(frames, BENCH) == text


ANSWERS = """
import sys, threading
from pathlib import Path
from mlink.worker.place import answer_for_place
answer_for_place(Path(sys.argv[1]), "loop")
lock = threading.Lock()
lock.acquire()
print("ready", flush=True)
lock.acquire()
"""


@pytest.fixture
def process(tmp_path, request):
    (tmp_path / "loop.py").write_text(request.param)
    command = [sys.executable, tmp_path / "loop.py", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.fixture
def worker(process):
    fake = FakeWorker("loop")
    fake.handle.pid = process.pid
    yield fake.handle
    fake.close()


@pytest.mark.parametrize("process", [ANSWERS], indirect=True)
def test_a_process_in_a_call_of_c_answers_again_and_again(worker, tmp_path):
    deadline = time.monotonic() + 30  # it may still be on its way from the line that prints
    while place_of(worker, tmp_path, tmp_path).text != "it stands at loop.py:9":
        assert time.monotonic() < deadline
    for _ in range(3):
        assert place_of(worker, tmp_path, tmp_path).text == "it stands at loop.py:9"


WAITS_IN_C = """
import ctypes, signal, sys, time
from pathlib import Path
from mlink.worker.place import answer_for_place
answer_for_place(Path(sys.argv[1]), "loop")
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
def wait():
    print("ready", flush=True)
    left = ctypes.PyDLL(None).sleep(3600)  # holds the interpreter lock
    print(f"{left} s left", flush=True)
    time.sleep(3600)
wait()
"""
NOT_BLOCKED = WAITS_IN_C.replace("SIG_BLOCK", "SIG_UNBLOCK")


@pytest.mark.parametrize(
    "process", [WAITS_IN_C, WAITS_IN_C.replace("PyDLL", "CDLL"), NOT_BLOCKED], indirect=True
)
def test_the_question_interrupts_no_wait_of_the_user(process, worker, tmp_path):
    deadline = time.monotonic() + 30
    while place_of(worker, tmp_path, tmp_path).text != "it stands at loop.py:9 (wait)":
        assert time.monotonic() < deadline
    for _ in range(5):
        assert place_of(worker, tmp_path, tmp_path).text == "it stands at loop.py:9 (wait)"
    assert select.select([process.stdout], [], [], 0.2)[0] == []


SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"


@pytest.mark.parametrize("process", [SLEEPS], indirect=True)
def test_a_process_that_does_not_handle_the_signal_gets_none(process, worker, tmp_path):
    (tmp_path / "place-loop.txt").touch()
    assert place_of(worker, tmp_path, tmp_path).text == ""
    assert process.poll() is None


@pytest.mark.parametrize("process", [SLEEPS], indirect=True)
def test_a_program_that_is_no_worker_yet_is_named_as_such(worker, tmp_path):
    kind = replace(worker.config.type, program=lambda *_: ())
    worker.config = replace(worker.config, type=kind)
    assert place_of(worker, tmp_path, tmp_path).text == "its program has not called init_link()"
    worker.advance(State.LOADED)
    assert place_of(worker, tmp_path, tmp_path).text == ""


@pytest.mark.parametrize("process", [ANSWERS], indirect=True)
def test_a_stopped_process_is_named_as_such(process, worker, tmp_path):
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    assert f"kill -CONT {process.pid}" in place_of(worker, tmp_path, tmp_path).text


def test_a_worker_without_a_process_has_no_place(tmp_path):
    fake = FakeWorker("loop")
    assert place_of(fake.handle, tmp_path, tmp_path).text == ""
    fake.close()
