"""Counters of our firmware through the module firmata-io: rows, refusals, other firmwares."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlink.script as ms
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.extra import sysex
from mlink_drivers.firmata.lines.rows import COUNTERS_HEADER
from mlink_hil.sim.fetch_firmware import is_cached
from tests.support.boards.chip_bench import Port, chip_bench, wait_until
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


@pytest.mark.skipif(not is_cached(), reason="StandardFirmata's image is not on this machine")
def test_another_firmware_is_refused_in_words(tmp_path: Path):
    with chip_bench(tmp_path, "standard") as (bench, _board):
        ms.count_edges(Port(bench), 7)
        failure = bench.failure()
        assert "no counters" in failure
        assert "mlink flash" in failure
        bench.context.failures.clear()
