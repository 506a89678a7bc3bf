"""The account of a run: every place that counts losses has the same numbers."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlink.cli import app
from mlink.cli.terminal.live import plain_line
from mlink.cli.terminal.summary import print_summary, result_as_json
from mlink.engine.status import RunResult
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.storage.account import recorded_by
from mlink.storage.inspect import inspect_recording
from mlink.storage.manifest import read_toml
from tests.integration.runs.test_run_life import CHAIN, SOURCE
from tests.support.bench_runner import BenchRunner, worker_pid

BURST = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def start():
    for number in range(5000):
        out.submit([number])
"""
FORWARD = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
syl.get_input_port("in").on_data = out.submit
"""
SHORT_QUEUES = CHAIN.replace('"source.out"', '{ from = "source.out", queue = 20 }')
CAMERA = """
[bench]
name = "stall"
[devices]
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
size = [160, 120]
framerate = 30
[modules.video]
type = "videorecorder"
inputs = { frames-in = "cam.video" }
"""


def check(bench: BenchRunner, result: RunResult) -> dict[str, dict[str, int]]:
    """Compare all that shows the account of a run; return the counts by subscription.

    These are `--json`, the summary, the live line, the recording's attributes and datasets, and
    what `mlink info`, `mlink list` and `mlink verify` report of it.
    """
    assert result.recording_dir is not None
    counts = compare(json.loads(result_as_json(result)), result.recording_dir)
    assert {
        f"{each.module}.{each.port}": (each.received, each.lost, each.queued)
        for stream in bench.watcher.status.streams
        for each in stream.subscriptions
    } == {key: (c["received"], c["lost"], c["not_taken"]) for key, c in counts.items()}
    lost, not_taken = (sum(each[key] for each in counts.values()) for key in ("lost", "not_taken"))
    live = plain_line(bench.watcher.status, None)
    assert f"  lost {lost}" in live
    assert (f"  queued {not_taken}" in live) is bool(not_taken)
    console = Console(file=io.StringIO(), width=300)
    print_summary(result, console)
    shown = console.file.getvalue()
    for key, count in counts.items():
        numbers = [count["received"], count["lost"]] + [count["not_taken"]] * bool(not_taken)
        row = rf"{re.escape(key)} +" + " +".join(map(str, numbers))
        assert re.search(rf"{row} *$", shown, re.MULTILINE), (row, shown)
    return counts


def compare(result: dict[str, Any], recording: Path) -> dict[str, dict[str, int]]:
    """Compare what `--json` has with a recording; return the counts by subscription."""
    kept = {
        (stream["name"], each["module"], each["port"]): (stream["sent"], each)
        for stream in read_toml(recording / "attributes.toml")["streams"]
        for each in stream["subscriptions"]
    }
    found: dict[str, dict[str, int]] = {}
    for stream in result["streams"]:
        for each in stream["subscriptions"]:
            name = f"{stream['module']}.{stream['port']}"
            sent, noted = kept.pop((name, each["module"], each["port"]))
            keys = ("received", "lost", "refused", "not_taken")
            assert {key: each[key] for key in keys} == {key: noted[key] for key in keys}
            assert stream["sent"] == sent == each["received"] + each["lost"] + each["not_taken"]
            assert each["queued"] == each["not_taken"]
            found[f"{each['module']}.{each['port']}"] = each | {"sent": sent}
    assert not kept
    (listed,) = json.loads(
        CliRunner().invoke(app, ["list", str(recording.parents[1]), "--json"]).stdout
    )
    assert listed["lost"] == sum(each["lost"] for each in found.values())
    assert listed["not_taken"] == sum(each["not_taken"] for each in found.values())
    report = verify_recording(recording)
    missing = {each.dataset: each.text for each in report.of_level("incomplete")}
    items = {each.name: each.items for each in report.datasets}
    failed = {failure["module"] for failure in result["failures"]}
    for dataset in inspect_recording(recording).datasets:
        source = recorded_by(dataset.attributes)
        if source is None:
            continue
        count = found[f"{source.module}.{source.port}"]
        assert dataset.attributes["items_lost"] == dataset.lost == count["lost"]
        assert dataset.not_taken == count["not_taken"]
        lacks = count["lost"] + count["not_taken"]
        if source.module in failed:  # what it had received and not written is missing, too
            lacks = count["sent"] - (items[dataset.name] or 0)
        if lacks:
            what = f"{lacks} of {count['sent']} item(s) that were sent to it are missing"
            assert missing.pop(dataset.name).startswith(what)
    assert missing == {}
    return found


def items_lost(result: RunResult) -> int:
    """Return what the only dataset of a recording counts as lost."""
    assert result.recording_dir is not None
    found = [
        tomllib.loads(path.read_text())
        for path in result.recording_dir.glob("*/**/attributes.toml")
    ]
    (lost,) = [attributes["items_lost"] for attributes in found if "items_lost" in attributes]
    return int(lost)


@pytest.mark.parametrize("by", ["option", "bench"])
def test_a_strict_run_that_loses_fails_and_names_where(bench: BenchRunner, by: str) -> None:
    text = SHORT_QUEUES
    if by == "bench":
        text = text.replace("[bench]", "[bench]\nstrict = true")
    result = bench.write(text, source=BURST, middle=FORWARD).run(1.0, strict=by == "option")
    count = check(bench, result)["middle.in"]
    assert not result.success
    lost = count["lost"]
    assert 0 < lost == count["refused"]
    (failure,) = [each for each in result.failures if each.module == "middle"]
    assert failure.message.startswith(f"{lost} of 5000 item(s) of source.out are missing")
    lines = [text for module, _, text in bench.watcher.logs if "did not reach" in text]
    assert 1 <= len(lines) <= 10
    assert all("its queue of 20 was full" in text for text in lines)


def test_a_run_that_is_not_strict_succeeds_and_counts(bench: BenchRunner) -> None:
    result = bench.write(SHORT_QUEUES, source=BURST, middle=FORWARD).run(1.0)
    assert result.success, result.failures
    counts = check(bench, result)
    assert counts["middle.in"]["lost"] > 0
    (rows,) = [key for key in counts if key.startswith("rows.")]
    assert items_lost(result) == counts[rows]["lost"]
    # All that was sent to the table is there: what the module before it lost was never sent to it.
    assert verify_recording(result.recording_dir).ok is (counts[rows]["lost"] == 0)


def test_a_dataset_that_lacks_items_is_not_complete(bench: BenchRunner) -> None:
    text = CHAIN.replace('"middle.out"', '{ from = "middle.out", queue = 20 }')
    assert text != CHAIN
    middle = FORWARD.replace(
        "out.submit", "lambda row: [out.submit([str(n)]) for n in range(2000)]"
    )
    result = bench.write(text, source=BURST.replace("5000", "1"), middle=middle).run(1.0)
    lost = check(bench, result)["rows.rows"]["lost"]
    assert lost == items_lost(result) > 0
    report = verify_recording(result.recording_dir)
    (finding,) = report.of_level("incomplete")
    assert finding.text.startswith(f"{lost} of 2000 item(s) that were sent to it are missing")
    assert report.intact


def test_the_dataset_of_a_killed_recorder_has_all_that_did_not_reach_it(bench: BenchRunner) -> None:
    """It is stopped, so its queue overflows, which it never sees."""
    text = CHAIN.replace('"middle.out"', '{ from = "middle.out", queue = 20 }')

    def stop_and_kill() -> None:
        pid = worker_pid("rows")
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while bench.watcher.status.streams[-1].lost < 50 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)

    bench.write(text, source=SOURCE, middle=FORWARD).when_running(0.4, stop_and_kill)
    result = bench.run(100.0)
    assert not result.success
    assert result.recording_dir is not None
    (lost,) = [
        each.lost
        for stream in result.streams
        for each in stream.subscriptions
        if each.module == "rows"
    ]
    assert items_lost(result) == lost >= 50
    (finding,) = verify_recording(result.recording_dir).of_level("incomplete")
    assert f"{lost} lost on the way" in finding.text
    assert repair_recording(result.recording_dir).ok
    assert items_lost(result) == lost
    assert not verify_recording(result.recording_dir).ok


@pytest.mark.parametrize("queue", [40, None])
def test_a_queue_holds_as_many_large_rows_as_it_states(
    bench: BenchRunner, queue: int | None
) -> None:
    """They are sent at once, before the table takes the first."""
    end = f'{{ from = "source.out", queue = {queue} }}' if queue else '"source.out"'
    text = CHAIN.replace('"middle.out"', end)
    source = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def start():
    for number in range(40):
        out.submit([number, "x" * (999_000 - number * 20_000)])
"""
    result = bench.write(text, source=source, middle=FORWARD).run(1.0, strict=True)
    assert result.success, result.failures
    assert check(bench, result)["rows.rows"]["received"] == 40


