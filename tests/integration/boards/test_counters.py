"""Counters of our firmware through the module firmata-io: rows, refusals, other firmwares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mlink.script as ms
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.extra import sysex
from mlink_drivers.firmata.lines.rows import COUNTERS_HEADER
from tests.support.boards.chip_bench import Port, chip_bench, wait_until
from tests.support.boards.virtual_run import BENCH, run
from tests.unit.test_docs import python_block

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim


def rows(bench) -> list[dict[str, str]]:
    return [dict(zip(COUNTERS_HEADER, row, strict=True)) for row in bench.rows("counters")]


def turn(board, states: str) -> None:
    """Set lines 2 (A) and 3 (B) to each of the states, one line at a time."""
    for state in states.split():
        board.drive(2, state[0] == "1")
        board.drive(3, state[1] == "1")


def test_an_encoders_position_goes_both_ways_and_its_lines_send_no_readings(tmp_path: Path):
    with chip_bench(tmp_path) as (bench, board):
        ms.count_encoder(Port(bench), 2, 3, period_msec=20)
        wait_until(lambda: rows(bench))
        turn(board, "10 11 01 00 10")
        wait_until(lambda: rows(bench)[-1]["position"] == "5", lambda: rows(bench)[-1])
        turn(board, "00 01 11 10 00 01 11")
        wait_until(lambda: rows(bench)[-1]["position"] == "-2", lambda: rows(bench)[-1])
        last = rows(bench)[-1]
        assert (last["edges"], last["line"], last["frequency_hz"]) == ("12", "2", "")
        assert int(last["last_edge_usec"]) <= int(last["time_usec"])
        assert sum(int(row["missed"]) for row in rows(bench)) == 0
        assert bench.readings == []
        ms.count_encoder(Port(bench), 2, 3, period_msec=20)  # begins anew
        wait_until(lambda: rows(bench)[-1]["position"] == "0", lambda: rows(bench)[-1])
        ms.stop_counter(Port(bench))


def test_the_example_of_the_docs_measures_frequency_and_duty(tmp_path: Path):
    """The board makes the pulses itself, on the line that it counts."""
    with chip_bench(tmp_path) as (bench, board):
        example = python_block("docs/boards.md", "ms.count_edges")
        exec(example, {"commands": Port(bench), "ms": ms})
        bench.ask(sysex(0x04, chip_encode.train(7, 1000, 3000)[2:-1]))
        wait_until(lambda: sum(row["duty"] != "" for row in rows(bench)) > 1)
        last = [row for row in rows(bench) if row["duty"]][-1]
        assert abs(float(last["frequency_hz"]) - 500) < 2
        assert abs(float(last["duty"]) - 0.25) < 0.01
        board.drive(2, True)
        wait_until(
            lambda: {row["position"] for row in rows(bench) if row["line"] == "2"} == {"0", "1"}
        )


def test_lines_of_two_ports_fail_the_run_in_words(tmp_path: Path):
    with chip_bench(tmp_path) as (bench, _board):
        ms.count_encoder(Port(bench), 7, 8)
        failure = bench.failure()
        assert "refuses a counter" in failure
        assert "2 and 3" in failure
        bench.context.failures.clear()


TURNED = """
from mlink_hil.dut import Dut

class Encoder(Dut):
    '''A leads B; turns `steps` from each of the times (ms) in `begins` on.'''
    pins = ("a", "b", "both")

    def __init__(self, begins, steps, jumps=0):
        self.begins, self.steps, self.jumps = begins, steps, jumps

    def start(self):
        at, phase = 0, 0
        self.show(0, 0.0)
        for begin in self.begins:
            for step in range(self.steps):
                phase += 1
                self.show(phase, begin * 1000 + step * 5000.0)
        for jump in range(self.jumps):
            phase += 2
            self.show(phase, begin * 1000 + self.steps * 5000 + jump * 20_000)

    def show(self, phase, at_usec):
        self.set("a", phase % 4 in (1, 2), at_usec=at_usec)
        self.set("b", phase % 4 in (2, 3), at_usec=at_usec)
"""
COUNTING = """
import mlink.script as ms
import syntalos_mlink as syl

commands = syl.get_output_port("commands")
rows, events = [], []

def start():
    syl.get_input_port("counters").on_data = rows.append
    syl.get_input_port("events").on_data = lambda row: events.append(row[1])
    syl.get_input_port("readings").on_data = print
    ORDER

