"""Loop latency on the virtual Uno: pin edge → firmware → host → firmware → pin edge.

A button on pin 7 is answered on pin 8, once by a bare pyFirmata2 callback in a program of its own
on the real StandardFirmata at 57,600 baud, and by a bench (board process → script process → board
process) on the same firmware and on ours at 1,000,000 baud. Times are the simulated chip's. Rounds
are interleaved.
"""

from __future__ import annotations

import logging
import math
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.messages import LEFT, READ, Edge, LineReply, PinReply
from mlink_hil.devices import VirtualDevices
from tests.benchmarks.table import Table, arguments, percentile, publish
from tests.support.bench_runner import BenchRunner

BUTTON, LED = 7, 8

PEER = """
import sys, time
import pyfirmata2
board = pyfirmata2.Arduino(sys.argv[1])
button = board.get_pin("d:7:i")
led = board.get_pin("d:8:o")
button.register_callback(lambda level: led.write(1 if level else 0))
board.samplingOn()
print("ready", flush=True)
sys.stdin.read()
"""

BENCH = """
[bench]
name = "loop-latency"
[devices]
uno = "virtual:uno?firmware=FIRMWARE"
[modules.board]
type = "firmata-io"
device = "uno"
[modules.board.inputs]
fmctl = "loop.ctl"
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "readings", data_type = "LineReading" }]
ports_out = [{ id = "ctl", data_type = "LineCommand" }]
inputs = { readings = "board.fmdata" }
"""

LOOP = """
import syntalos_mlink as syl
ctl = syl.get_output_port("ctl")
led = syl.HwOutputLine(ctl, 8)
button = syl.HwInputLine(ctl, 7)
def answer(reading):
    led.set_value(reading.value)
syl.get_input_port("readings").on_data = answer
def start():
    led.send_mode()
    button.send_mode()
"""


class Trip(NamedTuple):
    """One loop, in ms: its latency, and what the host adds to chip and line."""

    whole: float
    host: float


def measure(control: Path, presses: int, seed: int) -> list[Trip]:
    """Press and release the button at random moments."""
    chance = random.Random(seed)
    trips = []
    with VirtualBoard.connect(control) as board:
        level = True
        board.drive(BUTTON, level)  # a pin that floats reads low
        time.sleep(0.2)
        board.watch([LED])
        for number in range(presses + 10):
            time.sleep(chance.uniform(0.010, 0.025))
            for _ in board.edges(timeout_sec=0.0):
                pass
            level = not level
            board.line_events()
            pressed = board.drive(BUTTON, level)
            answer = board.wait_edge(LED, timeout_sec=1.0)
            if answer is None:
                raise SystemExit("the loop did not answer within 1 s")
            if number >= 10:  # the first ones warm the path up
                whole = (answer.time_ns - pressed.time_ns) / 1e6
                trips.append(Trip(whole, host_ms(board.line_events(), pressed, answer)))
    return trips


def host_ms(line: LineReply, pressed: PinReply, answer: Edge) -> float:
    """Time from the last byte of the board until it has read the answer, in ms."""
    read = [ns for kind, ns, _ in line.events if kind == READ and ns <= answer.time_ns]
    last = read[-1] if read else 0
    left = [ns for kind, ns, _ in line.events if kind == LEFT and pressed.time_ns < ns < last]
    return (read[-1] - left[-1]) / 1e6 if left else math.nan