def test_a_strict_run_that_loses_nothing_succeeds(bench: BenchRunner) -> None:
    source = BURST.replace("5000", "500")
    result = bench.write(CHAIN, source=source, middle=FORWARD).run(1.0, strict=True)
    assert result.success, result.failures
    assert all(count["lost"] == 0 for count in check(bench, result).values())


def test_a_stall_of_all_processes_is_lost_at_the_source_in_every_count(bench: BenchRunner) -> None:
    def stall() -> None:
        children = psutil.Process().children(recursive=True)
        for child in children:
            os.kill(child.pid, signal.SIGSTOP)
        time.sleep(2)
        for child in children:
            os.kill(child.pid, signal.SIGCONT)
        bench.stop_when(lambda: bench.watcher.status.streams[0].lost > 30)

    bench.write(CAMERA)
    bench.when_running(1.5, stall)
    result = bench.run(None)
    assert result.success, result.failures
    lost = result.reports["cam"]["lost"]
    assert lost > 30
    count = check(bench, result)["video.frames-in"]
    (stream,) = [each for each in result.streams if each.name == "cam.video"]
    assert lost <= stream.lost_at_source <= count["lost"]
    assert count["lost"] == items_lost(result)
    (finding,) = verify_recording(result.recording_dir).of_level("incomplete")
    assert finding.text.startswith(f"{count['lost']} of {stream.sent} item(s)")
    assert result.reports["video"]["frames_lost"] == count["lost"]
    lines = [text for module, _, text in bench.watcher.logs if "before they could be sent" in text]
    assert lines


