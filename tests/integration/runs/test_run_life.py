"""The life of a run: order, metadata, time, and that nothing is lost at its end."""

from __future__ import annotations

import csv
import os
import signal
import threading

import pytest

from mlink.engine.status import Phase, RunResult
from tests.support.bench_runner import BenchRunner
from tests.support.recorded.files import file_of

CHAIN = """
[bench]
name = "chain"
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.middle]
type = "pyscript"
script = "middle.py"
ports_in = [{ id = "in", data_type = "TableRow" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
inputs = { in = "source.out" }
[modules.rows]
type = "table"
inputs = { rows = "middle.out" }
"""

SOURCE = """
import syntalos_mlink as syl
out = syl.get_output_port("out")

def prepare():
    out.set_metadata_value("table_header", ["number", "time"])

def run():
    number = 0
    while syl.is_running():
        for _ in range(20):
            out.submit([number, syl.time_since_start_usec()])
            number += 1
        syl.await_data(1000)
    syl.println(f"sent {number}")
"""

FORWARD = """
import syntalos_mlink as syl
inp = syl.get_input_port("in")
out = syl.get_output_port("out")
inp.on_data = out.submit

def start():
    out.set_metadata_value("table_header", inp.metadata["table_header"])
"""


def read_table(result: RunResult, name: str = "rows") -> list[list[str]]:
    assert result.recording_dir is not None
    with file_of(result.recording_dir, name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=";"))


def streams(result: RunResult) -> dict[str, int]:
    return {stream.name: stream.sent for stream in result.streams}


def test_every_row_reaches_the_recorder_when_the_run_is_stopped_in_full_flow(
    bench: BenchRunner,
) -> None:
    result = bench.write(CHAIN, source=SOURCE, middle=FORWARD).run(1.0)
    assert result.success, result.failures
    header, *rows = read_table(result)
    assert header == ["number", "time"]
    assert [int(row[0]) for row in rows] == list(range(len(rows)))
    assert len(rows) == streams(result)["source.out"] == streams(result)["middle.out"]
    assert ("source", f"sent {len(rows)}") in bench.watcher.printed
    assert len(rows) > 50


def test_the_phases_of_a_run_follow_each_other(bench: BenchRunner) -> None:
    bench.write(CHAIN, source=SOURCE, middle=FORWARD).run(0.3)
    assert bench.watcher.phases == [
        Phase.SPAWN,
        Phase.PREPARE,
        Phase.START,
        Phase.RUN,
        Phase.STOP,
        Phase.CLOSE,
        Phase.DONE,
    ]


def test_a_slow_consumer_drains_its_queue_before_it_stops(bench: BenchRunner) -> None:
    source = """
import syntalos_mlink as syl
def start():
    out = syl.get_output_port("out")
    for n in range(300):
        out.submit([n])
"""
    slow = """
import time
import syntalos_mlink as syl
out = syl.get_output_port("out")
def slow(row):
    time.sleep(0.01)
    out.submit(row)
syl.get_input_port("in").on_data = slow
"""
    result = bench.write(CHAIN, source=source, middle=slow).run(0.2)
    assert result.success, result.failures
    assert len([row for row in read_table(result) if row]) == 300


def test_stop_may_still_send_and_it_arrives(bench: BenchRunner) -> None:
    middle = FORWARD + "\ndef stop():\n    out.submit(['last', 'words'])\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.3)
    assert read_table(result)[-1] == ["last", "words"]


def test_every_process_has_the_same_master_time(bench: BenchRunner) -> None:
    middle = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def on_row(row):
    out.submit([row[1], syl.time_since_start_usec()])
syl.get_input_port("in").on_data = on_row
"""
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.5)
    delays = [int(received) - int(sent) for sent, received in read_table(result)[1:]]
    assert min(delays) >= 0
    # Another zero would add the time between the starts of two processes to all of them.
    assert min(delays) < 20_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_open_ended_run_as_a_success(
    bench: BenchRunner, number: signal.Signals
) -> None:
    bench.write(CHAIN, source=SOURCE, middle=FORWARD)
    bench.when_running(0.3, lambda: os.kill(os.getpid(), number))
    result = bench.run(None)
    assert result.success, result.failures
    assert "interrupted" in result.stop_reason
    assert len(read_table(result)) > 10


@pytest.mark.parametrize(
    "phase", [Phase.SPAWN, Phase.PREPARE, Phase.START, Phase.STOP, Phase.CLOSE]
)
def test_ctrl_c_is_clean_in_every_phase(bench: BenchRunner, phase: Phase) -> None:
    bench.write(CHAIN, source=SOURCE, middle=FORWARD)
    bench.watcher.on_phase[phase] = lambda: os.kill(os.getpid(), signal.SIGINT)
    result = bench.run(0.3)
    started = phase not in (Phase.SPAWN, Phase.PREPARE, Phase.START)
    assert result.success is started, result.failures
    if not started:  # a green run would have done nothing, or thrown away what a source had sent
        assert "ended before" in result.failures[0].message


def test_ctrl_c_ends_a_script_that_is_slow_to_prepare(bench: BenchRunner) -> None:
    slow = "import time\ndef prepare():\n    time.sleep(60)\n"
    bench.write(CHAIN, source=SOURCE, middle=slow)
    bench.watcher.on_phase[Phase.PREPARE] = lambda: threading.Timer(
        0.3, lambda: os.kill(os.getpid(), signal.SIGINT)
    ).start()
    result = bench.run(None, stop_grace_s=0.5)
    assert "interrupted" in result.stop_reason


CHATTY = """
import syntalos_mlink as syl
def run():
    while syl.is_running():
        print("value", syl.time_since_start_usec())
