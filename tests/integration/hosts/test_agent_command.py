"""`mlink agent` and `mlink hosts` as programs: a lab of two hosts on loopback, protected by TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts_lab import free_port

LIMIT_S = 60


class Computer:
    """A folder of keys and settings, and commands with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "MLINK_HOSTS_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mlink", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        text, _ = process.communicate(timeout=LIMIT_S)
        return process.returncode, text


def line_with(process: subprocess.Popen[str], what: str) -> str:
    assert process.stdout is not None
    read = []
    for line in process.stdout:
        read.append(line)
        if what in line:
            return line.strip()
    raise AssertionError("".join(read))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Computer, Computer, str]]:
    """A controller and an agent that has joined by the line that was printed, and serves."""
    desk, chamber = (Computer(tmp_path_factory.mktemp(name)) for name in ("desk", "chamber"))
    endpoint = f"tls/127.0.0.1:{free_port()}"
    at = f"127.0.0.1:{free_port()}"
    first = desk.start("agent", "init", "--name", "desk", "--lab", "Neuro 3", "--at", at)
    line = line_with(first, "mlink agent join").split()[1:]
    code, text = chamber.run(*line, "--name", "chamber", "--listen", endpoint)
    assert (code, text.strip()) == (0, "chamber is an agent of the lab Neuro 3; now: mlink agent")
    said, _ = first.communicate(timeout=LIMIT_S)
    assert first.returncode == 0
    assert f"its address: {endpoint}" in said
    serving = chamber.start("agent")
    assert line_with(serving, "listens at") == f"chamber listens at {endpoint}; Ctrl-C ends it"
    yield desk, chamber, endpoint
    serving.send_signal(signal.SIGINT)
    serving.communicate(timeout=LIMIT_S)
    assert serving.returncode == 130


def test_hosts_lists_the_host_that_has_joined(lab: tuple[Computer, Computer, str]) -> None:
    desk, _, endpoint = lab
    code, text = desk.run("hosts", "--json", "--timeout", "30")
    (host,) = json.loads(text)["hosts"]
    assert (code, host["host"], host["address"], host["problem"]) == (0, "chamber", endpoint, "")
    assert abs(host["clock_offset_usec"]) <= host["clock_error_usec"] + 1000  # one clock here
    assert host["about"]["lease"]["owner"] == ""


def test_an_agent_lists_nobody(lab: tuple[Computer, Computer, str]) -> None:
    code, text = lab[1].run("hosts")
    assert code == 2
    assert "this host is an agent of the lab Neuro 3: only controllers start runs" in text


def test_a_host_that_is_free_is_released_without_harm(lab: tuple[Computer, Computer, str]) -> None:
    assert lab[0].run("hosts", "--release", "chamber") == (0, "chamber was free\n")


def test_a_second_agent_at_the_port_says_that_it_is_in_use(
    lab: tuple[Computer, Computer, str],
) -> None:
    code, text = lab[1].run("agent")
    assert code == 2
    assert "another program listens there" in text


def test_install_writes_a_unit_that_serves_this_folder(lab: tuple[Computer, Computer, str]) -> None:
    chamber = lab[1]
    code, text = chamber.run("agent", "install")
    unit = (chamber.folder / "config/systemd/user/mlink-agent.service").read_text()
    assert (code, "systemctl --user enable --now mlink-agent" in text) == (0, True)
    assert f'ExecStart="{sys.executable}" -m mlink agent\n' in unit
    assert f'Environment="MLINK_HOSTS_DIR={chamber.folder}"\n' in unit


def test_an_agent_without_keys_says_how_to_get_some(tmp_path: Path) -> None:
    code, text = Computer(tmp_path).run("agent")
    assert code == 2
    assert "this host has no keys" in text
    assert "mlink agent init" in text


def test_a_plain_agent_takes_the_word_open_at_both_ends(tmp_path: Path) -> None:
    here = Computer(tmp_path)
    where = f"tcp/127.0.0.1:{free_port()}"
    (tmp_path / "agent.toml").write_text('name = "attic"\n')
    serving = here.start("agent", "--open", "--listen", where)
    try:
        assert "everybody who reaches this host controls it" in line_with(serving, "warning")
        line_with(serving, "attic listens at")
        code, text = here.run("hosts", "--open", where, "--json", "--timeout", "30")
        assert (code, json.loads(text)["hosts"][0]["host"]) == (0, "attic")
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=LIMIT_S)
