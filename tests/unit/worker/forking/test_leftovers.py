"""Processes that modules have left are named and ended, and no others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink.worker.forking import leftovers
from mlink.worker.forking.leftovers import Left, end_processes, end_run, process_name

STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for process in found:
        process.kill()
        process.communicate()


def sleep(started: list[subprocess.Popen[bytes]], **environment: str) -> int:
    process = subprocess.Popen(
        ["sleep", "1000"], env=os.environ | environment, start_new_session=True
    )
    started.append(process)
    return process.pid


def ended(pid: int) -> bool:
    found, _ = os.waitpid(pid, os.WNOHANG)
    return found == pid


def test_each_is_named_once_and_terminated(started: list[subprocess.Popen[bytes]]) -> None:
    pid, gone, left = sleep(started), set[int](), list[Left]()

    def find() -> set[int]:
        if ended(pid):
            gone.add(pid)
        return {pid} - gone

    end_processes(find, left.append, {pid: "loop"}, patience_s=0.0)
    assert left == [Left(pid, "", "loop")]
    assert str(left[0]) == f"process {pid} of module 'loop' was left behind, and is ended"


def test_one_that_ignores_sigterm_is_killed(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_TERMINATED_S", 0.1)
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    left: list[Left] = []
    end_processes(
        lambda: [] if process.poll() is not None else [process.pid], left.append, {}, patience_s=0.0
    )
    assert process.returncode == -signal.SIGKILL
    assert [each.pid for each in left] == [process.pid]
    assert left[0].command.startswith(sys.executable)


def test_one_that_ends_by_itself_is_not_named() -> None:
    looks = iter([[1], [1], []])
    left: list[Left] = []
    end_processes(lambda: next(looks), left.append, {}, patience_s=60.0)
    assert left == []


def test_a_number_that_another_process_has_by_now_is_left_alone(
    started: list[subprocess.Popen[bytes]],
) -> None:
    pid, looks, left = sleep(started), iter([True, False, False]), list[Left]()
    end_processes(lambda: [pid] if next(looks) else [], left.append, {}, patience_s=0.0)
    assert left == []
    assert not ended(pid)


def test_a_process_that_nothing_ends_is_reported_and_not_waited_for(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_LIMIT_S", 0.1)
    monkeypatch.setattr(leftovers, "_send", lambda *_: "Operation not permitted")
    pid, left = sleep(started), list[Left]()
    end_processes(lambda: [pid], left.append, {}, patience_s=0.0)
    assert [each.problem for each in left] == [
        "Operation not permitted", "it is there after SIGKILL",
    ]  # fmt: skip


def test_a_run_is_reported_by_its_folder(
    started: list[subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_TERMINATED_S", 0.0)
    folder = str(tmp_path)
    mine = sleep(started, MLINK_RUN=folder, MLINK_MODULE="loop")
    others = [sleep(started, MLINK_RUN=f"{folder}0"), sleep(started, MLINK_RUN_OF=folder)]
    left, servers = end_run(folder, patience_s=0.0)
    assert [(each.pid, each.command, each.module) for each in left] == [
        (mine, "sleep 1000", "loop"),
    ]  # fmt: skip
    assert servers == []
    assert ended(mine)
    assert not any(map(ended, others))


def test_while_a_fork_server_runs_the_rest_is_left_to_it(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    pid = sleep(started, MLINK_RUN=str(tmp_path))
    command = [
        sys.executable,
        "-c",
        "print(flush=True); input()",
        "mlink.worker.forking.forkserver",
    ]
    server = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"MLINK_RUN": str(tmp_path)},
    )
    started.append(server)
    assert server.stdout is not None
    server.stdout.readline()  # a new process has no environment for a moment
    assert end_run(str(tmp_path)) == ([], [server.pid])
    assert not ended(pid)
    server.communicate()


def test_the_name_of_a_process_has_15_bytes() -> None:
    assert process_name("loop") == "ml:loop"
    assert process_name("12345678901é") == "ml:12345678901"
