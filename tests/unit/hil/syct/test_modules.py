"""Each kind of module that projects of Syntalos have, imported and run."""

from __future__ import annotations

from pathlib import Path

import mlink
from mlink.bench import load_bench
from mlink_hil.syct.folder import Imported, import_project
from tests.support.syct import Part, info, project

SOURCE: Part = ("devel.datasource", info("devel.datasource", "Src"), {"fps": 20}, b"")


def imported(tmp_path: Path, *parts: Part, **main: object) -> Imported:
    made = import_project(project(tmp_path / "p.syct", list(parts), **main), tmp_path / "b")
    assert (made.left_out, made.problems) == ([], [])
    return made


def run(made: Imported, **options: object) -> mlink.RunResult:
    return mlink.run(made.folder, duration_s=1.01, out=made.folder / "rec", **options)


def test_a_filter_with_keys_of_a_later_version(tmp_path: Path) -> None:
    stage = {
        "family": 0, "response": 1, "order": 4, "freq1": 100.0, "freq2": 10.0, "ripple_db": 1.0,
        "stopband_db": 60.0, "q_factor": 20.0, "sos": [], "of_tomorrow": 1,
    }  # fmt: skip
    settings = {
        "input_type": "SignalBlockF32", "use_all_channels": True, "channel_selection": "",
        "stages": [stage],
    }  # fmt: skip
    made = imported(
        tmp_path,
        SOURCE,
        (
            "signalfilter",
            info("signalfilter", "Filter", subscriptions={"signals-in": ["Src", "float-out"]}),
            settings,
            b"",
        ),
        (
            "jsonwriter",
            info("jsonwriter", "JSON", subscriptions={"f32sig-in": ["Filter", "signals-out"]}),
            {"input_type": "SignalBlockF32"},
            b"",
        ),
    )
    done = run(made, time="virtual")
    with mlink.open_recording(done.recording_dir) as recording:
        assert recording.signals().names == ["Low_flt", "High_flt", "Low+High_flt"]


def test_plots_of_both_generations(tmp_path: Path) -> None:
    ports = [
        {"id": "mine", "title": "Mine", "data_type": "SignalBlockI32"},
        {"id": "lines", "title": "Lines", "data_type": "LineReading"},
    ]
    channel = {
        "port_id": "mine", "col_idx": 0, "signal_name": "x", "digital": False, "enabled": True,
    }  # fmt: skip
    graph = {
        "id": 0, "size_weight": 1.0, "y_auto": False, "y_min": 0, "y_max": 1, "later": 1,
        "channels": [{"port_id": "mine", "col_idx": 0}],
    }  # fmt: skip
    settings = {
        "ports_in": ports, "channels": [channel], "graphs": [graph], "history_length": 5.0,
        "update_frequency": 60, "buffer_size": 512, "settings_panel_visible": True,
    }  # fmt: skip
    now = {"mine": ["Src", "int-out"], "lines": ["Src", "linerd-out"]}
    old = {"fpsig1-in": ["Src", "float-out"], "intsig1-in": ["Src", "int-out"]}
    made = imported(
        tmp_path,
        SOURCE,
        ("plot-timeseries", info("plot-timeseries", "New", subscriptions=now), settings, b""),
        ("plot-timeseries", info("plot-timeseries", "Old", subscriptions=old), {}, b""),
    )
    modules = load_bench(made.folder).modules
    assert [each.port for each in modules["old"].connections] == ["fpsig1-in", "intsig1-in"]
    reports = run(made, time="virtual").reports
    assert (reports["new"]["samples"], reports["old"]["samples"]) == (2005, 4000)  # 5 readings


def test_programs_lines_and_sounds(tmp_path: Path) -> None:
    ports = {"ports_out": [{"id": "control", "title": "", "data_type": "ControlCommand"}]}
    script = b"""import syntalos_mlink as syl
def start():
    command = syl.ControlCommand(syl.ControlCommandKind.START)
    command.duration = 100
    syl.get_output_port("control").submit(command)
"""
    lines = {
        "output_ctls": [{"pin_id": 13, "is_analog": False, "value": 0, "later": 1}],
        "input_views": [{"pin_id": 7, "is_analog": False}],
    }
    sound = {
        "play_immediately": False, "device_id": "alsa_output.pci-1", "wave_type": 0,
        "frequency": 200.0, "volume": 0.63,
    }  # fmt: skip
    about = info("audiosource", "Beep", subscriptions={"control-in": ["Script", "control"]})
    by_hand = info("firmata-userctl", "Lines", subscriptions={"hwline-in": ["Src", "linerd-out"]})
    command = {"executable": "sh", "parameters": '-c "exit 0"', "run_on_host": True}
    made = imported(
        tmp_path,
        SOURCE,
        ("pyscript", info("pyscript", "Script"), ports, script),
        ("audiosource", about, sound, b""),
        ("firmata-userctl", by_hand, lines, b""),
        ("runcmd", info("runcmd", "Cmd"), command, b""),
    )
    assert any("not on 'alsa_output.pci-1'" in note for note in made.notes)
    bench = load_bench(made.folder, devices=made.folder / "virtual.toml")
    done = mlink.run(bench, duration_s=1, out=tmp_path / "rec")
    assert done.reports["beep"]["latency_ms"] == 10.0
    assert done.reports["cmd"]["exit_code"] == 0
    with mlink.open_recording(done.recording_dir) as recording:
        assert [row[1] for row in recording.table("beep").rows] == ["begins", "ends"]


