"""The output of a run: nothing that a reader does delays the writer for long, or is silent."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from mlink.cli import screen
from mlink.cli.screen import Screen, unhurried_output


@pytest.fixture
def pipe():
    """A pipe that the test reads, or not; its write end stays open, for the thread that has it."""
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    try:
        os.close(read_fd)
    except OSError:
        pass


def test_a_reader_that_takes_nothing_is_not_waited_for(pipe, monkeypatch):
    monkeypatch.setattr(screen, "_KEPT_BYTES", 200_000)
    unread = Screen(pipe[1], "<stdout>")
    line = b"x" * 99 + b"\n"
    for _ in range(5_000):
        unread.write(line)
    lines = unread.wait_written(0.05)
    assert 5_000 - 65_536 // 100 - 1 <= lines < 5_000 - 600  # the pipe has taken the others
    os.read(pipe[0], 10_000)  # what it takes now restarts the time


def test_a_slow_reader_gets_everything(pipe):
    slow = Screen(pipe[1], "<stdout>")
    data = b"".join(b"%d\n" % number for number in range(50_000))
    slow.write(data)
    received = bytearray()

    def read():
        while len(received) < len(data):
            received.extend(os.read(pipe[0], 1_000))

    reader = threading.Thread(target=read)
    reader.start()
    assert slow.wait_written(60) == 0
    reader.join()
    assert received == data


def test_a_reader_that_goes_away_ends_the_wait(pipe):
    gone = Screen(pipe[1], "<stdout>")
    gone.write(b"x" * 200_000)
    os.close(pipe[0])
    assert gone.wait_written(60) == 0


def test_what_nobody_read_is_noted_in_the_other_file(pipe, monkeypatch, tmp_path):
    monkeypatch.setattr(screen, "_UNREAD_S", 0.05)
    with (
        open(pipe[1], "w", closefd=False) as unread,
        (tmp_path / "err").open("w") as other,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", unread)
        patch.setattr(sys, "stderr", other)
        with unhurried_output():
            print("y" * 200_000)
    note = (tmp_path / "err").read_text()
    assert note.startswith("mlink: nobody read the last ")
    assert note.endswith(" line(s) of <stdout>\n")
