"""Projects of Syntalos with many modules at once: imported, run, and opened by its own reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlink
from mlink.bench import load_bench
from mlink_hil.syct.folder import import_project
from tests.support.recorded import edlio_reader
from tests.support.syct import Part, info, project

pytestmark = [pytest.mark.edlio, pytest.mark.sim]
edlio_summary = edlio_reader.edlio_summary

NAMES = {
    "3": {"block": "SignalBlockF32", "reading": "LineReading", "command": "LineCommand"},
    "2": {"block": "FloatSignalBlock", "reading": "FirmataData", "command": "FirmataControl"},
}
ASK = """import syntalos_mlink as syl
asks = syl.get_output_port("asks")
answers = syl.get_input_port("answers")
pins = syl.get_output_port("pins")
def prepare():
    asks.set_metadata_value("table_header", ["number"])
    asks.set_metadata_value("data_name_proposal", "questions/table")
    answers.on_data = on_answer
    return True
def start():
    PINS
    asks.submit([0])
def on_answer(row):
    if row is not None and len(row.data if hasattr(row, "data") else row):
        number = int((row.data if hasattr(row, "data") else row)[0])
        if number < 10:
            asks.submit([number])
"""
PINS = {
    "3": "syl.HwOutputLine(pins, 8).send_mode()",
    "2": 'pins.firmata_register_digital_pin(8, "led", is_output=True)',
}
ANSWER = """import syntalos_mlink as syl
asks = syl.get_input_port("asks")
answers = syl.get_output_port("answers")
def prepare():
    answers.set_metadata_value("table_header", ["number"])
    asks.on_data = lambda row: row is not None and answers.submit(
        [int((row.data if hasattr(row, "data") else row)[0]) + 1])
def run():
    while syl.is_running():
        syl.wait(10)
"""


def port(id: str, data_type: str) -> dict[str, str]:
    return {"id": id, "title": id, "data_type": data_type}


def to(**subscriptions: str) -> dict[str, Any]:
    """Return subscriptions: input (with _ for -) = "Module.port"."""
    return {
        "subscriptions": {
            key.replace("_", "-"): value.split(".") for key, value in subscriptions.items()
        }
    }


def parts(generation: str) -> list[Part]:
    names = NAMES[generation]
    ask = {"ports_in": [port("answers", "TableRow")],
           "ports_out": [port("asks", "TableRow"), port("pins", names["command"])]}  # fmt: skip
    answer = {"ports_in": [port("asks", "TableRow")], "ports_out": [port("answers", "TableRow")]}
    signal = "fpsig1-in" if generation == "2" else "f32sig-in"
    stage = {"family": 0, "response": 0, "order": 2, "freq1": 40.0, "sos": []}
    kind = {} if generation == "2" else {"input_type": names["block"]}  # 2.x: the port shows it
    controls = "firmata-userctl" if generation == "2" else "hwline-userctl"
    return [
        ("pyscript", info("pyscript", "Ask", **to(answers="Answer.answers")), ask,
         ASK.replace("PINS", PINS[generation]).encode()),
        ("pyscript", info("pyscript", "Answer", **to(asks="Ask.asks")), answer, ANSWER.encode()),
        ("table", info("table", "Questions", **to(rows="Ask.asks")), {}, b""),
        ("table", info("table", "Replies", **to(rows="Answer.answers")), {}, b""),
        ("firmata-io", info("firmata-io", "Board", **to(fmctl="Ask.pins")),
         {"serial_port": "/dev/ttyACM0"}, b""),
        (controls, info(controls, "By Hand", subscriptions={
                ("fmdata-in" if generation == "2" else "hwline-in"): ["Board", "fmdata"]}),
         {"output_ctls": [], "input_views": [{"pin_id": 7, "is_analog": False}]}, b""),
        ("camera-generic", info("camera-generic", "Cam"),
         {"camera": 0, "width": 320, "height": 240, "fps": 20.0}, b""),
        ("videotransform", info("videotransform", "Half", **to(frames_in="Cam.video")), {}, b""),
        ("videorecorder", info("videorecorder", "Video", **to(frames_in="Half.frames-out")),
         {"video_codec": 2, "video_container": 0, "lossless": True}, b""),
        ("devel.datasource", info("devel.datasource", "Source"), {"fps": 20}, b""),
        ("flowmeter", info("flowmeter", "Flow", **to(data_in="Source.frames-out")),
         {"data_type": "Frame"}, b""),
        ("signalfilter", info("signalfilter", "Filter", **to(signals_in="Source.float-out")),
         {"input_type": names["block"], "use_all_channels": True, "stages": [stage]}, b""),
        ("jsonwriter", info("jsonwriter", "Filtered", subscriptions={
            signal: ["Filter", "signals-out"]}), kind, b""),
        ("jsonwriter", info("jsonwriter", "Converted", subscriptions={  # 16 bits to floats
            signal: ["Source", "uint16-out"]}), kind, b""),
        ("devel.clock", info("devel.clock", "Clock"), {"interval_us": 100_000}, b""),
        ("table", info("table", "Ticks", **to(rows="Clock.table-out")), {}, b""),
        ("table", info("table", "Switched Off", enabled=False, **to(rows="Ask.asks")), {}, b""),
        ("table", info("table", "Dormant", **to(rows="Gone.rows")), {}, b""),
        ("videotransform", info("videotransform", "Off", enabled=False), {}, b""),
        ("videorecorder", info("videorecorder", "Behind", **to(frames_in="Off.frames-out")), {},
         b""),
        ("miniscope", info("miniscope", "Scope"), {}, b""),
    ]  # fmt: skip


@pytest.mark.parametrize("generation", ["2", "3"])
def test_a_project_of_many_modules_runs_and_its_recording_is_where_its_users_look(
    tmp_path: Path, generation: str, edlio_summary: Callable[[Path], dict[str, Any]]
) -> None:
    version = {"version_format": "1", "version_app": "2.1.0" if generation == "2" else "3.1.1"}
    path = project(tmp_path / "p.syct", parts(generation), new_names=generation == "3", **version)
    made = import_project(path, tmp_path / "b")
    assert made.problems == []
    assert [line.partition(" (")[0] for line in made.left_out] == [
        "'Switched Off'", "'Off'", "'Scope'"
    ]  # fmt: skip
    bench = load_bench(made.folder, devices=made.folder / "virtual.toml")
    done = mlink.run(bench, duration_s=1, out=tmp_path / "rec", time="virtual")
    assert done.success
    assert not any(
        each.lost or each.not_taken for stream in done.streams for each in stream.subscriptions
    )
    assert done.recording_dir is not None
    found = edlio_summary(done.recording_dir)["datasets"]
    assert [row[0] for row in found["questions"]["rows"]] == [str(n) for n in range(10)]
    assert [row[0] for row in found["answer"]["rows"]] == [str(n) for n in range(1, 11)]
    assert found["videos/half"]["frames"] in (20, 21)
    assert len(found["source-flt"]["rows"]) == len(found["source"]["rows"]) >= 900
    assert found["source-flt"]["columns"][1].endswith("_flt")
    assert 9 <= len(found["table-clock"]["rows"]) <= 11
    assert found["clock"]["kind"] == "tsync"
    kinds = {name: each["kind"] for name, each in found.items()}
    assert set(kinds.values()) <= {"table", "json", "video", "tsync"}, kinds
    assert not any("dormant" in name or "off" in name or "behind" in name for name in found)
