"""The output of a run: nothing that a reader does delays the writer for long, or is silent."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from mlink.cli.terminal import screen
from mlink.cli.terminal.screen import Screen, unhurried_output


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


def test_a_reader_that_pauses_and_goes_on_gets_the_number_of_lines_left_out(pipe, monkeypatch):
    monkeypatch.setattr(screen, "_KEPT_BYTES", 100_000)
    paused = Screen(pipe[1], "<stdout>")
    stream = io.TextIOWrapper(io.BufferedWriter(paused), line_buffering=True)
    received = bytearray()

    def read():
        while not received.endswith(b"last\n"):
            received.extend(os.read(pipe[0], 65_536))

    reader = threading.Thread(target=read)
    for number in range(5_000):
        print("line", number, "x" * 100, file=stream)
    reader.start()
    assert paused.wait_written(60) == 0
    print("last", file=stream)
    assert paused.wait_written(60) == 0
    reader.join()
    *lines, last = received.decode().splitlines()
    shown = [line for line in lines if line.startswith("line")]
    left_out = [int(line.split()[1]) for line in lines if line.endswith("lines left out")]
    assert last == "last"
    assert left_out
    assert len(shown) + sum(left_out) == 5_000


def test_output_that_follows_lines_left_out_has_its_own_length(pipe, monkeypatch):
    monkeypatch.setattr(screen, "_KEPT_BYTES", 100)
    paused = Screen(pipe[1], "<stdout>")
    data = b"x\n" * 200
    assert paused.write(b"y" * 90) == 90
    assert paused.wait_written(60) == 0
    assert paused.write(data) == len(data)  # left out
    assert paused.write(b"next\n") == 5
    assert paused.wait_written(60) == 0
    assert os.read(pipe[0], 1_000).endswith("\n… 200 lines left out\nnext\n".encode())
