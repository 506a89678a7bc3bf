"""Benches of every kind replay: twice the same bytes, and scripts meet what they met in the lab."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from mlink import catalog
from mlink.engine.virtual_time.conductor import Conductor
from mlink.recording.journal.reading import Item, read_journal
from mlink.replay import Replayed, replay
from tests.support import varied_source
from tests.support.bench_runner import BenchRunner
from tests.support.recorded.files import file_of, folder_of

LAB_S = 1.5

RECORDERS = """
[modules.video]
type = "videorecorder"
inputs = { frames-in = "source.frames" }
[modules.log]
type = "table"
inputs = { rows = "loop.log" }
"""

SOURCE = """
[bench]
name = "many"
[modules.source]
type = "varied-source"
"""

Prove = Callable[..., tuple[Path, list[Replayed]]]


@pytest.fixture
def prove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prove:
    """Run a bench with --replayable, replay it three times, and compare the bytes."""
    types = catalog._installed().types
    monkeypatch.setitem(types, varied_source.varied_source.id, varied_source.varied_source)
    monkeypatch.setenv("PYTHONPATH", str(varied_source.ROOT))

    def prove(bench: str, seconds: float = LAB_S, **scripts: str) -> tuple[Path, list[Replayed]]:
        runner = BenchRunner(tmp_path).write(bench, **scripts)
        result = runner.run(seconds, journal=True)
        assert result.success, result.failures
        lab = Path(str(result.recording_dir))
        outcomes = [
            replay(lab, bench=tmp_path / "bench.toml", out_dir=tmp_path / f"replay{number}")
            for number in range(2)
        ]
        with monkeypatch.context() as without:  # the turns that a replay spares change nothing
            without.setattr(Conductor, "free_until_usec", 0)
            without.setattr("mlink.replay.run.inputs_on_tape", lambda *_: frozenset())
            without.setattr("mlink.replay.run.patient_recorders", lambda *_: frozenset())
            outcomes.append(
                replay(lab, bench=tmp_path / "bench.toml", out_dir=tmp_path / "all-turns")
            )
        first, *others = (files_of(recorded(outcome)) for outcome in outcomes)
        for other in others:
            assert [name for name in first if first[name] != other.get(name)] == []
            assert list(first) == list(other)
        return lab, outcomes

    return prove


def recorded(outcome: Replayed) -> Path:
    assert outcome.result.success, outcome.result.failures
    return Path(str(outcome.result.recording_dir))


def files_of(recording: Path) -> dict[str, bytes]:
    return {
        path.relative_to(recording).as_posix(): path.read_bytes()
        for path in sorted(recording.rglob("*"))
        if path.is_file() and path.name != "run.log"
    }


def rows(recording: Path, name: str = "log") -> list[list[str]]:
    with file_of(recording, name).open(newline="") as file:
        return list(csv.reader(file, delimiter=";"))


def differences(outcome: Replayed) -> list[str]:
    return [str(each) for each in outcome.compare() if not each.same]


SIGNALS = (
    SOURCE
    + RECORDERS
    + """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [
  { id = "f32", data_type = "SignalBlockF32" },
  { id = "u16", data_type = "SignalBlockU16" },
]
ports_out = [{ id = "log", data_type = "TableRow" }, { id = "sums", data_type = "SignalBlockF32" }]
inputs = { f32 = "source.f32", u16 = "source.u16" }
[modules.floats]
type = "zarrwriter"
input_type = "SignalBlockF32"
inputs = { f32sig-in = "source.f32" }
[modules.words]
type = "jsonwriter"
input_type = "SignalBlockU16"
inputs = { u16sig-in = "source.u16" }
[modules.sums]
type = "zarrwriter"
input_type = "SignalBlockF32"
inputs = { f32sig-in = "loop.sums" }
"""
)
SIGNAL_LOOP = """
import numpy as np
import syntalos_mlink as syl

f32, u16 = syl.get_input_port("f32"), syl.get_input_port("u16")
log, sums = syl.get_output_port("log"), syl.get_output_port("sums")

