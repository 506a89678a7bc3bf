"""The board worker is killed in the middle of a run: the board makes its outputs safe by itself."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import pytest

from mlink_hil.control.board import VirtualBoard
from mlink_hil.devices import VirtualDevices
from tests.support.bench_runner import BenchRunner, worker_pid

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

SAFE_MSEC = 500
BENCH = f"""
[bench]
name = "host-dies"
[devices]
uno = "ADDRESS"
[modules.board]
type = "firmata-io"
device = "uno"
safe_state_msec = {SAFE_MSEC}
safe_values = {{ "9" = 1 }}
inputs = {{ fmctl = "loop.ctl" }}
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{{ id = "ctl", data_type = "LineCommand" }}]
"""
LOOP = """
import mlink.script as ms
import syntalos_mlink as syl
ctl = syl.get_output_port("ctl")
heater, valve, lamp = (syl.HwOutputLine(ctl, line) for line in (8, 9, 12))

def start():
    for line in (heater, valve):
        line.send_mode()
    heater.set_value(1)
    ms.pulse_train(ctl, 12, width_usec=1000, period_usec=3000)
"""


def test_outputs_are_safe_within_the_set_time(tmp_path: Path) -> None:
    # The board is no part of the bench: the run's end must not end it too.
    with (
        VirtualDevices().open(
            name="uno", spec="virtual:uno", work_dir=tmp_path, log=logging.getLogger()
        ) as endpoint,
        VirtualBoard.connect(endpoint.control) as board,
    ):
        runner = BenchRunner(tmp_path).write(BENCH.replace("ADDRESS", endpoint.address), loop=LOOP)
        killed_ns: list[int] = []

        def kill() -> None:
            os.kill(worker_pid("board"), signal.SIGKILL)
            killed_ns.append(time.monotonic_ns())

        board.watch([8, 9, 12])
        runner.when_running(1.0, kill)
        result = runner.run(20.0)
        assert not result.success
        after_usec: dict[int, float] = {}
        while len(after_usec) < 2 and (edge := board.wait_edge(timeout_sec=30)):
            if edge.pin in (8, 9) and edge.time_ns > killed_ns[0]:
                after_usec[edge.pin] = (edge.time_ns - killed_ns[0]) / 1000
        list(board.edges(timeout_sec=0.05))
        assert list(board.edges(timeout_sec=0.1)) == []  # the train has ended
        assert [board.read(pin).level for pin in (8, 9, 12)] == [False, True, False]
        # Counted from the last message that the board heard, which was before the kill.
        assert max(after_usec.values()) <= SAFE_MSEC * 1000 + 20_000 + board.stats().slip_usec
        assert min(after_usec.values()) > SAFE_MSEC * 1000 / 2