OVERLOAD = """
[bench]
name = "load"
[modules.src]
type = "pyscript"
script = "src.py"
ports_out = [{ id = "rows", data_type = "TableRow" }, { id = "frames", data_type = "Frame" }]
[modules.slow]
type = "pyscript"
script = "slow.py"
ports_in = [{ id = "rows", data_type = "TableRow" }, { id = "frames", data_type = "Frame" }]
inputs = { rows = "src.rows", frames = { from = "src.frames", queue = 20 } }
[modules.table]
type = "table"
inputs = { rows = { from = "src.rows", queue = 40 } }
[modules.video]
type = "videorecorder"
inputs = { frames-in = { from = "src.frames", queue = 20 } }
"""
OVERLOADING = """
import numpy as np
import syntalos_mlink as syl
rows, frames = (syl.get_output_port(name) for name in ("rows", "frames"))

def prepare():
    rows.set_metadata_value("table_header", ["number", "time"])
    frames.set_metadata_value("framerate", 200.0)

def run():
    picture, number, sent = np.random.randint(0, 255, (120, 160, 3)).astype(np.uint8), 0, 0
    while syl.is_running():
        print(number)                    # chatty, too
        for _ in range(50):
            rows.submit([number, syl.time_since_start_usec()])
            number += 1
        frame = syl.Frame()
        frame.mat, frame.index, frame.time_usec = picture, sent, syl.time_since_start_usec()
        frames.submit(frame)
        sent += 1
        syl.await_data(1000)
"""
SLOW = """
import time
import syntalos_mlink as syl
syl.get_input_port("rows").on_data = lambda row: None
syl.get_input_port("frames").on_data = lambda frame: time.sleep(0.03)
"""


