"""The account of a run: every place that counts losses has the same numbers."""

from __future__ import annotations

import json
import os
import signal
import time
import tomllib

import psutil
import pytest

from mlink.cli.summary import result_as_json
from mlink.engine.status import RunResult
from mlink.recording.care.verify import verify_recording
from tests.integration.runs.test_run_life import CHAIN
from tests.support.bench_runner import BenchRunner

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


def check(result: RunResult) -> dict[str, dict[str, int]]:
    """Compare `--json`, the recording's attributes and the result; return them by subscription."""
    assert result.recording_dir is not None
    attributes = tomllib.loads((result.recording_dir / "attributes.toml").read_text())
    shown = json.loads(result_as_json(result))
    found: dict[str, dict[str, int]] = {}
    for stream, kept, as_json in zip(
        result.streams, attributes["streams"], shown["streams"], strict=True
    ):
        assert stream.sent == kept["sent"] == as_json["sent"]
        for each, count in zip(as_json["subscriptions"], kept["subscriptions"], strict=True):
            keys = ("received", "lost", "refused", "not_taken")
            assert {key: each[key] for key in keys} == {key: count[key] for key in keys}
            assert stream.sent == each["received"] + each["lost"] + each["not_taken"]
            assert each["queued"] == each["not_taken"]
            found[f"{each['module']}.{each['port']}"] = each
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
    count = check(result)["middle.in"]
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
    counts = check(result)
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
    (lost,) = [count["lost"] for key, count in check(result).items() if key.startswith("rows.")]
    assert lost == items_lost(result) > 0
    report = verify_recording(result.recording_dir)
    (finding,) = report.of_level("incomplete")
    assert finding.text.startswith(f"{lost} of 2000 item(s) that were sent to it are missing")
    assert report.intact


def test_a_strict_run_that_loses_nothing_succeeds(bench: BenchRunner) -> None:
    source = BURST.replace("5000", "500")
    result = bench.write(CHAIN, source=source, middle=FORWARD).run(1.0, strict=True)
    assert result.success, result.failures
    assert all(count["lost"] == 0 for count in check(result).values())


def test_a_stall_of_all_processes_is_lost_at_the_source_in_every_count(bench: BenchRunner) -> None:
    def stall() -> None:
        children = psutil.Process().children(recursive=True)
        for child in children:
            os.kill(child.pid, signal.SIGSTOP)
        time.sleep(2)
        for child in children:
            os.kill(child.pid, signal.SIGCONT)

    bench.write(CAMERA)
    bench.when_running(1.5, stall)
    result = bench.run(6.0)
    assert result.success, result.failures
    lost = result.reports["cam"]["lost"]
    assert lost > 30
    count = check(result)["video.frames-in"]
    (stream,) = [each for each in result.streams if each.name == "cam.video"]
    assert lost <= stream.lost_at_source <= count["lost"]
    assert count["lost"] == items_lost(result)
    (finding,) = verify_recording(result.recording_dir).of_level("incomplete")
    assert finding.text.startswith(f"{count['lost']} of {stream.sent} item(s)")
    assert result.reports["video"]["frames_lost"] == count["lost"]
    lines = [text for module, _, text in bench.watcher.logs if "before they could be sent" in text]
    assert lines
