"""The chip's clock on the host's, with a crystal that is off: intervals between edges stay true.

One test lets the chip run as fast as the simulator can, against its own cycle counter, with host
and driver delays drawn from what a loaded machine does. The other runs a whole bench in real time.
The default tier has short versions; `pytest -m long` the promised ones.
"""

from __future__ import annotations

import csv
import itertools
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.messages import ClockAnswer, EdgeBlock
from mlink_drivers.firmata.chip.queries import PAUSE_S
from mlink_drivers.firmata.wire.arrival import wire_time_ns
from mlink_hil.control.board import VirtualBoard
from tests.support.bench_runner import BenchRunner
from tests.support.boards.firmware_chip import CYCLES_PER_USEC, Chip
from tests.support.recorded.files import file_of

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

SETTLE_S = 20.0
"""Nothing is judged before: the rate is learnt to some ppm by then."""
LIMIT_USEC = 20.0
_ANSWER_BYTES = 15


def simulated_intervals(crystal_ppm: float, seconds: float) -> np.ndarray:
    """Errors of the intervals between edges, in µs, on a chip with this crystal."""
    chip = Chip()
    rng = random.Random(7)

    def host_ns(cycle: float) -> float:
        return cycle / CYCLES_PER_USEC * 1000 / (1 + crystal_ppm * 1e-6)

    def delay_ns() -> float:
        """What lies between a program and the wire: mostly little, at times much."""
        usec = (
            40 + rng.expovariate(1 / 60) + (rng.expovariate(1 / 3000) if rng.random() < 0.05 else 0)
        )
        return usec * 1000

    def cycles(ns: float) -> float:
        return ns / 1000 * CYCLES_PER_USEC * (1 + crystal_ppm * 1e-6)

    clock = ChipClock(2_000_000, wire_time_ns(1, 1_000_000))
    chip.ask(chip_encode.change_baud(1_000_000))
    chip.ask(chip_encode.confirm_baud())
    chip.ask(chip_encode.watch_edges({7: 3}))
    byte_ns = wire_time_ns(1, 1_000_000)
    begin = chip.cycle
    made: list[float] = []
    reported: list[float] = []
    asks = itertools.count()
    next_ask, next_edge, level, pause_s = chip.cycle + 1, chip.cycle + 2, False, 0.02
    while host_ns(chip.cycle - begin) < (seconds + SETTLE_S) * 1e9:
        at = min(next_ask, next_edge)
        chip.board.run_until(round(at))
        if at == next_edge:
            level = not level
            chip.board.drive(7, level)
            made.append(host_ns(chip.cycle))
            next_edge = chip.cycle + cycles(rng.uniform(2, 300) * 1e6)
            chip.run_usec(400)
        else:
            if next(asks) > 16:
                pause_s = min(PAUSE_S, pause_s * 1.04)
            chip.send(clock.query(round(host_ns(chip.cycle) - delay_ns())), run_usec=600)
            next_ask = chip.cycle + cycles(pause_s * 1e9)
        for message, arrival in zip(chip.messages, chip.arrivals, strict=True):
            if isinstance(message, ClockAnswer):
                first_byte_ns = host_ns(arrival) - _ANSWER_BYTES * byte_ns + delay_ns()
                clock.take(message, round(first_byte_ns))
            elif isinstance(message, EdgeBlock):
                reported += [float(clock.to_monotonic_ns(edge.ticks)) for edge in message.edges]
        chip.take()
    chip.board.close()
    assert len(reported) == len(made)
    settled = np.array(made) > host_ns(begin) + SETTLE_S * 1e9
    errors = np.diff(np.array(reported)[settled]) - np.diff(np.array(made)[settled])
    return np.abs(errors) / 1000


def check(errors: np.ndarray) -> None:
    p50, p99, p999 = np.percentile(errors, [50, 99, 99.9])
    print(f"{len(errors)} intervals: p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p999:.1f} µs")
    assert p99 <= LIMIT_USEC


@pytest.mark.parametrize("crystal_ppm", [200, -200])
def test_intervals_are_true_with_a_crystal_that_is_off(crystal_ppm: int) -> None:
    check(simulated_intervals(crystal_ppm, 20.0))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("crystal_ppm", [200, -200])
def test_intervals_are_true_for_ten_minutes(crystal_ppm: int) -> None:
    check(simulated_intervals(crystal_ppm, 600.0))


BENCH = """
[bench]
name = "clock-sync"
[devices]
uno = "virtual:uno?clock_ppm=PPM"
[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.ctl" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "readings", data_type = "LineReading" }]
ports_out = [{ id = "ctl", data_type = "LineCommand" }, { id = "rows", data_type = "TableRow" }]
inputs = { readings = "board.fmdata" }
[modules.readings]
type = "table"
inputs = { rows = "loop.rows" }
"""
LOOP = """
import syntalos_mlink as syl
ctl, rows = syl.get_output_port("ctl"), syl.get_output_port("rows")
button = syl.HwInputLine(ctl, 7)
syl.get_input_port("readings").on_data = lambda r: rows.submit([r.value, r.time_usec])

def start():
    button.send_mode()
"""


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("crystal_ppm", [200, -200])
def test_a_bench_in_real_time_has_true_intervals(tmp_path: Path, crystal_ppm: int) -> None:
    """A minute through serial port, reader thread, stream, script and table.

    Where the host stopped the simulator for so long that it gave time up, the chip's clock stood
    still: intervals across that are left out.
    """
    runner = BenchRunner(tmp_path).write(BENCH.replace("PPM", str(crystal_ppm)), loop=LOOP)
    made: list[tuple[int, int]] = []

    def press() -> None:
        assert runner.engine is not None
        assert runner.engine.work_dir is not None
        (control,) = runner.engine.work_dir.glob("*.sock")
        rng = random.Random(1)
        with VirtualBoard.connect(control) as board:
            end = time.monotonic() + 60 + SETTLE_S
            while time.monotonic() < end:
                reply = board.drive(7, len(made) % 2 == 0)
                made.append((reply.cycle, reply.time_ns))
                time.sleep(rng.uniform(0.002, 0.1))
            time.sleep(0.5)
        runner.stop()

    runner.when_running(1.0, lambda: threading.Thread(target=press, name="presser").start())
    result = runner.run(None)
    assert result.success, result.failures
    with file_of(str(result.recording_dir), "readings").open() as file:
        reported = [
            int(row[1]) for row in csv.reader(file, delimiter=";") if row and row[1].isdigit()
        ]
    reported = reported[1:]  # the first reading is the line's level at the start
    assert len(reported) == len(made)
    times = np.array([time_ns for _, time_ns in made]) / 1000
    cycles_usec = np.array([cycle for cycle, _ in made]) / CYCLES_PER_USEC
    true_usec = np.diff(times)
    steady = np.abs(true_usec - np.diff(cycles_usec) / (1 + crystal_ppm * 1e-6)) < 5
    settled = times[1:] - times[0] > SETTLE_S * 1e6
    errors = np.abs(np.diff(np.array(reported, float)) - true_usec)[steady & settled]
    assert len(errors) > 0.9 * settled.sum()
    check(errors)
    assert float(result.reports["board"]["board_clock_ppm"]) == pytest.approx(crystal_ppm, abs=20)