def prepare():
    sums.set_metadata_value("time_unit", "microseconds")
    sums.set_metadata_value("signal_names", ["sum"])
    log.set_metadata_value("table_header", ["kind", "met", "times", "data"])
    f32.on_data, u16.on_data = on_floats, on_words

def on_floats(block):
    note("f32", block)
    out = syl.SignalBlockF32()
    out.timestamps = block.timestamps
    out.data = block.data.sum(axis=1, keepdims=True)
    sums.submit(out)

def on_words(block):
    note("u16", block)

def note(kind, block):
    data = np.asarray(block.data)
    log.submit([kind, syl.time_since_start_usec(), np.asarray(block.timestamps).tolist(),
                data.tobytes().hex()])

def run():
    while syl.is_running():
        syl.await_data(50_000)
"""


def test_blocks_of_signals_are_met_as_they_were_bit_by_bit(prove: Prove) -> None:
    """Also those whose time, by a clock that is ahead, is later than their arrival."""
    bench = SIGNALS.replace('"varied-source"', '"varied-source"\nlead_usec = 50_000')
    lab, outcomes = prove(bench, loop=SIGNAL_LOOP)
    met = rows(recorded(outcomes[0]))
    assert met == rows(lab)
    assert {row[0] for row in met[1:]} == {"f32", "u16"}
    assert len({len(row[3]) for row in met[1:]}) > 4  # blocks of one to four rows, of two kinds
    assert differences(outcomes[0]) == []


CONTROLLED = (
    SOURCE
    + RECORDERS
    + """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "frames", data_type = "Frame" }]
ports_out = [
  { id = "log", data_type = "TableRow" },
  { id = "control", data_type = "ControlCommand" },
]
inputs = { frames = "source.frames" }
[modules.a-clip]
type = "videorecorder"
start_stopped = true
inputs = { frames-in = "source.frames", control-in = "loop.control" }
"""
)
CONTROL_LOOP = """
import syntalos_mlink as syl

frames, log = syl.get_input_port("frames"), syl.get_output_port("log")
control = syl.get_output_port("control")
Kind = syl.ControlCommandKind
PLAN = {10: Kind.START, 20: Kind.STOP, 30: Kind.START, 35: Kind.PAUSE, 40: Kind.START,
        45: Kind.STOP}

def prepare():
    log.set_metadata_value("table_header", ["number", "met"])
    frames.on_data = on_frame

def on_frame(frame):
    log.submit([frame.index, syl.time_since_start_usec()])
    if frame.index in PLAN:
        command = syl.ControlCommand()
        command.kind = PLAN[frame.index]
        control.submit(command)

def run():
    while syl.is_running():
        syl.await_data(50_000)
"""


def test_a_recorder_that_a_script_starts_and_stops_writes_the_same_files(prove: Prove) -> None:
    lab, outcomes = prove(CONTROLLED, loop=CONTROL_LOOP)
    numbers = [row[0] for row in rows(recorded(outcomes[0]))[1:]]
    assert rows(recorded(outcomes[0])) == rows(lab)
    assert {"10", "20", "30", "45"} < set(numbers)
    sections = [
        sorted(path.name.partition("-")[2] for path in folder_of(folder, "a-clip").glob("*.mkv"))
        for folder in (lab, recorded(outcomes[0]))
    ]
    assert sections[0] == sections[1]
    assert len(sections[0]) == 2


TRANSFORMED = (
    SOURCE
    + RECORDERS
    + """
[modules.small]
type = "videotransform"
video_transform = [{ type = "scale", scale_factor = 0.5 }]
inputs = { frames-in = "source.frames" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "frames", data_type = "Frame" }]
ports_out = [{ id = "log", data_type = "TableRow" }]
inputs = { frames = "small.frames-out" }
[modules.jpegs]
type = "videorecorder"
video_codec = "mjpeg"
inputs = { frames-in = "small.frames-out" }
[modules.avi]
type = "videorecorder"
video_codec = "mjpeg"
video_container = "avi"
inputs = { frames-in = "source.frames" }
"""
)
PIXEL_LOOP = """
import hashlib
import syntalos_mlink as syl

frames, log = syl.get_input_port("frames"), syl.get_output_port("log")

def prepare():
    log.set_metadata_value("table_header", ["number", "time", "shape", "pixels"])
    frames.on_data = on_frame

