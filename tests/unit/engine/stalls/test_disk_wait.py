"""Is a process busy with the disk? One that writes is, one that does not or is gone is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink.engine.stalls import disk_wait
from mlink.engine.stalls.disk_wait import DiskWait

WRITES = """
import os, sys
with open(sys.argv[1], "wb", 0) as file:
    print("ready", flush=True)
    while sys.stdin.readline():
        file.write(bytes(65536))
        os.fsync(file.fileno())
        print("written", flush=True)
"""


@pytest.fixture
def writer() -> Iterator[subprocess.Popen[str]]:
    """A process that writes to the disk when the test requests it."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        command = [sys.executable, "-c", WRITES, f"{folder}/data"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
            process.kill()


def write_once(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("write\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "written\n"


def test_a_process_that_writes_is_busy_and_one_that_waits_for_us_is_not(
    writer: subprocess.Popen[str],
) -> None:
    disk = DiskWait(writer.pid)
    assert not disk.busy()
    write_once(writer)
    if not disk.busy():
        pytest.skip("what is written here goes to no disk")
    assert not disk.busy()


def test_a_process_that_is_gone_is_not_busy() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert not DiskWait(process.pid).busy()


def test_processes_may_end_while_they_are_looked_at() -> None:
    for _ in range(150):
        with subprocess.Popen(["/bin/true"]) as process:
            disk = DiskWait(process.pid)
            reaper = threading.Thread(target=process.wait, name="reaper")
            reaper.start()
            while reaper.is_alive():
                disk.busy()
                time.sleep(0)
            reaper.join()


def test_a_threads_state_is_found_behind_any_name() -> None:
    assert disk_wait._state("17 (a) D (b)) S 1 17 17") == "S"
    assert disk_wait._state("17 (x) D 1 17 17") == "D"
    assert disk_wait._state("") == ""
    assert not DiskWait(os.getpid()).busy()
