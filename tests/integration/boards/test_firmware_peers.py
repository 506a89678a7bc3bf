"""Other people's Firmata clients, unchanged, drive our firmware on the simulated chip."""

import json
import logging
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink_hil.control.board import VirtualBoard
from mlink_hil.devices import VirtualDevices
from tests.support.boards.firmware_chip import ROOT

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim
LOG = logging.getLogger("mlink.test.peers")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlink/peers"
PROGRAMS = ROOT / "tests/support/peers"


class Peer:
    """A client's program; `wait_for` what it reports of the board."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.reports: list[tuple[str, object]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        self._reader = threading.Thread(target=self._read, name="peer", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, what: str, value: object = None, *, since: int = 0) -> object:
        """Return the first value of `what`, or `value`, among the reports from `since` on."""
        deadline = time.monotonic() + 60.0
        at, others = since, []
        while True:
            for heard, came in self.reports[at:]:
                if heard == what and value in (None, came):
                    return came
            at = max(at, len(self.reports))
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no {what} {value}: {self.reports[-5:]} {others}")
            if line.startswith("["):
                heard, came = json.loads(line)
                self.reports.append((heard, came))
            else:
                others.append(line)
                self.reports.append(("text", line.strip()))  # pymata-express prints the board's

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(60)
            assert self.process.stdout is not None
            self.process.stdout.close()


def start(client: str, address: str) -> Peer:
    if not (CACHE / "ready").exists():
        pytest.skip("NOT TESTED: other Firmata clients are missing; tests/support/setup_peers.sh")
    if client == "pymata-express":
        python = CACHE / "venv/bin/python"
        return Peer([str(python), str(PROGRAMS / "peer_pymata.py"), address], {})
    node = shutil.which("node")
    assert node is not None
    return Peer(
        [node, str(PROGRAMS / "peer_firmata.js"), address],
        {"NODE_PATH": str(CACHE / "node_modules")},
    )


@pytest.fixture(params=["pymata-express", "npm firmata"])
def peer_and_board(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Peer, VirtualBoard]]:
    spec = "virtual:uno?firmware=mlink"
    with (
        VirtualDevices().open(name="uno", spec=spec, work_dir=tmp_path, log=LOG) as endpoint,
        VirtualBoard.connect(endpoint.control) as board,
    ):
        board.drive(7, False)
        board.analog(0, 2.5)
        board.watch([9, 10, 13])
        peer = start(request.param, endpoint.address)
        try:
            yield peer, board
        finally:
            peer.close()


def share_high(board: VirtualBoard, pin: int) -> tuple[float, float]:
    """Return how long a pin was high and how long a period took, in µs."""
    # Of the thousand edges per second that nothing has read so far some may be left out.
    board.watch([])
    while board.wait_edge(timeout_sec=0) is not None:
        pass
    board.watch([pin])
    rise = board.wait_edge(pin, True, timeout_sec=20)
    fall = board.wait_edge(pin, False, timeout_sec=20)
    again = board.wait_edge(pin, True, timeout_sec=20)
    assert rise is not None
    assert fall is not None
    assert again is not None
    return (fall.cycle - rise.cycle) / 16, (again.cycle - rise.cycle) / 16


@pytest.mark.timeout(240)
def test_a_client_of_others_reads_and_writes_everything(
    peer_and_board: tuple[Peer, VirtualBoard],
) -> None:
    peer, board = peer_and_board
    assert "mlink_firmata uno" in str(peer.wait_for("firmware"))
    assert peer.wait_for("pins") == 20
    assert board.wait_edge(13, True, timeout_sec=30)
    peer.wait_for("state", 1)
    # In whatever order: a sample of 2.5 V, and the input's changes.
    analog = peer.wait_for("analog")
    assert isinstance(analog, int)
    assert abs(analog - 512) <= 2
    for level in (True, False, True):
        since = len(peer.reports)
        board.drive(7, level)
        peer.wait_for("input", int(level), since=since)
    width, _ = share_high(board, 10)
    assert abs(width - 1472) < 10
    width, period = share_high(board, 9)
    assert abs(width / period - 64 / 255) < 0.01
    # Nobody is at I2C address 0x42: the board has reported it and goes on.
    peer.wait_for("text", "I2C: Too few bytes received")