def test_an_overload_is_counted_everywhere(bench: BenchRunner) -> None:
    result = bench.write(OVERLOAD, src=OVERLOADING, slow=SLOW).run(3.0)
    assert result.success, result.failures
    counts = check(bench, result)
    assert counts["slow.frames"]["lost"] > 0
    assert all(each["not_taken"] == 0 for each in counts.values())


def test_what_is_not_taken_is_counted_everywhere(bench: BenchRunner) -> None:
    text = OVERLOAD.replace('"src.frames", queue = 20 } }\n[modules.table]',
                            '"src.frames", queue = 2000 } }\n[modules.table]')  # fmt: skip
    bench.write(text, src=OVERLOADING, slow=SLOW)
    bench.when_running(2.0, lambda: bench.engine.abort("enough"))
    result = bench.run(60.0)
    assert not result.success
    counts = check(bench, result)
    assert counts["slow.frames"]["not_taken"] > 0


def test_a_short_queue_takes_its_number_of_large_rows(bench: BenchRunner) -> None:
    text = CHAIN.replace('"source.out"', '{ from = "source.out", queue = 10 }')
    source = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def start():
    for number in range(10):
        out.submit([str(number), "x" * 5000])
"""
    result = bench.write(text, source=source, middle=FORWARD).run(1.0, strict=True)
    assert result.success, result.failures
    assert check(bench, result)["middle.in"]["received"] == 10


def test_a_stall_of_everything_is_counted_everywhere(tmp_path: Path) -> None:
    BenchRunner(tmp_path).write(CAMERA)
    command = [str(Path(sys.executable).with_name("mlink")), "run", ".", "--for", "8", "--json"]
    engine = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("recordings/*/*/videos/*/*.mkv")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process = psutil.Process(engine.pid)
    everything = [process, *process.children(recursive=True)]
    for each in everything:
        each.suspend()
    time.sleep(3)
    for each in reversed(everything):
        each.resume()
    output, _ = engine.communicate(timeout=120)
    result = json.loads(output)
    assert result["success"], result["failures"]
    count = compare(result, Path(tmp_path, result["recording_dir"]))["video.frames-in"]
    (camera,) = (each for each in result["streams"] if each["port"] == "video")
    assert result["reports"]["cam"]["lost"] > 50
    assert result["reports"]["cam"]["lost"] <= camera["lost_at_source"] <= count["lost"]


FORKS = """
import os, time, sys
import syntalos_mlink as syl
out = syl.get_output_port("out")
out.set_metadata_value("table_header", ["number", "time"])

def child(use):
    pid = os.fork()
    if pid == 0:
        use()
    return os.waitpid(pid, 0)[1]

def try_to_send():
    try:
        out.submit(["child", 0])
    except syl.SyntalosPyError as error:
        print("refused:", error)
    os._exit(0)

def start():
    if os.fork() == 0:
        return

def run():
    codes = [
        child(try_to_send),
        child(lambda: out.submit(["child", 0])),
        child(syl.is_running),
        child(lambda: sys.exit(7)),
    ]
    if os.fork() == 0:
        return                               # back into the worker's loop
    for number in range(100):
        out.submit([number, 0])
        if syl.is_running():                     # a wait lasts its whole time, after the stop too
            syl.wait(1000)
    print("codes:", [os.waitstatus_to_exitcode(code) for code in codes])
    while syl.is_running():
        syl.wait(1000)
"""


def test_a_fork_of_a_script_neither_sends_nor_takes_part(bench: BenchRunner) -> None:
    result = bench.write(CHAIN, source=FORKS, middle=FORWARD).run(3.0)
    assert result.success, result.failures
    (stream,) = [each for each in result.streams if each.module == "source"]
    assert stream.sent == 100
    assert (check(bench, result)["middle.in"]["received"], items_lost(result)) == (100, 0)
    printed = "\n".join(text for _, text in bench.watcher.printed)
    log = bench.watcher.log_text()
    assert "refused: port 'out': this process is a fork of the module's process" in printed
    assert "codes: [0, 1, 1, 7]" in printed
    # the one that asked is_running(), and those that came back from start() and from run()
    assert log.count("a fork of the module's process has failed: this process is a fork") == 3
