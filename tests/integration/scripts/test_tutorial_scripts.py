"""Scripts written as Syntalos' manual and tutorials teach it run unmodified."""

from __future__ import annotations

from tests.integration.runs.test_run_life import read_table, streams
from tests.support.bench_runner import BenchRunner

EXAMPLE_BENCH = """
[bench]
name = "example"
[devices]
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
size = [320, 240]
framerate = 50
[modules.script]
type = "pyscript"
script = "example.py"
ports_in = [{ id = "frame-in", data_type = "Frame" }]
ports_out = [
    { id = "frame-out", data_type = "Frame" },
    { id = "tablerow-out", data_type = "TableRow" },
]
inputs = { frame-in = "cam.video" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = "script.frame-out" }
[modules.rows]
type = "table"
inputs = { rows = "script.tablerow-out" }
"""

BOARD_BENCH = """
[bench]
name = "tutorial"
[devices]
uno = "virtual:uno?simulator=protocol"
[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "script.firmatactl-out" }
[modules.finger]
type = "virtual-button"
device = "uno"
line = 7
answer_line = 8
presses_hz = 10
[modules.script]
type = "pyscript"
script = "script.py"
ports_in = [{ id = "firmata-in", data_type = "LineReading" }]
ports_out = [
    { id = "firmatactl-out", data_type = "LineCommand" },
    { id = "table-out", data_type = "TableRow" },
]
inputs = { firmata-in = "board.fmdata" }
[modules.rows]
type = "table"
inputs = { rows = "script.table-out" }
"""

FORWARD = """
import syntalos_mlink as syl

frames_in = syl.get_input_port('frame-in')
frames_out = syl.get_output_port('frame-out')
rows_out = syl.get_output_port('tablerow-out')


def prepare():
    frames_in.on_data = forward
    rows_out.set_metadata_value('table_header', ['Time Received', 'Frame Time'])
    rows_out.set_metadata_value('data_name_proposal', 'events/table')


def start():
    frames_out.set_metadata_value('framerate', frames_in.metadata['framerate'])
    frames_out.set_metadata_value_size('size', frames_in.metadata['size'])


def forward(frame):
    rows_out.submit([syl.time_since_start_usec(), frame.time_usec])
    frames_out.submit(frame)


def run():
    while syl.is_running():
        syl.await_data()


def stop():
    pass
"""

BLINK = """
import syntalos_mlink as syl

oport = syl.get_output_port('firmatactl-out')
led = syl.HwOutputLine(oport, 8)
table = syl.get_output_port('table-out')

def prepare():
    table.set_metadata_value('table_header', ['time', 'state'])
    return True

def blink(on):
    if not syl.is_running():
        return
    led.set_value(on)
    table.submit([syl.time_since_start_msec(), int(on)])
    syl.schedule_delayed_call(100, lambda: blink(not on))

def start():
    led.send_mode()
    blink(True)
"""

SWITCH = """
import syntalos_mlink as syl

iport = syl.get_input_port('firmata-in')
oport = syl.get_output_port('firmatactl-out')
table = syl.get_output_port('table-out')
switch = syl.HwInputLine(oport, 7, pullup=True)
led = syl.HwOutputLine(oport, 8)

def prepare():
    table.set_metadata_value('table_header', ['time', 'switch'])
    iport.on_data = on_reading
    return True

def start():
    switch.send_mode()
    led.send_mode()

def on_reading(reading):
    if reading is None or reading.line_id != switch.line_id:
        return
    led.set_value(reading.value == 0)
    table.submit([reading.time_usec, reading.value])

def run():
    while syl.is_running():
        syl.await_data(100000)
"""


def test_a_script_forwards_frames_and_times(bench: BenchRunner) -> None:
    result = bench.write(EXAMPLE_BENCH, example=FORWARD).run(2.0)
    assert result.success, result.failures
    sent = streams(result)
    (cam,) = [each for each in result.streams if each.name == "cam.video"]
    received = sent["cam.video"] - cam.lost_at_source  # of a machine that stands still for a while
    assert received >= 10
    assert received == sent["script.frame-out"] == sent["script.tablerow-out"]
    header, *rows = read_table(result)
    assert header == ["Time Received", "Frame Time"]
    assert all(int(received) >= int(taken) for received, taken in rows)


def test_blink_with_delayed_calls_keeps_its_rhythm(bench: BenchRunner) -> None:
    result = bench.write(BOARD_BENCH, script=BLINK).run(2.0)
    assert result.success, result.failures
    times = [int(row[0]) for row in read_table(result)[1:]]
    assert 4 <= len(times) <= 21
    assert [row[1] for row in read_table(result)[1:4]] == ["1", "0", "1"]


def test_the_switch_lights_the_led(bench: BenchRunner) -> None:
    result = bench.write(BOARD_BENCH, script=SWITCH).run(2.0)
    assert result.success, result.failures
    figures = result.reports["finger"]
    assert float(figures["edges_answered"]) >= 3
    # The last one, and those whose answer took longer than 0.5 s, may count as unanswered.
    too_late = bench.watcher.log_text().count("no answer to an edge")
    assert float(figures["edges_answered"]) >= float(figures["edges_seen"]) - 1 - too_late
