"""A board without mlink's firmware that goes silent while its line stays: lost, with a gap."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boards.chip_bench import wait_until
from tests.support.boards.firmata_bench import Bench
from tests.support.boards.scripted_board import ScriptedBoard

LIMIT_S = 60.0


class Bridge:
    """A serial port on another machine, for `socket://`; `silent` stops it without closing it."""

    def __init__(self, scripted: ScriptedBoard) -> None:
        self.silent = False
        self._port = os.open(scripted.path, os.O_RDWR | os.O_NOCTTY)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = "socket://{}:{}".format(*self._server.getsockname())
        self._ended = os.eventfd(0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        host: socket.socket | None = None
        left: list[socket.socket] = []
        while True:
            sources = [self._ended, self._server, self._port] + ([host] if host else [])
            ready, _, _ = select.select(sources, [], [])
            if self._ended in ready:
                break
            if self._server in ready:
                host, _ = self._server.accept()
                left.append(host)  # the one before stays open: its machine lost its supply
                self.silent = False
            if self._port in ready:
                data = os.read(self._port, 4096)
                if host and not self.silent:
                    try:
                        host.sendall(data)
                    except OSError:
                        host = None  # it has closed its end just now
            if host and host in ready:
                try:
                    data = host.recv(4096)
                except OSError:
                    data = b""
                if not data:
                    host = None
                elif not self.silent:
                    os.write(self._port, data)
        for each in left:
            each.close()

    def close(self) -> None:
        os.eventfd_write(self._ended, 1)
        self._thread.join()
        self._server.close()
        os.close(self._port)
        os.close(self._ended)


@pytest.fixture
def scripted() -> Iterator[ScriptedBoard]:
    with ScriptedBoard() as scripted:
        yield scripted


@pytest.fixture
def bridge(scripted: ScriptedBoard) -> Iterator[Bridge]:
    bridge = Bridge(scripted)
    yield bridge
    bridge.close()


def failure(bench: Bench) -> str:
    assert bench.context.failed.wait(LIMIT_S)
    return bench.failure()


def test_a_board_that_hangs_ends_the_run_as_lost_with_a_gap(
    tmp_path: Path, scripted: ScriptedBoard
) -> None:
    with Bench(tmp_path, scripted, analog_lines=[14]) as bench:
        bench.set_input(14)
        scripted.wait_for(b"\xc0\x01")
        scripted.send(b"\xe0\x05\x03")
        bench.wait_for_readings((14, 389))
        scripted.mute = True
        text = failure(bench)
    assert "lost: the board is silent: it sent no sample for 2 s" in text
    assert "Press its reset button" in text
    assert bench.module._readings.lost >= 2000 // 19
    events = [row[1] for row in bench.rows("events")]
    assert events == ["connected", "lost"]


def test_a_board_of_digital_lines_is_queried_while_it_is_quiet(
    tmp_path: Path, scripted: ScriptedBoard
) -> None:
    with Bench(tmp_path, scripted) as bench:
        bench.set_input(7)
        queries = scripted.received.count(b"\xf9")
        scripted.wait_for(b"\xf9", queries + 4, timeout=LIMIT_S)  # it answers: it is not lost
        assert not bench.context.failures
        bench.wait_for_readings((7, 0))
        scripted.mute = True
        assert "it answered no query for 2 s" in failure(bench)
    # silence is no sign of changed bytes: no reading is in doubt
    assert [row[1] for row in bench.rows("events")] == ["connected", "lost"]


def test_a_board_that_sends_what_is_no_message_is_silent_as_well(
    tmp_path: Path, scripted: ScriptedBoard
) -> None:
    """Such as the texts of another program that runs on it after a restart."""
    ended = threading.Event()

    def babble() -> None:
        while not ended.wait(0.1):
            scripted.send(b"rst:0x10 (RTCWDT_RTC_RESET)\r\n")

    with Bench(tmp_path, scripted) as bench:
        bench.set_input(7)
        bench.wait_for_readings((7, 0))
        scripted.mute = True
        babbler = threading.Thread(target=babble)
        babbler.start()
        text = failure(bench)
        ended.set()
        babbler.join()
    assert "it answered no query for 2 s" in text


def test_a_peer_that_stops_without_a_fin_is_lost(tmp_path: Path, bridge: Bridge) -> None:
    with Bench(tmp_path, None, address=bridge.address) as bench:
        bench.set_input(7)
        bridge.silent = True
        text = failure(bench)
    assert "lost: the board is silent: it answered no query for 2 s" in text


def test_a_peer_that_answers_again_is_used_again(tmp_path: Path, bridge: Bridge) -> None:
    with Bench(tmp_path, None, address=bridge.address, on_loss="continue") as bench:
        bench.set_input(7)
        bridge.silent = True  # until the module connects anew
        for event, count in (("lost", 1), ("connected", 2)):
            wait_until(
                lambda event=event, count=count: (  # type: ignore[misc]
                    [row[1] for row in bench.rows("events")].count(event) >= count
                ),
                lambda: bench.rows("events"),
                LIMIT_S,
            )
        assert bench.context.failures == []
        assert bench.module._silences == 1