def test_ports_by_name_and_the_quality_of_mpeg_4(tmp_path: Path) -> None:
    video = {"video_codec": 7, "mode": "constant-quality", "quality": 3}
    made = imported(
        tmp_path,
        ("firmata-io", info("firmata-io", "A"), {"serial_port": "ttyACM1"}, b""),
        ("firmata-io", info("firmata-io", "B"), {"serial_port": "/dev/ttyUSB0"}, b""),
        ("firmata-io", info("firmata-io", "C"), {}, b""),
        ("videorecorder", info("videorecorder", "V"), video, b""),
    )
    bench = load_bench(made.folder)
    assert bench.devices == {"a": "/dev/ttyACM1", "b": "/dev/ttyUSB0", "c": "firmata:"}
    assert bench.modules["v"].settings.video_codec == "h264"
    assert bench.modules["v"].settings.quality is None


def test_a_micropython_board(tmp_path: Path) -> None:
    ports = {
        "serial_port": "/dev/ttyACM3",
        "ports_in": [{"id": "rows", "title": "Rows", "data_type": "TableRow"}],
        "ports_out": [{"id": "values", "title": "", "data_type": "FloatSignalBlock"}],
    }
    about = info("upy-workbench", "Pico", subscriptions={"rows": ["Src", "rows-out"]})
    made = imported(tmp_path, SOURCE, ("upy-workbench", about, ports, b"print(1)\n"))
    bench = load_bench(made.folder)
    assert bench.devices["pico"] == "/dev/ttyACM3"
    assert (made.folder / "pico.py").read_bytes() == b"print(1)\n"
    assert [port.id for port in bench.modules["pico"].outputs] == ["values"]
    virtual = load_bench(made.folder, devices=made.folder / "virtual.toml")
    assert virtual.devices["pico"] == "virtual:micropython"


def test_run_control_over_the_network_is_noted(tmp_path: Path) -> None:
    network = {
        "controller_enabled": True, "listener_enabled": True, "expected_listener_count": 3,
        "timeout_ms": 8000,
    }  # fmt: skip
    made = imported(tmp_path, SOURCE, network=network)
    notes = "\n".join(made.notes)
    assert "mlink run . --net-lead 3 --net-host 0.0.0.0 --net-timeout 8" in notes
    assert "mlink listen . --net-host ADDRESS" in notes


def test_what_has_no_live_input_is_dormant(tmp_path: Path) -> None:
    """Behind a module that is switched off nothing is recorded; the rest runs."""

    def behind(name: str, port: str) -> dict[str, dict[str, list[str]]]:
        return {"subscriptions": {port: [name, "frames-out"]}}

    path = project(tmp_path / "p.syct", [
        ("devel.datasource", info("devel.datasource", "Off", enabled=False), {}, b""),
        ("devel.datasource", info("devel.datasource", "On"), {"fps": 20}, b""),
        ("videotransform", info("videotransform", "T", **behind("Off", "frames-in")), {}, b""),
        ("prism", info("prism", "P", **behind("T", "frames-in")), {"mode": 2}, b""),
        ("videorecorder", info("videorecorder", "R", **behind("P", "frames-in")), {}, b""),
        ("videotransform", info("videotransform", "U", **behind("On", "frames-in")), {}, b""),
        ("videorecorder", info("videorecorder", "V", **behind("U", "frames-in")), {}, b""),
    ])  # fmt: skip
    made = import_project(path, tmp_path / "b")
    assert made.problems == []
    assert made.notes == [
        "'P.frames-in': 'T' has no live input; not connected",
        "'R.frames-in': 'P' has no live input; not connected",
    ]
    done = mlink.run(made.folder, duration_s=0.5, out=tmp_path / "rec", time="virtual")
    with mlink.open_recording(done.recording_dir) as recording:
        assert list(recording) == ["videos/u"]
        assert len(recording["videos/u"]) == 10


def test_a_prism(tmp_path: Path) -> None:
    settings = {"mode": 0, "ch_r": True, "ch_g": False, "ch_b": True, "ch_a": False}
    made = imported(
        tmp_path,
        SOURCE,
        ("prism", info("prism", "P", subscriptions={"frames-in": ["Src", "frames-out"]}),
         settings, b""),
        ("flowmeter", info("flowmeter", "M", subscriptions={"data-in": ["P", "frames-b"]}),
         {"data_type": "Frame"}, b""),
    )  # fmt: skip
    assert run(made, time="virtual").reports["m"]["items"] == 20
