"""Each kind of module that projects of Syntalos have, imported and run."""

from __future__ import annotations

from pathlib import Path

import mlink
from mlink.bench import load_bench
from mlink_hil.syct.folder import Imported, import_project
from tests.support.syct import Part, info, project

SOURCE: Part = ("devel.datasource", info("devel.datasource", "Src"), {"fps": 20}, b"")


def imported(tmp_path: Path, *parts: Part) -> Imported:
    made = import_project(project(tmp_path / "p.syct", list(parts)), tmp_path / "b")
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
