"""The engine's side of the fork server: requests and messages when the server ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import msgspec
import pytest

from mlink.errors import ControlError
from mlink.worker.forking import spawn
from mlink.worker.forking.forkserver import Forked
from mlink.worker.forking.spawn import ForkServer
from tests.support.engine_fakes import FakeClock
from tests.unit.engine.test_fleet import spec_of

SERVER = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.send(bytes.fromhex(sys.argv[2]))
sys.stdin.read()
"""


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server that reports a worker, reads no request, and ends when it is killed."""
    real = subprocess.Popen

    def popen(command, **options):
        said = msgspec.msgpack.encode(Forked("a", 1)).hex()
        options["stdin"] = subprocess.PIPE
        return real([sys.executable, "-c", SERVER, command[3], said], **options)

    monkeypatch.setattr(spawn.subprocess, "Popen", popen)
    with ForkServer([], tmp_path) as server:
        yield server
        server._process.stdin.close()


def wait_until_readable(server: ForkServer) -> None:
    import select

    assert select.select([server], [], [], 60)[0]


def test_what_a_killed_server_has_sent_is_received_before_its_end(server):
    wait_until_readable(server)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.request(spec_of("a"), [ours.fileno()])  # is never read
        server._process.kill()
        server._process.wait(60)
        server.request(spec_of("b"), [ours.fileno()])  # raises nothing: `receive` has the end
    assert server.receive() == Forked("a", 1)
    with pytest.raises(ControlError) as caught:
        server.receive()
    assert "signal 9" in caught.value.message
    assert caught.value.remedy


def test_a_server_gets_no_interrupt_before_it_is_ready_for_it(server):
    status = f"/proc/{server._process.pid}/status"
    with open(status) as file:
        (blocked,) = (line.split()[1] for line in file if line.startswith("SigBlk"))
    assert int(blocked, 16) >> (signal.SIGINT - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_server_that_does_not_end_is_named_and_killed_in_time(server, monkeypatch, caplog):
    """It does not read its socket, and goes on when that is closed."""
    clock = FakeClock()
    monkeypatch.setattr(spawn, "time", clock)
    monkeypatch.setattr(spawn, "end_run", lambda _folder: ([], []))
    wait_until_readable(server)
    began = clock.now

    def a_second_passes() -> bool:
        clock.now += 1
        return False

    assert server.finish(a_second_passes) == []
    assert clock.now - began <= spawn._FINISH_S + 1
    assert server._process.returncode == -signal.SIGKILL
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"the fork server (process {server._process.pid}) still ends" in line
    assert "third Ctrl-C" in line


def test_a_server_is_not_waited_for_in_a_hurry(server, monkeypatch):
    monkeypatch.setattr(spawn, "end_run", lambda _folder: ([], []))
    assert server.finish(lambda: True) == []
    assert server._process.returncode == -signal.SIGKILL


def test_a_server_that_is_stopped_meanwhile_is_continued(server, monkeypatch):
    roused: list[str] = []
    monkeypatch.setattr(server, "rouse", lambda: roused.append("again") or "")
    monkeypatch.setattr(spawn, "end_run", lambda _folder: ([], []))
    assert server.finish(lambda: len(roused) > 2) == []
    assert len(roused) > 2
