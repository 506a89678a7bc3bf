"""Every example bench, every firmware and every part runs in virtual time, twice the same."""

from __future__ import annotations

import re
import shutil

import pytest

from mlink import recording
from mlink.recording.care.verify import verify_recording
from mlink_hil.sim.fetch_firmware import is_cached
from tests.integration.virtual_time.test_simulated_benches import files_of, run
from tests.support.hil_examples import BENCHES

pytestmark = pytest.mark.sim

PARTS = """\
[bench]
name = "parts"

[devices]
uno = "virtual:uno?clock_ppm=80"

[virtual.knob]
type = "sensor"
line = "uno.A0"
noise_volt = 0.3

[virtual.finger]
type = "button"
line = "uno.7"
presses_hz = 20
press_msec = 10
bounce = { count = 6, seed = 3 }

[virtual.far]
type = "wire"
ends = ["uno.4", "uno.5"]
delay_usec = 300

[modules.board]
type = "firmata-io"
device = "uno"
sampling_interval_msec = 10
analog_lines = [14]
inputs = { fmctl = "loop.firmatactl-out" }

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "firmata-in", data_type = "LineReading" }]
ports_out = [
    { id = "firmatactl-out", data_type = "LineCommand" },
    { id = "table-out", data_type = "TableRow" },
]
inputs = { firmata-in = "board.fmdata" }

[modules.log]
type = "table"
inputs = { rows = "loop.table-out" }
"""
PARTS_LOOP = """\
import syntalos_mlink as syl

readings = syl.get_input_port("firmata-in")
commands = syl.get_output_port("firmatactl-out")
table = syl.get_output_port("table-out")
far = syl.HwOutputLine(commands, 4)
lines = [syl.HwInputLine(commands, number) for number in (5, 7, 14)]

def prepare():
    table.set_metadata_value("table_header", ["time_usec", "line", "value"])
    readings.on_data = on_reading

def start():
    for line in (far, *lines):
        line.send_mode()

def on_reading(reading):
    if reading is not None:
        table.submit([reading.time_usec, reading.line_id, reading.value])

def run():
    level = 0
    while syl.is_running():
        level = 1 - level
        far.set_value(level)
        syl.wait(100)
"""


BURST = """\
def run():
    syl.wait(100)
    for number in range(60):
        far.set_value((number + 1) % 2)
    while syl.is_running():
        syl.wait(100)
"""

CABLE = """\
from mlink.scripting.link import get_link
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.messages import Plug, Unplug
from mlink_hil.control.socket_path import control_path

def run():
    board = VirtualBoard(control_path(get_link()._context.run_info.work_dir, "uno"))
    for cycle in range(25):
        if cycle in (5, 15):
            board.do(Unplug() if cycle == 5 else Plug())
        far.set_value(cycle % 2)
        syl.wait(100)
"""


