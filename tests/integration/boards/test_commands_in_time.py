"""Commands reach a board when they are sent, from the first one on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.engine.status import RunResult
from mlink.recording.collection import Recording
from tests.integration.runs.test_run_life import read_table
from tests.support.bench_runner import BenchRunner
from tests.support.recorded.files import file_of
from tests.support.recorded.json_table import load_json

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

OPEN_LOOP = """
[bench]
name = "open-loop"
time = "TIME"

[devices]
uno = "virtual:uno"

[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.commands" }

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [
    { id = "commands", data_type = "LineCommand" },
    { id = "rows", data_type = "TableRow" },
]

[modules.rows]
type = "table"
inputs = { rows = "loop.rows" }

[modules.edges]
type = "jsonwriter"
input_type = "LineReading"
inputs = { lines-in = "board.fmdata" }

[virtual.w]
type = "wire"
ends = ["uno.8", "uno.2"]
"""
SQUARE = """
import syntalos_mlink as syl
commands = syl.get_output_port("commands")
rows = syl.get_output_port("rows")
led = syl.HwOutputLine(commands, 8)
sense = syl.HwInputLine(commands, 2)

def start():
    rows.set_metadata_value("table_header", ["time_usec", "value"])
    sense.send_mode()
    led.send_mode()

def run():
    while syl.is_running():
        for value in (1, 0):
            led.set_value(value)
            rows.submit([syl.time_since_start_usec(), value])
            syl.wait(50)
"""


def edges_of(result: RunResult, line: int) -> list[tuple[int, int]]:
    """Return (master time in µs, value) of a line's readings."""
    assert result.recording_dir is not None
    rows = load_json(file_of(result.recording_dir, "edges"))["data"]
    return [(time_usec, value) for time_usec, number, value in rows if number == line]


@pytest.mark.parametrize("time", [pytest.param("virtual", marks=pytest.mark.any_pace), "real"])
def test_the_first_pulse_of_a_script_that_only_commands_is_made_as_commanded(
    bench: BenchRunner, time: str
) -> None:
    result = bench.write(OPEN_LOOP.replace("TIME", time), loop=SQUARE).run(1.5)
    assert result.success, result.failures
    commanded = [int(row[0]) for row in read_table(result)[1:] if row][:4]
    edges = edges_of(result, 2)
    first = next(number for number, (_, value) in enumerate(edges) if value)
    made = edges[first : first + 4]
    assert [value for _, value in made] == [1, 0, 1, 0]
    late = [usec - c for (usec, _), c in zip(made, commanded, strict=True)]
    figures = result.reports["board"]
    assert figures["commands_executed"] == len(read_table(result)[1:]) + 2
    if time == "virtual":  # in real time that is a matter of the machine, and reported
        assert all(0 < each < 2_000 for each in late), late
        return
    assert 0 < float(figures["command_late_p50_usec"]) <= float(figures["command_late_max_usec"])
    attributes = Recording(Path(result.recording_dir or "")).attributes
    assert attributes["reports"]["board"]["command_late_p99_usec"] > 0


PULSES = """
import syntalos_mlink as syl
led = syl.HwOutputLine(syl.get_output_port("commands"), 8)

def start():
    led.send_mode()

def later():
    led.pulse_msec(5)
    syl.schedule_delayed_call(20, later)

def run():
    later()
    while syl.is_running():
        syl.wait(1000)
"""


def test_the_edges_of_pulses_and_delayed_calls_have_their_lateness(bench: BenchRunner) -> None:
    result = bench.write(OPEN_LOOP.replace("TIME", "real"), loop=PULSES).run(1.0)
    assert result.success, result.failures
    board, loop = result.reports["board"], result.reports["loop"]
    assert float(board["pulse_late_p50_usec"]) > 0
    assert float(loop["delayed_call_late_p50_usec"]) > 0
    assert {"pulses_late", "commands_late"} <= board.keys()
    assert "delayed_calls_late" in loop
