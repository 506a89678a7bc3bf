"""Hints in the result of a run that succeeded and did nothing."""

from __future__ import annotations

import json
from pathlib import Path

from mlink.cli.terminal.summary import result_as_json
from mlink.recording.collection import Recording
from tests.support.bench_runner import BenchRunner

IDLE = """
[devices]
uno = "virtual:uno?simulator=protocol"

[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.commands" }

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "lines", data_type = "LineReading" }]
ports_out = [{ id = "commands", data_type = "LineCommand" }]
"""
FORGETFUL = """
import syntalos_mlink as syl
commands = syl.get_output_port("commands")
button = syl.HwInputLine(commands, 7)
led = syl.HwOutputLine(commands, 8)

def on_reading(reading):
    led.set_value(reading.value)

def start():
    syl.get_input_port("lines").on_data = on_reading

def run():
    pass
"""
BUSY = """
import syntalos_mlink as syl
commands = syl.get_output_port("commands")
button = syl.HwInputLine(commands, 7, pullup=True)
led = syl.HwOutputLine(commands, 8)

def blink():
    led.set_value(1)

def start():
    button.send_mode()
    led.send_mode()
    syl.get_input_port("lines").on_data = lambda reading: None

def run():
    syl.schedule_delayed_call(100, blink)
"""


def test_a_run_that_did_nothing_has_a_hint_for_each_reason(bench: BenchRunner) -> None:
    result = bench.write(IDLE, loop=FORGETFUL).run(0.5)
    assert result.success, result.failures
    found = [(hint.partition(": ")[0], hint.partition(": ")[2]) for hint in sorted(result.hints)]
    assert [module for module, _ in found] == ["board", "loop", "loop", "loop"]
    texts = [text for _, text in found]
    assert texts[0].startswith(
        "the board received no command and sent no reading: send it the mode"
    )
    assert texts[1].startswith("on port 'commands' the mode of line 7, 8 was never sent")
    assert texts[2].startswith(
        "on_data of port 'lines' was never called: the bench connects nothing"
    )
    assert texts[3].startswith("run() returned after 0.0")
    assert json.loads(result_as_json(result))["hints"] == result.hints
    attributes = Recording(Path(result.recording_dir or "")).attributes
    assert attributes["hints"] == result.hints


def test_a_run_in_which_everything_is_connected_has_none(bench: BenchRunner) -> None:
    connected = IDLE + 'inputs = { lines = "board.fmdata" }\n'
    result = bench.write(connected, loop=BUSY).run(0.5)
    assert result.success, result.failures
    assert result.hints == []


def test_a_run_that_failed_has_none(bench: BenchRunner) -> None:
    failing = FORGETFUL.replace("    pass", "    raise ValueError('no')")
    result = bench.write(IDLE, loop=failing).run(0.5)
    assert not result.success
    assert result.hints == []


def test_a_board_without_a_script_is_to_be_connected(bench: BenchRunner) -> None:
    alone = IDLE.split("[modules.loop]", maxsplit=1)[0].replace("inputs =", "# inputs =")
    result = bench.write(alone).run(0.5)
    assert result.success, result.failures
    assert result.hints == [
        "board: the board received no command and sent no reading: connect a script:"
        ' inputs = { fmctl = "SCRIPT.PORT" }'
    ]


def test_a_program_has_hints_too(bench: BenchRunner) -> None:
    toml = """
[modules.program]
type = "python"
main = "program.py"
"""
    program = """
import syntalos_mlink as syl
link = syl.init_link()
link.register_input_port("rows", "Rows", syl.DataType.TableRow).on_data = print
link.await_data_forever()
"""
    result = bench.write(toml, program=program).run(0.5)
    assert result.success, result.failures
    (hint,) = result.hints
    assert hint.startswith("program: on_data of port 'rows' was never called")


LOSING = """
from mlink.scripting.link import get_link

def stop():
    get_link()._context.note_loss("3 byte(s) of commands are lost: no room", "Send fewer.")
"""


def test_a_loss_outside_streams_is_a_hint_and_in_a_strict_run_a_failure(bench: BenchRunner) -> None:
    toml = """
[modules.loop]
type = "pyscript"
script = "loop.py"
"""
    result = bench.write(toml, loop=LOSING).run(0.2)
    assert result.success, result.failures
    assert result.hints == ["loop: 3 byte(s) of commands are lost: no room. Send fewer."]
    result = bench.run(0.2, strict=True)
    assert not result.success
    (failure,) = result.failures
    assert (failure.module, failure.phase) == ("loop", "account")
    assert failure.message == "3 byte(s) of commands are lost: no room"
    strict = "The run is strict: nothing may be lost."
    assert failure.remedy == f"{strict} Send fewer, or run without `strict`."
    assert result.hints == []
