"""Simulated parts: what they cost to start, to go on, and to keep two chips in real time.

Run alone on the machine: python tests/benchmarks/bench_hil.py [--seconds 10] [--rounds 3]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mlink.bench import load_bench  # noqa: E402 - the project's folder comes first
from mlink.engine.options import RunOptions  # noqa: E402
from mlink_hil.sim.circuit.build import Circuit  # noqa: E402
from mlink_hil.sim.plan import BoardPlan, CircuitPlan  # noqa: E402
from mlink_hil.testing import edge  # noqa: E402
from mlink_hil.testing.bench import TestBench  # noqa: E402
from mlink_hil.testing.bench_run import BenchRun  # noqa: E402
from mlink_hil.uno import CLOCK_HZ  # noqa: E402
from tests.benchmarks.table import Table, arguments, median, publish  # noqa: E402

BENCHES = ROOT / "hil" / "benches"
LAMP = BENCHES / "dut-firmware" / "firmware" / "lamp-good.hex"
START_TARGET_SEC = 2.0
TEST_TARGET_SEC = 0.3
TURNS_USEC = (1000.0, 50.0, 20.0, 10.0)

SCENE = f"""
[devices]
uno = "virtual:uno"
eye = "virtual:scene"

[virtual.lamp]
type = "chip"
firmware = "{LAMP}"
wires = {{ 2 = "uno.4", 8 = "uno.7" }}

[virtual.light]
type = "led"
line = "lamp.8"
scene = "eye"

[virtual.eye]
type = "scene"
device = "eye"
readout_usec = 8000

[modules.board]
type = "firmata-io"
device = "uno"

[modules.cam]
type = "camera-generic"
device = "eye"
size = [640, 480]
framerate = 60

[modules.video]
type = "videorecorder"
inputs = {{ frames-in = "cam.video" }}
"""

TESTS = """
import pytest
from mlink_hil.testing import edge

pytestmark = pytest.mark.bench({bench!r}, scope="session")

@pytest.mark.parametrize("number", range(11))
def test_a_press_is_seen(bench, number):
    bench.board().line(3).drive(False)
    press = bench.board().line(3).drive(True)
    bench.expect(edge(3, rising=True), within_usec=100_000, around=press)
"""


def start_run(path: Path) -> tuple[float, BenchRun]:
    """Return how long a bench took from nothing to its first decided expectation, in s."""
    began = time.monotonic()
    run = BenchRun(load_bench(path), RunOptions(record=False))
    run.start()
    bench = TestBench(run)
    board = next(iter(run.boards))
    bench.board(board).line(3).drive(False)
    press = bench.board(board).line(3).drive(True)
    bench.expect(edge(3, rising=True, board=board), within_usec=1_000_000, around=press)
    return time.monotonic() - began, run


def start_table(rounds: int) -> Table:
    table = Table("From nothing to the first assertion", ["median s", "worst s"])
    for name in ("led-follows-button", "camera-sees-light", "dut-firmware", "two-boards"):
        took = []
        for number in range(rounds + 1):
            seconds, run = start_run(BENCHES / name)
            run.stop()
            if number:  # the first warms the machine's caches
                took.append(seconds)
        middle = median(took)
        table.add(
            name, f"{middle:.2f}", f"{max(took):.2f}", target=f"< {START_TARGET_SEC:g} s",
            ok=middle < START_TARGET_SEC, seconds=middle,
        )  # fmt: skip
    return table


def further_table() -> Table:
    """A test after the first on a session's bench, as JUnit counts it: set-up, call, teardown."""
    table = Table("A further test on a session's bench", ["median s", "worst s"])
    with tempfile.TemporaryDirectory(prefix="mlink-bench-") as name:
        folder = Path(name)
        text = TESTS.format(bench=str(BENCHES / "dut-firmware" / "bench.toml"))
        (folder / "test_it.py").write_text(text)
        junit = folder / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-c", "/dev/null"]
        command += ["--rootdir", name, f"--junitxml={junit}", "--mlink-record=never"]
        command += ["--mlink-time=real", name]  # what threads cost
        subprocess.run(command, check=True, cwd=folder, capture_output=True)
        times = [float(case.attrib["time"]) for case in ET.parse(junit).iter("testcase")]
    further = times[1:-1]  # the last one's teardown is the end of the run
    middle = median(further)
    table.add(
        "dut-firmware", f"{middle:.3f}", f"{max(further):.3f}", target=f"≤ {TEST_TARGET_SEC:g} s",
        ok=middle <= TEST_TARGET_SEC, seconds=middle,
    )  # fmt: skip
    return table


