"""A module whose import ends the fork server is named; what an import raises does not end it."""

from __future__ import annotations

import select
from pathlib import Path

import pytest

from mlink.errors import ControlError
from mlink.worker.forking.spawn import ForkServer

WAIT_MSEC = 120_000
ENDLESS = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).recv(1)"
"""An import that lasts until the engine closes its socket."""


def server_that_imports(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ForkServer:
    (folder / "rude.py").write_text(text)
    (folder / "endless.py").write_text(ENDLESS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return ForkServer(["rude", "endless"], folder)


def receive_until(server: ForkServer, text: str) -> None:
    """Receive what the server sends until its state has this text."""
    poll = select.poll()
    poll.register(server.fileno(), select.POLLIN)
    while text not in server.describe():
        assert poll.poll(WAIT_MSEC)
        assert server.receive() is None


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("import os; os._exit(3)", "ended with exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was ended by signal 11"),
    ],
)
def test_an_import_that_ends_the_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, how: str
) -> None:
    with (
        server_that_imports(text, tmp_path, monkeypatch) as server,
        pytest.raises(ControlError, match=f"{how} while it imported rude") as caught,
    ):
        receive_until(server, "never")
    assert "package of rude" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0", "print('x' * 1_000_000)"],
)
def test_an_import_that_raises_or_prints_does_not_end_the_server_and_one_without_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with server_that_imports(text, tmp_path, monkeypatch) as server:
        receive_until(server, "still imports endless, or does not answer")