def on_frame(frame):
    log.submit([frame.index, frame.time_usec, frame.view.shape,
                hashlib.blake2b(frame.view.tobytes(), digest_size=8).hexdigest()])

def run():
    while syl.is_running():
        syl.await_data(50_000)
"""


def test_transformed_frames_and_motion_jpeg_are_the_same_bytes(prove: Prove) -> None:
    lab, outcomes = prove(TRANSFORMED, loop=PIXEL_LOOP)
    assert rows(recorded(outcomes[0])) == rows(lab)
    again = recorded(outcomes[0])
    files = [
        sorted(path.name for path in folder_of(each, "jpegs").iterdir()) for each in (again, lab)
    ]
    assert len(files[0]) == len(files[1]) == 4  # video, times, manifest, attributes
    assert differences(outcomes[0]) == []


FED_BACK = (
    SOURCE
    + RECORDERS
    + """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "rows", data_type = "TableRow" }, { id = "back", data_type = "TableRow" }]
ports_out = [{ id = "log", data_type = "TableRow" }, { id = "there", data_type = "TableRow" }]
inputs = { rows = "source.rows", back = "other.back" }
[modules.other]
type = "pyscript"
script = "other.py"
ports_in = [{ id = "there", data_type = "TableRow" }]
ports_out = [{ id = "back", data_type = "TableRow" }]
inputs = { there = "loop.there" }
[modules.answers]
type = "table"
inputs = { rows = "other.back" }
"""
)
PING = """
import syntalos_mlink as syl

rows, back = syl.get_input_port("rows"), syl.get_input_port("back")
log, there = syl.get_output_port("log"), syl.get_output_port("there")
begun = stopped = False

def prepare():
    log.set_metadata_value("table_header", ["kind", "met", "number"])
    rows.on_data, back.on_data = on_row, on_back

def on_row(row):
    global begun
    log.submit(["row", syl.time_since_start_usec(), row[1]])
    if not begun:
        begun = True
        there.submit([0])

def on_back(row):
    log.submit(["back", "", row[0]])
    if not stopped:
        there.submit([int(row[0]) + 1])

def stop():
    global stopped
    stopped = True

def run():
    while syl.is_running():
        syl.await_data(50_000)
"""
PONG = """
import syntalos_mlink as syl

there, back = syl.get_input_port("there"), syl.get_output_port("back")

def prepare():
    back.set_metadata_value("table_header", ["number"])
    there.on_data = back.submit

def run():
    while syl.is_running():
        syl.await_data(50_000)
"""


def test_two_scripts_that_feed_each_other_for_ever_do_not_stop_time(prove: Prove) -> None:
    lab, outcomes = prove(FED_BACK, seconds=0.15, loop=PING, other=PONG)
    again = recorded(outcomes[0])
    for recording in (lab, again):
        counted = [int(row[2]) for row in rows(recording) if row[0] == "back"]
        assert counted == list(range(len(counted)))
        assert len(counted) > 1  # on a busy machine few come in 0.15 s
    recorded_rows = [row for row in rows(lab) if row[0] == "row"]
    assert [row for row in rows(again) if row[0] == "row"] == recorded_rows
    # the recorder behind the cycle has all that the script met, up to its stop
    (path,) = (path for path in (lab / "journal" / "loop").iterdir() if path.suffix != ".toml")
    met = [record for record in read_journal(path).records() if isinstance(record, Item)]
    assert len(met) == len(rows(lab)) - 1


PROGRAM_BENCH = (
    SOURCE
    + RECORDERS
    + """
[modules.loop]
type = "python"
main = "loop.py"
settings_file = "loop.dat"
ports_in = [{ id = "rows", data_type = "TableRow" }, { id = "frames", data_type = "Frame" }]
ports_out = [{ id = "log", data_type = "TableRow" }]
inputs = { rows = "source.rows", frames = "source.frames" }
"""
)
PROGRAM = """
import syntalos_mlink as syl

link = syl.init_link()
rows = link.register_input_port("rows", "Rows", syl.DataType.TableRow)
frames = link.register_input_port("frames", "Frames", syl.DataType.Frame)
log = link.register_output_port("log", "Log", syl.DataType.TableRow)
state = {"loaded": b"", "events": 0}

