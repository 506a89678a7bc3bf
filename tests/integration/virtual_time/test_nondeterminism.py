"""What makes two runs in virtual time differ is named by line, and no value changes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mlink import recording
from tests.integration.virtual_time.test_simulated_benches import run

SCRIPT = """
import datetime as dt
import multiprocessing
import os
import pickle
import queue
import random
import resource
import secrets
import select
import signal
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from time import perf_counter as now_s

import numpy as np
import helper
import logging
import syntalos_mlink as syl

@dataclass
class Item:
    at: float = field(default_factory=time.time)

class Box:
    clock = time.time
    def read(self):
        return self.clock()  # time.time()

class Moment(datetime):
    pass

def run():
    Item()  # time.time()
    assert abs(Box().read() - now_from_c()) < 3600
    now_s()  # time.perf_counter()
    helper.stamp()
    assert type(datetime.now()) is datetime  # datetime.now()
    assert type(Moment.now(tz=None)) is Moment  # datetime.now()
    dt.datetime.now(dt.timezone.utc)  # datetime.now()
    datetime.utcnow()  # datetime.utcnow()
    assert date.today() == datetime.today().date()  # date.today()
    datetime(2020, 1, 1).isoformat()
    time.localtime()  # time.localtime()
    time.strftime("%H")  # time.strftime()
    time.strftime("%H", time.gmtime(0))
    time.sleep(0.001)  # time.sleep()
    sorted([1], key=lambda _: time.monotonic())  # time.monotonic()
    sorted([1], key=lambda _: 1)
    logging.warning("a log line of a library has the time")
    random.seed()  # random.seed()
    random.choice([1, 2])  # random.choice()
    random.seed(3)
    assert random.random() == random.Random(3).random()
    random.Random()  # random.Random()
    random.Random(3).seed()  # random.Random.seed()
    random.Random(3).seed(4)
    random.SystemRandom()  # random.SystemRandom()
    np.random.rand()  # numpy.random.rand()
    np.random.default_rng()  # generator of numpy.random
    np.random.default_rng(seed=None)  # generator of numpy.random
    assert np.random.default_rng(3).random() == np.random.default_rng(seed=3).random()
    np.random.RandomState()  # numpy.random.RandomState()
    random_state = np.random.RandomState(seed=4)
    random_state.seed(5)
    np.random.set_state(random_state.get_state())
    np.random.Generator(np.random.PCG64())  # generator of numpy.random
    np.random.rand()
    np.random.seed()  # numpy.random.seed()
    np.random.seed(3)
    assert np.random.normal() == np.random.RandomState(3).normal()
    os.urandom(3)  # os.urandom()
    secrets.token_hex(3)  # secrets.token_hex()
    uuid.uuid4()  # uuid.uuid4()
    uuid.uuid5(uuid.NAMESPACE_DNS, "x")
    os.times()  # os.times()
    resource.getrusage(resource.RUSAGE_SELF)  # resource.getrusage()
    select.select([], [], [], 0.001)  # select.select() with a time limit
    select.select([], [], [], 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 60)  # a timer of the system
    signal.alarm(0)
    event = threading.Event()
    assert not event.wait(0.001)  # Event.wait() with a time limit
    assert not event.wait(timeout=0)
    event.set()
    assert event.wait(60)
    with (condition := threading.Condition()):
        condition.wait(0.001)  # Condition.wait() with a time limit
        condition.wait_for(lambda: False, 0.001)  # Condition.wait_for() with a time limit
    threading.Semaphore(0).acquire(timeout=0.001)  # Semaphore.acquire() with a time limit
    for items in (queue.Queue(1), queue.SimpleQueue()):
        items.put(1)
        assert items.get(timeout=5) == 1
    empty(lambda: queue.Queue().get(timeout=0.001))  # Queue.get() with a time limit
    empty(lambda: queue.SimpleQueue().get(timeout=0.001))  # SimpleQueue.get() with a time limit
    empty(queue.Queue().get_nowait)
    threading.Thread(target=len, args=("",)).start()  # a thread
    threading.Timer(0, len, [""]).start()  # a thread
    with ThreadPoolExecutor(1) as pool:
        pool.submit(len, "")  # a thread
    subprocess.run(["true"])  # a process
    os.system("true")  # a process
    process = multiprocessing.Process(target=time.time)
    process.start()  # a process
    process.join()
    assert pickle.loads(pickle.dumps(time.time)) == time.time
    for _ in range(5):
        time.time_ns()  # time.time_ns()
    syl.wait(100)
    assert syl.time_since_start_usec() == 100_000
    print("order:", *{str(number) for number in range(20)})

