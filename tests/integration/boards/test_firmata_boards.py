"""Virtual boards in whole benches: two and eight at once, and a cable pulled in the run."""

from __future__ import annotations

from typing import Any

import pytest

import mlink_hil.board_choice
from mlink.engine.status import RunResult
from mlink_hil.control.process import UnoProcess
from tests.integration.runs.test_run_life import read_table
from tests.support.bench_runner import BenchRunner

BOARD = """
[modules.board{n}]
type = "firmata-io"
device = "uno{n}"
{settings}
inputs = {{ fmctl = "loop.ctl{n}" }}
"""

LOOP = """
import syntalos_mlink as syl

BOARDS = {boards}
out = syl.get_output_port("rows")
ctl = [syl.get_output_port(f"ctl{{n}}") for n in range(BOARDS)]

def taker(n):
    def take(reading):
        out.submit([n, reading.line_id, reading.value, reading.time_usec])
    return take

for n in range(BOARDS):
    syl.get_input_port(f"in{{n}}").on_data = taker(n)

def prepare():
    out.set_metadata_value("table_header", ["board", "line", "value", "time_usec"])

def start():
    for n in range(BOARDS):
        syl.HwInputLine(ctl[n], 2 + n, pullup=True).send_mode()
"""


def bench_of(boards: int, settings: str = "", *, finger: str) -> tuple[str, dict[str, str]]:
    """A bench of so many boards; board n has its input at line 2 + n."""
    spec = "virtual:uno?simulator=protocol"
    devices = "\n".join(f'uno{n} = "{spec}"' for n in range(boards))
    ports_in = ", ".join(f'{{ id = "in{n}", data_type = "LineReading" }}' for n in range(boards))
    ports_out = ", ".join(f'{{ id = "ctl{n}", data_type = "LineCommand" }}' for n in range(boards))
    inputs = ", ".join(f'in{n} = "board{n}.fmdata"' for n in range(boards))
    text = f"""
[bench]
name = "boards"
[devices]
{devices}
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ports_in}]
ports_out = [{ports_out}, {{ id = "rows", data_type = "TableRow" }}]
inputs = {{ {inputs} }}
[modules.readings]
type = "table"
inputs = {{ rows = "loop.rows" }}
[modules.events]
type = "table"
inputs = {{ rows = "board0.events" }}
[modules.finger]
type = "pyscript"
script = "finger.py"
"""
    text += "".join(BOARD.format(n=n, settings=settings) for n in range(boards))
    return text, {"loop": LOOP.format(boards=boards), "finger": finger}


FINGER = """
import os
from pathlib import Path
import syntalos_mlink as syl
from mlink_hil.control.board import VirtualBoard

def press(board, n, times):
    for _ in range(times):
        for level in (False, True):
            board.drive(2 + n, level)
            syl.await_data(20_000)

def run():
    syl.await_data(300_000)
    while not os.path.exists("work_dir"):
        syl.await_data(20_000)
    for n in range(BOARDS):
        with VirtualBoard(Path("work_dir").read_text() + f"/uno{n}.sock") as board:
            press(board, n, 2 + n)
            PULL
    syl.await_data(200_000)
    syl.println("done")
    while syl.is_running():
        syl.await_data(100_000)
"""

PULL = """board.unplug()
            syl.await_data(500_000)
            board.plug()
            syl.await_data(1_500_000)
            press(board, n, 2)"""


PULL_FOR_GOOD = """board.unplug()
            while syl.is_running():
                syl.await_data(100_000)"""


def finger(boards: int, pull: str = "pass") -> str:
    """A script that presses the button of board n 2 + n times, one board after the other."""
    return FINGER.replace("BOARDS", str(boards)).replace("PULL", pull)


def slow_slices(program: str, arguments: list[str], **options: Any) -> UnoProcess:
    """A virtual Uno that looks at the time every 5 ms, and between at what it has to send."""
    return UnoProcess(program, [*arguments, "--slice-usec", "5000"], **options)


def show_work_dir(bench: BenchRunner) -> None:
    """Give the finger the folder of its own run: others may run at the same time."""
    assert bench.engine is not None
    (bench.folder / "work_dir.part").write_text(str(bench.engine.work_dir))
    (bench.folder / "work_dir.part").rename(bench.folder / "work_dir")


def run_until_done(bench: BenchRunner, text: str, scripts: dict[str, str]) -> RunResult:
    """Run until the finger has pressed all buttons, however slow the machine is."""

    def on_output(module: str, line: str) -> None:
        if line == "done":
            bench.stop()

    bench.watcher.on_output = on_output  # type: ignore[method-assign]
    bench.write(text, **scripts).when_running(0.0, lambda: show_work_dir(bench))
    return bench.run(60.0)


def readings(result: RunResult) -> dict[int, list[tuple[int, int]]]:
    """(line, value) of every reading, by board."""
    found: dict[int, list[tuple[int, int]]] = {}
    for row in read_table(result, "readings")[1:]:
        if row:
            board, line, value, _ = map(int, row)
            found.setdefault(board, []).append((line, value))
    return found


def expected(number: int) -> list[tuple[int, int]]:
    """The line's state when it is set up, then its presses."""
    line = 2 + number
    return [(line, 1), *[(line, 0), (line, 1)] * (2 + number)]


def test_two_boards_have_a_stream_each_and_only_their_own_readings(bench: BenchRunner) -> None:
    text, scripts = bench_of(2, finger=finger(2))
    result = run_until_done(bench, text, scripts)
    assert result.success, result.failures
    assert readings(result) == {0: expected(0), 1: expected(1)}


@pytest.mark.timeout(180)
def test_eight_boards_run_in_one_bench(bench: BenchRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    # eight programs that wake at a real-time priority every 100 µs leave two cores to nobody else
    monkeypatch.setattr(mlink_hil.board_choice, "UnoProcess", slow_slices)
    text, scripts = bench_of(8, finger=finger(8))
    result = run_until_done(bench, text, scripts)
    assert result.success, result.failures
    assert readings(result) == {n: expected(n) for n in range(8)}
    assert {stream.name: stream.lost for stream in result.streams if stream.lost} == {}


def test_a_pulled_cable_is_survived_in_the_same_run(bench: BenchRunner) -> None:
    text, scripts = bench_of(1, 'on_loss = "continue"', finger=finger(1, PULL))
    result = run_until_done(bench, text, scripts)
    assert result.success, result.failures
    # after the gap the line's state is reported again, then two presses more
    assert readings(result)[0] == [*expected(0), *expected(0)]
    events = [row for row in read_table(result, "events")[1:] if row]
    assert [row[1] for row in events] == ["connected", "lost", "reopening", "connected"]
    times = [int(row[0]) for row in events]
    assert times[1] < times[2] < times[3]
    assert "no readings until it is back" in bench.watcher.log_text()


def test_without_that_wish_a_pulled_cable_ends_the_run_and_names_the_board(
    bench: BenchRunner,
) -> None:
    text, scripts = bench_of(1, finger=finger(1, PULL_FOR_GOOD))
    bench.write(text, **scripts).when_running(0.0, lambda: show_work_dir(bench))
    result = bench.run(60.0)
    assert not result.success
    (failure,) = result.failures
    assert failure.module == "board0", failure
    assert "uno0 (virtual:uno?simulator=protocol) lost" in failure.message
