"""A picture is sent to SVT-AV1 only when all its threads sleep, as it deadlocks otherwise."""

import hashlib
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mlink.modules.video import settling
from mlink.modules.video.settling import EncoderThreads
from mlink.modules.video.writer import VideoOptions, VideoWriter

ROOT = Path(__file__).parents[4]


class Thread:
    """A thread that is busy until `resting` is set, and then sleeps until `end`.

    It is busy in C, without the interpreter's lock: a thread that waits for that lock sleeps.
    """

    def __init__(self, *, busy):
        self.resting = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        if not busy:
            self.resting.set()
        self._thread.start()
        self.id = self._thread.native_id
        if busy:
            await_work_in_c(self.id)

    def _work(self):
        while not self.resting.is_set():
            hashlib.pbkdf2_hmac("sha256", b"", b"", 300_000)
        self._over.wait()

    def end(self):
        self.resting.set()
        self._over.set()
        self._thread.join()


def await_work_in_c(number):
    """Wait until a thread is seen to run four times in a row, while this one has the lock."""
    state, seen = Path(f"/proc/self/task/{number}/stat"), 0
    while seen < 4:
        seen = seen + 1 if state.read_text().rpartition(")")[2].split()[0] == "R" else 0
        time.sleep(0.002)


@pytest.fixture
def start():
    threads = []

    def start_one(*, busy):
        threads.append(Thread(busy=busy))
        return threads[-1]

    yield start_one
    for thread in threads:
        thread.end()


@pytest.fixture
def looks(monkeypatch):
    """What is done between two looks; the default is a pause."""
    actions = []
    pause = settling.time.sleep

    def between(seconds):
        pause(seconds)
        if actions:
            actions.pop(0)()

    monkeypatch.setattr(settling.time, "sleep", between)
    return actions


def test_it_waits_for_the_one_that_is_busy(start, looks):
    threads = [start(busy=False), start(busy=True), start(busy=False)]
    seen = []
    looks += [lambda: seen.append(1), lambda: seen.append(2), threads[1].resting.set]
    settled = EncoderThreads([thread.id for thread in threads])
    assert settled.settle()
    assert seen == [1, 2]
    settled.close()


def test_a_thread_that_never_sleeps_is_not_waited_for_without_end(start, monkeypatch):
    monkeypatch.setattr(settling, "LOOKS", 5)
    settled = EncoderThreads([start(busy=True).id])
    assert not settled.settle()
    settled.close()


def test_a_thread_that_has_ended_is_at_rest(start):
    ended, later = start(busy=False), start(busy=False)
    ended.end()
    settled = EncoderThreads([ended.id, later.id])
    later.end()
    assert settled.settle()
    settled.close()


def test_a_name_with_brackets_hides_no_state(start, monkeypatch):
    monkeypatch.setattr(settling, "LOOKS", 3)
    busy = start(busy=True)
    Path(f"/proc/self/task/{busy.id}/comm").write_text("a) S (b) S")
    settled = EncoderThreads([busy.id])
    assert not settled.settle()
    settled.close()


def test_too_few_descriptors_are_an_error_that_leaves_none_open(start):
    ids = [start(busy=False).id for _ in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = os.listdir("/proc/self/fd")
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            EncoderThreads(ids)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.listdir("/proc/self/fd") == before


def test_no_file_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    record(tmp_path).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_all_threads_of_av1_are_waited_for_before_each_picture_and_before_the_end(
    tmp_path, monkeypatch
):
    watched, order = [], []

    class Watched(EncoderThreads):
        def __init__(self, ids):
            watched.extend(ids)
            super().__init__(ids)

        def settle(self):
            order.append("settle")
            return super().settle()

    monkeypatch.setattr("mlink.modules.video.writer.EncoderThreads", Watched)
    before = set(os.listdir("/proc/self/task"))
    writer = record(tmp_path, pictures=0)
    assert set(map(str, watched)) == set(os.listdir("/proc/self/task")) - before
    assert len(watched) > 5
    writer._stream = SimpleNamespace(
        codec_context=writer._stream.codec_context, encode=encode_with(writer._stream, order)
    )
    for number in range(3):
        writer.write(PICTURES[number], number * 33_333)
    writer.close()
    assert order == ["settle", "picture"] * 3 + ["settle", "end"]


def encode_with(stream, order):
    def encode(picture):
        order.append("picture" if picture is not None else "end")
        return stream.encode(picture)

    return encode


STARVED = """
import os, pathlib, sys
from tests.unit.modules.video.test_settling import PICTURES, record

number = 0
while True:
    before = set(os.listdir("/proc/self/task"))
    writer = record(pathlib.Path(sys.argv[1]), pictures=0, name=str(number))
    threads = sorted(map(int, set(os.listdir("/proc/self/task")) - before))
    os.sched_setscheduler(threads[number], os.SCHED_IDLE, os.sched_param(0))
    for index in range(36):
        writer.write(PICTURES[index % len(PICTURES)], index * 33_333)
    writer.close()
    number += 1
    print(number, "of", len(threads), flush=True)
    if number == len(threads):
        break
"""


@pytest.mark.real_time
def test_av1_goes_on_whichever_of_its_threads_gets_the_processor_last(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STARVED, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    number, _, count = done.stdout.splitlines()[-1].split()
    assert number == count


PICTURES = list(np.random.default_rng(0).integers(0, 256, (6, 96, 128, 3), np.uint8))


def record(folder, pictures=3, name="a"):
    writer = VideoWriter(folder / f"{name}.mkv", folder / f"{name}.tsync", PICTURES[0],
                         VideoOptions(codec="av1"), framerate=30, collection_id=bytes(16),
                         generator="test")  # fmt: skip
    for number in range(pictures):
        writer.write(PICTURES[number], number * 33_333)
    return writer