def empty(get):
    try:
        get()
    except queue.Empty:
        return
    raise AssertionError

def now_from_c():
    return time.clock_gettime(time.CLOCK_REALTIME)  # time.clock_gettime()
"""

HELPER = """
import time
def stamp():
    return time.monotonic_ns()  # time.monotonic_ns()
"""

BENCH = '[bench]\nname = "x"\n[modules.loop]\ntype = "pyscript"\nscript = "loop.py"\n'

PROGRAM = """
import time
from random import random
from time import monotonic

import syntalos_mlink as syl

link = syl.init_link()
monotonic()  # time.monotonic()

def start():
    random()  # random.random()
    time.sleep(0)  # time.sleep()

link.on_start = start
link.await_data_forever()
"""


def expected(folder: Path, *names: str) -> list[tuple[str, int, str]]:
    """Return (file, line, start of the text) of what the comments of scripts announce."""
    return [
        (name, number, line.partition("  # ")[2])
        for name in names
        for number, line in enumerate((folder / name).read_text().splitlines(), 1)
        if "  # " in line
    ]


def warned(text: str) -> list[tuple[str, int, str]]:
    found = re.findall(r"│ warning: (\S+\.py):(\d+): (?:a (?=gen))?(.*)", text)
    return [(name, int(line), what) for name, line, what in found]


def check(found: list[tuple[str, int, str]], wanted: list[tuple[str, int, str]]) -> None:
    assert [each[:2] for each in sorted(found)] == [each[:2] for each in sorted(wanted)]
    for (_, _, what), (_, _, start) in zip(sorted(found), sorted(wanted), strict=True):
        assert what.startswith(start)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "loop.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text(HELPER)
    return tmp_path


def test_each_line_is_named_once_in_output_log_and_hints_and_values_stay(folder: Path) -> None:
    first = run(folder, "--for", "1", "--seed", "1")
    assert first.returncode == 0, first.stdout + first.stderr
    wanted = expected(folder, "loop.py", "helper.py")
    found = warned(first.stdout)
    check(found, wanted)
    assert "loop.py:39: time.time() reads the machine's clock: use syl.time_since" in first.stdout
    (made,) = (folder / "out").iterdir()
    log = (made / "run.log").read_text()
    with recording.open(made) as opened:
        hints = opened.attributes["hints"]
    assert all(f"{name}:{line}: " in log for name, line, _ in wanted)
    shown = [hint for hint in hints if re.search(r"\.py:\d+: ", hint)]
    assert len(shown) == 20
    assert "loop: there are more such lines: the log names them" in hints
    shutil.rmtree(made)
    second = run(folder, "--for", "1", "--seed", "1")
    order = re.compile(r"order: .*")
    assert order.findall(first.stdout) == order.findall(second.stdout) != []


def test_it_is_off_in_real_time_and_by_setting(folder: Path) -> None:
    (folder / "loop.py").write_text("import time\ndef run():\n    time.sleep(0)\n    print(time)\n")
    real = run(folder, "--for", "0.1", "--time", "real")
    assert real.returncode == 0
    assert "<module 'time' (built-in)>" in real.stdout
    assert not warned(real.stdout)
    (folder / "bench.toml").write_text(BENCH.replace("x", "y", 1).replace(
        '"y"\n', '"y"\nwarn_nondeterminism = false\n'))  # fmt: skip
    off = run(folder, "--for", "0.1")
    assert off.returncode == 0, off.stdout
    assert not warned(off.stdout)


def test_a_program_is_watched_from_init_link_on_also_by_names_it_has_imported(
    tmp_path: Path,
) -> None:
    (tmp_path / "bench.toml").write_text(
        '[bench]\nname = "x"\n[modules.own]\ntype = "python"\nmain = "main.py"\n'
    )
    (tmp_path / "main.py").write_text(PROGRAM)
    done = run(tmp_path, "--for", "1")
    assert done.returncode == 0, done.stdout
    check(warned(done.stdout), expected(tmp_path, "main.py"))