def realtime_table(seconds: float) -> Table:
    """One chip, and two chips with a scene that is filmed and recorded, in real time."""
    table = Table(
        f"Real time for {seconds:g} s",
        ["late slices %", "skipped ms", "of a core %", "frames lost"],
    )
    with tempfile.TemporaryDirectory(prefix="mlink-bench-") as name:
        scene = Path(name) / "bench.toml"
        scene.write_text(SCENE)
        for title, path in (
            ("one chip, one scene", BENCHES / "camera-sees-light"),
            ("two chips, one scene", scene),
        ):
            _, run = start_run(path)
            link = run.boards["uno"]
            before, began = link.stats(), time.monotonic()
            end = began + seconds
            while time.monotonic() < end:
                for level in (False, None):
                    run.drive("uno", 4, level)
                    time.sleep(0.05)
            after, took = link.stats(), time.monotonic() - began
            result = run.stop()
            late = after.late_slices - before.late_slices
            slices = after.slices - before.slices
            lost = sum(stream.lost for stream in result.streams) if result else -1
            share = 100 * (after.cpu_sec - before.cpu_sec) / took
            percent = 100 * late / max(1, slices)
            slip_msec = (after.slip_usec - before.slip_usec) / 1000
            table.add(
                title, f"{percent:.2f}", f"{slip_msec:.1f}", f"{share:.0f}", str(lost),
                target="nothing skipped" if title.startswith("two") else "",
                ok=slip_msec == 0 if title.startswith("two") else None,
                late_percent=percent, slip_msec=slip_msec, core_percent=share,
            )  # fmt: skip
    table.notes.append("a slice is 100 µs, and late when it began more than that after it was due")
    return table


def turns_table() -> Table:
    """What common time costs: two chips, simulated by themselves and in short turns."""
    table = Table(
        "Two chips for one simulated second: processor time",
        ["s", "wire delay µs"],
    )
    seconds = {usec: _simulate(usec) for usec in TURNS_USEC}
    free = seconds[TURNS_USEC[0]]
    for usec, took in seconds.items():
        name = "each by itself" if usec == TURNS_USEC[0] else f"in turns of {usec:g} µs"
        delay = "" if usec == TURNS_USEC[0] else f"{usec:g}"
        ok = None if usec != 20 else took < 0.8
        target = "" if ok is None else "< 0.8 s"
        table.add(name, f"{took:.3f}", delay, ratio=took / free, target=target, ok=ok, sec=took)
    table.notes.append("ratio: to the two chips each by itself")
    return table


def _simulate(turn_usec: float) -> float:
    boards = [BoardPlan(name=name, control="", firmware=str(LAMP)) for name in ("left", "right")]
    nets = [[("left", "8"), ("right", "2")]] if turn_usec < TURNS_USEC[0] else []
    circuit = Circuit(CircuitPlan(boards=boards, nets=nets, wire_usec=turn_usec))
    for node in circuit.nodes.values():
        node.switch_on(0)
    circuit.clock.run_until(CLOCK_HZ // 10)
    began = time.process_time()
    circuit.clock.run_until(circuit.clock.cycle + CLOCK_HZ)
    return time.process_time() - began


def main() -> None:
    options = arguments(__doc__ or "", seconds=10, rounds=3).parse_args()
    tables = []
    for measure in (
        turns_table,
        lambda: realtime_table(options.seconds),
        further_table,
        lambda: start_table(options.rounds),
    ):
        tables.append(measure())
        publish(tables[-1:], None)  # each as soon as it is known
    if options.json is not None:
        publish(tables, options.json)


if __name__ == "__main__":
    main()