def twice(folder, *options, seconds="1", complete=True):
    """Run a bench twice with one seed; return the first recording's folder."""
    for out in ("first", "second"):
        done = run(folder, "--for", seconds, "--seed", "7", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        next((folder / "out").iterdir()).rename(folder / out)
    first, second = files_of(folder / "first"), files_of(folder / "second")
    assert sorted(first) == sorted(second)
    differing = [name for name in first if first[name].read_bytes() != second[name].read_bytes()]
    assert differing == []
    report = verify_recording(folder / "first")
    assert not report.of_level("damage")
    assert not (complete and report.of_level("incomplete"))
    return folder / "first"


@pytest.mark.parametrize(
    ("bench", "table", "rows"),
    [
        ("two-boards", "trips", 10),
        ("dut-firmware", "presses", 4),
        ("camera-sees-light", None, 0),
    ],
)
def test_an_example_gives_the_same_files_twice(tmp_path, bench, table, rows):
    shutil.copytree(BENCHES / bench, tmp_path, dirs_exist_ok=True)
    first = twice(tmp_path)
    if table is not None:
        with recording.open(first) as found:
            assert len(found[table].times_usec) >= rows


@pytest.mark.parametrize("options", ["firmware=standard", "simulator=protocol"])
def test_a_board_without_the_chips_clock_gives_the_same_files_twice(tmp_path, options):
    if options == "firmware=standard" and not is_cached():
        pytest.skip("StandardFirmata is not installed (mlink_hil.sim.fetch_firmware)")
    shutil.copytree(BENCHES / "led-follows-button", tmp_path, dirs_exist_ok=True)
    lab = tmp_path / "lab.toml"
    lab.write_text(f'[devices]\nuno = "virtual:uno?{options}"\neye = "virtual:scene"\n')
    first = twice(tmp_path, "--devices", str(lab))
    with recording.open(first) as found:
        presses = len(found["events"].times_usec)
        assert presses >= 5
        assert len(found["finger-latencies"].times_usec) in (presses, presses - 1)


def test_sensor_bouncing_button_and_wire_give_the_same_files_twice(tmp_path):
    (tmp_path / "bench.toml").write_text(PARTS)
    (tmp_path / "loop.py").write_text(PARTS_LOOP)
    first = twice(tmp_path)
    with recording.open(first) as found:
        rows = [(line, value) for _, line, value in found["log"].rows]
    assert {line for line, _ in rows} == {"5", "7", "14"}
    assert len({value for line, value in rows if line == "14"}) > 20  # noise and a sine


def test_a_burst_of_commands_does_not_overrun_the_boards_buffer(tmp_path):
    (tmp_path / "bench.toml").write_text(PARTS.replace("delay_usec = 300", "delay_usec = 30"))
    burst = PARTS_LOOP[: PARTS_LOOP.index("def run")] + BURST
    (tmp_path / "loop.py").write_text(burst)
    done = run(tmp_path, "--for", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    with recording.open(next((tmp_path / "out").iterdir())) as found:
        edges = [value for _, line, value in found["log"].rows if line == "5"]
        executed = found.attributes["reports"]["board"]["commands_executed"]
    assert edges == ["0", *["1", "0"] * 30]
    assert executed == 60 + 4  # the lines' modes too


def test_a_board_that_is_unplugged_is_found_and_reopened_at_virtual_moments(tmp_path):
    settings = '[modules.board]\non_loss = "continue"'
    events = '[modules.link]\ntype = "table"\ninputs = { rows = "board.events" }\n'
    (tmp_path / "bench.toml").write_text(PARTS.replace("[modules.board]", settings) + events)
    (tmp_path / "loop.py").write_text(PARTS_LOOP[: PARTS_LOOP.index("def run")] + CABLE)
    first = twice(tmp_path, seconds="2.5")
    with recording.open(first) as found:
        times = [int(time) for time, line, _ in found["log"].rows if line == "5"]
        events = [row[1] for row in found["link"].rows]
    assert events == ["connected", "lost", "reopening", "connected"]
    assert [time for time in times if time < 500_000]
    assert not [time for time in times if 501_000 < time < 1_500_000]
    assert len([time for time in times if time > 1_500_000]) >= 4


SAFE = """\
[bench]
name = "safe"

[devices]
uno = "virtual:uno"
mega = "virtual:mega"

[modules.board]
type = "firmata-io"
device = "uno"
safe_state_msec = 300

[modules.other]
type = "firmata-io"
device = "mega"

[modules.link]
type = "table"
inputs = { rows = "board.events" }
"""


def test_a_board_is_served_while_others_prepare(tmp_path):
    """A Mega needs longer to begin than the Uno's safe state waits for a message."""
    (tmp_path / "bench.toml").write_text(SAFE)
    with recording.open(twice(tmp_path, seconds="0.2")) as found:
        assert [row[1] for row in found["link"].rows] == ["connected"]


EARLY = """\
[bench]
name = "early"

[devices]
uno = "virtual:uno"

[modules.loop]
type = "pyscript"
script = "loop.py"

[modules.board]
type = "firmata-io"
device = "uno"
"""
EARLY_LOOP = """\
import syntalos_mlink as syl

def prepare():
    syl.schedule_delayed_call(10, lambda: print("is called"))

def start():
    print("starts")
"""


@pytest.mark.parametrize("time", ["virtual", "real"])
def test_a_delayed_call_is_made_while_others_prepare_in_both_kinds_of_time(tmp_path, time):
    (tmp_path / "bench.toml").write_text(EARLY)
    (tmp_path / "loop.py").write_text(EARLY_LOOP)
    done = run(tmp_path, "--for", "0.2", "--no-record", "--time", time)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.index("is called") < done.stdout.index("starts")


SLOW = """\
[bench]
name = "slow"

[modules.cam]
type = "camera-generic"
device = "virtual:scene"
size = [160, 120]
framerate = 100

[modules.first]
type = "pyscript"
script = "first.py"
ports_in = [{ id = "frames", data_type = "Frame" }]
ports_out = [{ id = "rows", data_type = "TableRow" }]
inputs = { frames = "cam.video" }

[modules.slow]
type = "pyscript"
script = "slow.py"
cost_usec = 50000
ports_in = [{ id = "frames", data_type = "Frame" }, { id = "rows", data_type = "TableRow" }]
inputs = { INPUTS }
"""
FIRST = """\
import syntalos_mlink as syl

rows = syl.get_output_port("rows")

def prepare():
    syl.get_input_port("frames").on_data = lambda frame: frame and rows.submit([frame.index])
"""
NOTHING = """\
import syntalos_mlink as syl

def prepare():
    for name in ("frames", "rows"):
        syl.get_input_port(name).on_data = lambda item: None
"""


@pytest.mark.parametrize(
    "subscription",
    [
        'frames = { from = "cam.video", queue = 2 }',
        'rows = { from = "first.rows", queue = 10 }',
    ],
    ids=["frames", "rows"],
)
def test_the_queue_of_a_slow_module_loses_the_same_items_in_both_runs(tmp_path, subscription):
    """A frame each 10 ms, 50 ms for each: 60 of 300 are handled, besides those that wait."""
    (tmp_path / "bench.toml").write_text(SLOW.replace("INPUTS", subscription))
    (tmp_path / "first.py").write_text(FIRST)
    (tmp_path / "slow.py").write_text(NOTHING)
    first = twice(tmp_path, seconds="3")
    port = subscription.split()[0]
    stream = {"frames": "cam.video", "rows": "first.rows"}[port]
    (account,) = [
        (each["sent"], to["received"], to["lost"])
        for each in recording.open(first).attributes["streams"]
        for to in each["subscriptions"]
        if (each["name"], to["module"]) == (stream, "slow")
    ]
    sent, received, lost = account
    assert sent == received + lost
    assert 60 <= received <= 75
    what = re.escape(f"item(s) of {stream} did not reach input '{port}': its queue of ")
    lines = re.findall(rf"slow: (\d+) {what}.*", (first / "run.log").read_text())
    assert len(lines) >= 3  # one each second
    assert sum(map(int, lines)) == lost