def prepare():
    log.set_metadata_value("table_header", ["kind", "met", "what"])
    state["clock"] = link.init_clock_synchronizer(50.0, "wheel")
    state["clock"].set_strategies(
        syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD | syl.TimeSyncStrategy.WRITE_TSYNCFILE)
    state["clock"].set_calibration_points_count(10)
    return True

def start():
    state["clock"].start()
    log.submit(["loaded", syl.time_since_start_usec(), state["loaded"]])

def on_row(row):
    now = syl.time_since_start_usec()
    state["clock"].process_timestamp(now, now + 1_000_000)
    log.submit(["row", now, row[1]])

def on_frame(frame):
    log.submit(["frame", syl.time_since_start_usec(), frame.index])

def on_event():
    state["events"] += link.is_running

def stop():
    log.submit(["events", "", state["events"]])

def load(data, folder):
    state["loaded"] = data
    return True

link.on_stop = stop
rows.on_data, frames.on_data = on_row, on_frame
link.on_prepare, link.on_start = prepare, start
link.on_save_settings = lambda folder: state["loaded"] + b"x"
link.on_load_settings = load
link.await_data_forever(on_event)
"""


def test_a_program_of_its_own_meets_what_it_met_and_writes_the_same_bytes(
    prove: Prove, tmp_path: Path
) -> None:
    lab, outcomes = prove(PROGRAM_BENCH, loop=PROGRAM)
    met = rows(recorded(outcomes[0]))
    assert {row[0] for row in met} == {"kind", "loaded", "row", "frame", "events"}
    for kind in ("row", "frame"):
        assert [row for row in met if row[0] == kind] == [
            row for row in rows(lab) if row[0] == kind
        ]
    assert int(met[-1][2]) > 10  # every 25 ms of virtual time
    assert list(recorded(outcomes[0]).rglob("wheel.tsync"))
    # and its settings stay as they were: the lab's run wrote them, no replay did
    assert (tmp_path / "loop.dat").read_bytes() == b"x"


LATE_BENCH = (
    SOURCE
    + RECORDERS
    + """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "rows", data_type = "TableRow" }]
ports_out = [{ id = "log", data_type = "TableRow" }]
inputs = { rows = "source.rows" }
"""
)
LATE = """
import time
import syntalos_mlink as syl

rows, log = syl.get_input_port("rows"), syl.get_output_port("log")

def prepare():
    log.set_metadata_value("table_header", ["kind", "what"])
    rows.on_data = lambda row: log.submit(["row", row[1]])

def run():
    while syl.is_running():
        syl.await_data(1_000)
        log.submit(["round", syl.time_since_start_usec()])
        time.sleep(0.15)
"""


STOOD = """
import time
import syntalos_mlink as syl

rows, log = syl.get_input_port("rows"), syl.get_output_port("log")
ticks = 0

def prepare():
    log.set_metadata_value("table_header", ["kind", "what"])
    rows.on_data = on_row

def start():
    syl.schedule_delayed_call(100, tick)

def on_row(row):
    log.submit(["row", row[1]])
    if ticks == 2:
        time.sleep(1.5)  # as on a machine that stands still

def tick():
    global ticks
    ticks += 1
    log.submit(["tick", syl.time_since_start_usec()])
    syl.schedule_delayed_call(100, tick)

def run():
    while syl.is_running():
        syl.await_data(20_000)
        log.submit(["round", syl.time_since_start_usec()])
"""


def test_a_script_that_stood_still_makes_its_late_calls_as_late_again(prove: Prove) -> None:
    lab, outcomes = prove(LATE_BENCH, seconds=2.0, loop=STOOD)
    met = rows(lab)
    assert sum(kind == "tick" for kind, _ in met) > 2
    assert rows(recorded(outcomes[0])) == met


def test_a_script_that_was_busy_when_the_stop_came_makes_no_round_more(prove: Prove) -> None:
    lab, outcomes = prove(LATE_BENCH, seconds=0.8, loop=LATE)
    assert rows(recorded(outcomes[0])) == rows(lab)