@contextmanager
def peer() -> Iterator[Path]:
    """A bare pyFirmata2 program on a virtual Uno of its own; yields the control socket."""
    log = logging.getLogger("bench")
    with tempfile.TemporaryDirectory() as folder:
        provider = VirtualDevices()
        with provider.open(
            name="uno", spec="virtual:uno?firmware=standard", work_dir=Path(folder), log=log
        ) as endpoint:
            program = subprocess.Popen(
                [sys.executable, "-c", PEER, endpoint.address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert program.stdout is not None
            assert program.stdin is not None
            if program.stdout.readline() != "ready\n":
                raise SystemExit("pyFirmata2 did not start")
            time.sleep(0.5)
            yield Path(endpoint.control)
            program.kill()
            program.wait()


def ours(firmware: str, presses: int, seed: int) -> list[Trip]:
    """Loops of a bench on a firmware."""
    found: list[Trip] = []
    with tempfile.TemporaryDirectory() as folder:
        runner = BenchRunner(Path(folder)).write(BENCH.replace("FIRMWARE", firmware), loop=LOOP)

        def act() -> None:
            assert runner.engine is not None
            assert runner.engine.work_dir is not None
            (control,) = runner.engine.work_dir.glob("*.sock")
            try:
                found.extend(measure(control, presses, seed))
            finally:
                runner.stop()

        runner.when_running(0.5, lambda: threading.Thread(target=act, name="presser").start())
        result = runner.run(None, record=False)
        if not result.success:
            raise SystemExit(f"the bench failed: {result.failures}")
    return found


def main() -> None:
    """Measure and print the table."""
    parser = arguments(__doc__ or "", seconds=5, rounds=2)
    options = parser.parse_args()
    presses = max(50, round(options.seconds * 50))
    trips_bare: list[Trip] = []
    trips_mlink: list[Trip] = []
    trips_own: list[Trip] = []
    for number in range(options.rounds):
        with peer() as control:
            trips_bare += measure(control, presses, number)
        trips_mlink += ours("standard", presses, number)
        trips_own += ours("mlink", presses, number)
    bare, mlink, own = (
        [trip.whole for trip in trips] for trips in (trips_bare, trips_mlink, trips_own)
    )
    table = Table(
        "Loop latency on the virtual Uno (StandardFirmata, 57,600 baud), ms",
        ["mlink", "bare pyFirmata2"],
    )
    for name, share in (("p50", 0.50), ("p99", 0.99), ("max", 1.0)):
        ours_ms, bare_ms = percentile(mlink, share), percentile(bare, share)
        target, ok = "", None
        if name == "p50":
            target, ok = "within 0.25 ms", ours_ms <= bare_ms + 0.25
        elif name == "p99":
            target, ok = "≤ 1.5 ×", ours_ms <= 1.5 * bare_ms
        table.add(
            name,
            f"{ours_ms:.3f}",
            f"{bare_ms:.3f}",
            ratio=ours_ms / bare_ms,
            target=target,
            ok=ok,
            mlink_ms=ours_ms,
            bare_ms=bare_ms,
        )
    wire_ms = 6 * 10 / 57_600 * 1e3
    table.notes.append(f"{len(mlink)} edges each; the wire alone takes {wire_ms:.2f} ms")
    fast = Table(
        "Loop latency on mlink's firmware at 1,000,000 baud, ms",
        ["mlink, own firmware", "bare pyFirmata2"],
    )
    for name, share in (("p50", 0.50), ("p99", 0.99), ("max", 1.0)):
        own_ms, bare_ms = percentile(own, share), percentile(bare, share)
        is_median = name == "p50"
        fast.add(
            name,
            f"{own_ms:.3f}",
            f"{bare_ms:.3f}",
            ratio=own_ms / bare_ms,
            target="≤ 1 / 2.5" if is_median else "",
            ok=own_ms * 2.5 <= bare_ms if is_median else None,
            own_ms=own_ms,
            bare_ms=bare_ms,
        )
    own_wire_ms = (13 + 3) * 10 / 1_000_000 * 1e3
    fast.notes.append(f"{len(own)} edges each; the wire alone takes {own_wire_ms:.2f} ms")
    adds = Table(
        "What the host adds to chip and line, ms; bare: pyFirmata2 on StandardFirmata",
        ["mlink", "bare pyFirmata2"],
    )
    for name, trips in (("StandardFirmata", trips_mlink), ("own firmware, 1 Mbaud", trips_own)):
        ours_ms, bare_ms = (
            percentile([t.host for t in each if not math.isnan(t.host)], 0.50)
            for each in (trips, trips_bare)
        )
        adds.add(
            f"{name}, p50",
            f"{ours_ms:.3f}",
            f"{bare_ms:.3f}",
            ratio=ours_ms / bare_ms,
            target="≤ 0.2 ms more",
            ok=ours_ms <= bare_ms + 0.2,
            host_ms=ours_ms,
            bare_ms=bare_ms,
        )
    publish([table, fast, adds], options.json)


if __name__ == "__main__":
    main()