"""


def test_a_script_that_prints_without_end_holds_up_nobody(bench: BenchRunner) -> None:
    text = '[bench]\nname = "c"\n[modules.bad]\ntype = "pyscript"\nscript = "bad.py"\n'
    result = bench.write(text, bad=CHATTY).run(0.5)
    assert result.success, result.failures
    left_out = result.reports["bad"]["printed lines left out"]
    assert isinstance(left_out, float)
    assert left_out > 0
    texts = [text for _, text in bench.watcher.printed]
    assert any("lines are left out" in text for text in texts)
    assert sum(text.startswith("value") for text in texts) < 5_000
    assert result.recording_dir is not None
    assert "lines are left out" in (result.recording_dir / "run.log").read_text()


FLOOD = """
import os, subprocess
import syntalos_mlink as syl
def start():
    os.write(1, b"own flood\\n")  # first: a child's flood takes the place of all later lines
    subprocess.Popen(["yes", "flood of a child"])
def run():
    while syl.is_running():
        os.write(1, b"own flood\\n" * 10_000)
        os.write(2, bytes(range(256)))
"""


def test_what_a_script_and_its_children_write_to_descriptors_is_limited(
    bench: BenchRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    text = '[bench]\nname = "c"\n[modules.bad]\ntype = "pyscript"\nscript = "bad.py"\n'
    result = bench.write(text, bad=FLOOD).run(0.5)
    assert result.success, result.failures
    left_out = result.reports["bad"]["directly written lines left out"]
    assert isinstance(left_out, float | int)
    texts = [text for module, text in bench.watcher.printed if module == "bad"]
    notes = [text for text in texts if text.startswith("… ") and text.endswith(" lines left out")]
    assert sum(int(text.split()[1].replace(",", "")) for text in notes) == left_out > 0
    assert "own flood" in texts
    assert "flood of a child" in texts
    assert "flood" not in "".join(capfd.readouterr())
    assert result.recording_dir is not None
    assert (result.recording_dir / "run.log").stat().st_size < 1_000_000


def test_a_flood_that_never_ends_is_interrupted_at_the_stop(bench: BenchRunner) -> None:
    script = 'import os\ndef run():\n    while True:\n        os.write(1, b"hello\\n" * 10_000)\n'
    text = '[bench]\nname = "c"\n[modules.bad]\ntype = "pyscript"\nscript = "bad.py"\n'
    result = bench.write(text, bad=script).run(0.3, stop_grace_s=1.0)
    (failure,) = result.failures
    assert "did not finish within 1 s" in failure.message
    assert "slow disk" not in bench.watcher.log_text()
    assert result.recording_dir is not None


def test_the_last_words_of_compiled_code_are_in_the_failure(bench: BenchRunner) -> None:
    script = """
import ctypes
def run():
    ctypes.CDLL(None).puts(b"corrupted heap")
    ctypes.CDLL(None).abort()
"""
    text = '[bench]\nname = "c"\n[modules.bad]\ntype = "pyscript"\nscript = "bad.py"\n'
    (failure,) = bench.write(text, bad=script).run(1).failures
    assert "signal 6" in failure.message
    assert "corrupted heap" in failure.message


def test_a_feedback_loop_between_two_scripts_ends_without_hanging(bench: BenchRunner) -> None:
    loop = """
[bench]
name = "loop"
[modules.a]
type = "pyscript"
script = "a.py"
ports_in = [{ id = "in", data_type = "TableRow" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
inputs = { in = "b.out" }
[modules.b]
type = "pyscript"
script = "b.py"
ports_in = [{ id = "in", data_type = "TableRow" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
inputs = { in = "a.out" }
"""
    a = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def back(row):
    if syl.is_running():
        out.submit([int(row[0]) + 1])
syl.get_input_port("in").on_data = back
def start():
    out.submit([0])
"""
    b = """
import syntalos_mlink as syl
syl.get_input_port("in").on_data = syl.get_output_port("out").submit
"""
    result = bench.write(loop, a=a, b=b).run(0.5)
    assert result.success, result.failures
    assert streams(result)["a.out"] > 10


def test_a_run_without_recording_writes_nothing(bench: BenchRunner) -> None:
    result = bench.write(CHAIN, source=SOURCE, middle=FORWARD).run(0.3, record=False)
    assert result.success
    assert result.recording_dir is None
    assert not (bench.folder / "rec").exists()