def stop():
    last = dict(zip(COLUMNS, rows[-1]))
    missed = sum(int(row[-1] or 0) for row in rows)
    print(last["position"], last["edges"], missed, events.count("counts-missed"), "end")
    for row in rows:
        print("row", *(cell or "-" for cell in row))
"""
KINDS = {"own": "virtual:uno", "host": "virtual:uno?simulator=protocol"}


def count(folder: Path, kind: str, order: str, *, more: str = "", seconds: float = 1.8, **turns):
    """Run a counter on an encoder; return result, observer, and (position, edges, missed, told)."""
    settings = ", ".join(f"{key} = {value}" for key, value in turns.items())
    bench = BENCH.replace("virtual:uno", KINDS[kind]).replace(
        'device = "uno"\n', 'device = "uno"\non_loss = "continue"\n'
    )
    bench += f"""source = "dut.py:Encoder"
wires = {{ a = "uno.2", b = "uno.3" }}
settings = {{ {settings} }}
{more}
"""
    script = COUNTING.replace("ORDER", order).replace("COLUMNS", repr(COUNTERS_HEADER))
    result, observer = run(folder, bench, script, TURNED, seconds)
    (end,) = re.findall(r"(-?\d+) (\d+) (\d+) (\d+) end", observer.text)
    return result, observer, tuple(map(int, end))


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_encoder_misses_is_counted_in_rows_events_and_the_run(
    tmp_path: Path, kind: str
) -> None:
    order = "ms.count_encoder(commands, 2, 3, period_msec=20)"
    result, observer, end = count(tmp_path, kind, order, begins=[900], steps=40, jumps=3)
    assert result.success, result.failures
    # The protocol board reports each line by itself.
    assert end == ((40, 40, 3, 3) if kind == "own" else (46, 46, 0, 0))
    assert result.reports["board"].get("counts_missed_by_board", 0) == end[2]
    assert "LineReading" not in observer.text
    warnings = [line for line in observer.log if "the host counts its reports" in line]
    assert len(warnings) == (kind == "host")


def test_a_miss_fails_a_strict_run(tmp_path: Path) -> None:
    order = "ms.count_encoder(commands, 2, 3, period_msec=20)"
    more = "[bench]\nstrict = true\n"
    result, _, _ = count(tmp_path, "own", order, more=more, begins=[900], steps=4, jumps=1)
    assert not result.success
    assert any("could not count 1 time(s)" in failure.message for failure in result.failures)


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_that_is_back_counts_on_from_before(tmp_path: Path, kind: str) -> None:
    order = "ms.count_encoder(commands, 2, 3, period_msec=20)"
    more = '[[faults]]\nat_sec = 1.2\nfor_sec = 0.4\nkind = "unplug"\ntarget = "uno"\n'
    turns = {"begins": [900, 3000], "steps": 40}
    result, observer, end = count(tmp_path, kind, order, more=more, seconds=4.0, **turns)
    assert result.success, result.failures
    assert end == (80, 80, 0, 0), observer.log
    assert result.reports["board"]["reconnects"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_edges_frequency_and_duty_by_both_ways(tmp_path: Path, kind: str) -> None:
    order = "ms.count_edges(commands, 2, period_msec=100)"
    result, observer, end = count(tmp_path, kind, order, begins=[900], steps=120)
    assert result.success, result.failures
    assert end == (30, 30, 0, 0)
    rows = [line.split()[1:] for line in observer.text.splitlines() if line.startswith("row")]
    measured = [row for row in rows if row[6] != "-"]
    assert len(measured) >= 4
    # a period is four steps of 5 ms; the protocol board reports once in a ms
    off = 0.001 if kind == "own" else 0.06
    assert all(abs(float(row[6]) / 50 - 1) < off for row in measured), rows
    assert all(abs(float(row[7]) - 0.5) < off for row in measured), rows


def test_rows_that_are_more_than_the_line_carries_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with chip_bench(tmp_path, fast_baud_rate=0) as (bench, _board):
        ms.count_encoder(Port(bench), 2, 3, period_msec=10)
        ms.count_edges(Port(bench), 7, index=1, period_msec=5)
        wait_until(lambda: len(rows(bench)) > 3)
        sequence = [row["counter"] for row in rows(bench)]
        assert set(sequence) == {"0", "1"}
    texts = [record.getMessage() for record in caplog.records]
    assert any("rows of counters need 11400 bytes/s" in text for text in texts), texts
