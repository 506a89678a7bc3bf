"""The parts of a `[virtual]` table one by one: limits of their settings, connections, details."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlink_hil.wiring.part import Part
from mlink_hil.wiring.table import KINDS

REQUIRED: dict[str, dict[str, Any]] = {
    "board": {"device": "uno"},
    "scene": {"device": "eye"},
    "led": {"line": "uno.8", "scene": "eye"},
    "servo": {"line": "uno.9", "scene": "eye"},
    "button": {"line": "uno.7"},
    "sensor": {"line": "uno.A0"},
    "wire": {"ends": ["uno.4", "uno.5"]},
    "chip": {"firmware": "dut.hex", "wires": {"2": "uno.4", "A1": "uno.5"}},
    "model": {"source": "heater.py:Heater", "wires": {"on": "uno.6"}},
}


def make(kind: str, **settings: Any) -> Part:
    """Return a part whose required settings are filled in."""
    return msgspec.convert({**REQUIRED[kind], **settings}, KINDS[kind])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bench's folder with the files that the parts of this module name."""
    for name in ("dut.hex", "heater.py", "wave.csv"):
        (tmp_path / name).touch()
    return tmp_path


def test_every_kind_has_a_part_here() -> None:
    assert set(REQUIRED) == set(KINDS)


@pytest.mark.parametrize("kind", REQUIRED)
def test_the_required_settings_suffice(kind: str, folder: Path) -> None:
    assert not list(make(kind).problems(folder))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("board", {"adapter": "ftdi", "latency_timer_writable": False}),
        ("scene", {"exposure_usec": 1}),
        ("scene", {"exposure_usec": 10_000_000, "readout_usec": 1_000_000, "noise": 100}),
        ("led", {"at": (0, 1), "size": 0.005}),
        ("led", {"at": (1, 0), "size": 0.5}),
        ("servo", {"min_usec": 1, "max_usec": 10_000, "speed_dps": 1e6}),
        ("button", {"bounce": {"pattern_usec": [1_000_000, 0.1]}}),
        ("button", {"bounce": {"count": 1000, "longest_usec": 1_000_000}}),
        ("button", {"bounce": {"count": 1, "longest_usec": 1}}),
        ("button", {"presses_hz": 200, "press_msec": 1e6}),
        ("sensor", {"low_volt": 0, "high_volt": 0}),
        ("sensor", {"low_volt": 5, "high_volt": 5, "noise_volt": 5}),
        ("sensor", {"hz": 10_000, "rate_hz": 10_000, "line": "uno.A5"}),
        ("sensor", {"waveform": "file", "file": "wave.csv", "line": "uno.14"}),
        ("sensor", {"line": "not a line"}),  # the table reports it
        ("wire", {"ends": ["uno.4", "uno.5", "uno.6"]}),
        ("wire", {"delay_usec": 1_000_000}),
        ("chip", {"wires": {"19": "uno.4", "A0": "uno.5"}}),
        ("chip", {"wires": {"2": "uno.4"}, "delays_usec": {"2": 1_000_000}}),
        ("chip", {"clock_ppm": -10_000, "phase_usec": 1_000_000}),
    ],
)
def test_the_limits_themselves_are_valid(kind: str, settings: dict[str, Any], folder: Path) -> None:
    assert not list(make(kind, **settings).problems(folder))


@pytest.mark.parametrize(
    ("kind", "settings", "key", "words"),
    [
        (
            "board",
            {"adapter": "usb", "latency_timer_writable": False},
            "latency_timer_writable",
            'only adapter = "ftdi" has a latency timer',
        ),
        ("scene", {"exposure_usec": 0}, "exposure_usec", "above 0 and at most 10 s"),
        ("scene", {"exposure_usec": 10_000_001}, "exposure_usec", "at most 10 s"),
        ("scene", {"readout_usec": -1}, "readout_usec", "0 to 1 s"),
        ("scene", {"readout_usec": 1_000_001}, "readout_usec", "0 to 1 s"),
        ("scene", {"noise": -0.1}, "noise", "0 to 100 grey levels"),
        ("scene", {"noise": 100.1}, "noise", "0 to 100 grey levels"),
        ("led", {"at": (1.01, 0)}, "at", "are 0 to 1"),
        ("led", {"at": (0, -0.01)}, "at", "are 0 to 1"),
        ("led", {"size": 0.0049}, "size", "0.005 to 0.5"),
        ("servo", {"size": 0.51}, "size", "0.005 to 0.5"),
        ("servo", {"min_usec": 0}, "min_usec", "above 0"),
        ("servo", {"min_usec": 2400}, "min_usec", "below max_usec"),
        ("servo", {"max_usec": 10_001}, "min_usec", "at most 10000"),
        ("servo", {"speed_dps": 0}, "speed_dps", "above 0"),
        ("servo", {"speed_dps": 1.1e6}, "speed_dps", "at most 1e6"),
        ("button", {"bounce": {"pattern_usec": [1, 2], "count": 1}}, "bounce", "both"),
        ("button", {"bounce": {"pattern_usec": [1]}}, "bounce.pattern_usec", "even number"),
        ("button", {"bounce": {"pattern_usec": [1, 0]}}, "bounce.pattern_usec", "above 0"),
        ("button", {"bounce": {"pattern_usec": [1, 1e6 + 1]}}, "bounce.pattern_usec", "1 s"),
        ("button", {"bounce": {"count": -1}}, "bounce.count", "0 to 1000"),
        ("button", {"bounce": {"count": 1001}}, "bounce.count", "0 to 1000"),
        ("button", {"bounce": {"longest_usec": 0.9}}, "bounce.longest_usec", "1 µs to 1 s"),
        ("button", {"bounce": {"longest_usec": 1e6 + 1}}, "bounce.longest_usec", "1 µs to 1 s"),
        ("button", {"presses_hz": -1}, "presses_hz", "0 to 200"),
        ("button", {"presses_hz": 201}, "presses_hz", "0 to 200"),
        ("button", {"press_msec": 0}, "press_msec", "above 0"),
        ("button", {"press_msec": 1.1e6}, "press_msec", "at most 1e6"),
        ("sensor", {"low_volt": -0.1}, "low_volt", "must hold"),
        ("sensor", {"low_volt": 3, "high_volt": 2}, "low_volt", "must hold"),
        ("sensor", {"high_volt": 5.1}, "low_volt", "high_volt ≤ 5 must hold"),
        ("sensor", {"hz": 0}, "hz", "above 0"),
        ("sensor", {"hz": 10_001}, "hz", "at most 10000"),
        ("sensor", {"rate_hz": 0}, "rate_hz", "above 0"),
        ("sensor", {"rate_hz": 10_001}, "rate_hz", "at most 10000"),
        ("sensor", {"noise_volt": -0.1}, "noise_volt", "0 to 5"),
        ("sensor", {"noise_volt": 5.1}, "noise_volt", "0 to 5"),
        ("sensor", {"noise_volt": float("nan")}, "noise_volt", "0 to 5"),
        ("sensor", {"waveform": "file"}, "file", "and that needs a file"),
        ("sensor", {"file": "wave.csv"}, "file", 'needs waveform = "file"'),
        ("sensor", {"waveform": "file", "file": "no.csv"}, "file", "there is no file"),
        ("wire", {"ends": []}, "ends", "at least two ends"),
        ("wire", {"ends": ["uno.4", "uno.4"]}, "ends", "they differ"),
        ("wire", {"delay_usec": -1}, "delay_usec", "0 to 1 s"),
        ("wire", {"delay_usec": 1_000_001}, "delay_usec", "0 to 1 s"),
        (
            "wire",
            {"ends": ["uno.4", "uno.5", "uno.6"], "delay_usec": 1},
            "delay_usec",
            "two ends; use several wires",
        ),
        ("chip", {"firmware": "no.hex"}, "firmware", "there is no file"),
        ("chip", {"wires": {"0": "uno.4"}}, "wires.0", "serial line"),
        ("chip", {"wires": {"A6": "uno.4"}}, "wires.A6", "an Uno has no pin 'A6'"),
        ("chip", {"wires": {"20": "uno.4"}}, "wires.20", "an Uno has no pin '20'"),
        ("chip", {"clock_ppm": 10_001}, "clock_ppm", "−10000 to 10000"),
        ("chip", {"phase_usec": -1}, "phase_usec", "0 to 1000000"),
        ("chip", {"delays_usec": {"3": 1}}, "delays_usec.3", "no wire at this pin"),
        (
            "chip",
            {"wires": {"2": "uno.4"}, "delays_usec": {"2": float("nan")}},
            "delays_usec.2",
            "0 to 1 s",
        ),
        ("model", {"delays_usec": {"x": 1}}, "delays_usec.x", "no wire at this pin"),
        ("model", {"source": "heater.py"}, "source", 'of the form "file.py:ClassName"'),
        ("model", {"source": "heater.py:9"}, "source", 'of the form "file.py:ClassName"'),
        ("model", {"source": "no.py:Heater"}, "source", "there is no file"),
    ],
)
def test_a_setting_beyond_its_limit_is_the_only_problem(
    kind: str, settings: dict[str, Any], key: str, words: str, folder: Path
) -> None:
    ((found, what),) = make(kind, **settings).problems(folder)
    assert found == key
    assert words in what


def test_a_chip_reports_each_of_its_problems(folder: Path) -> None:
    wires = {"1": "uno.4", "2": "uno.5", "x": "uno.6"}
    chip = make("chip", firmware="no.hex", wires=wires)
    assert [key for key, _ in chip.problems(folder)] == ["firmware", "wires.1", "wires.x"]


@pytest.mark.parametrize(
    ("kind", "lines", "wired"),
    [
        ("board", {}, ["uno"]),
        ("scene", {}, ["eye"]),
        ("led", {"line": "uno.8"}, ["uno.8 → eye"]),
        ("servo", {"line": "uno.9"}, ["uno.9 → eye"]),
        ("button", {"line": "uno.7"}, ["uno.7"]),
        ("sensor", {"line": "uno.A0"}, ["uno.A0"]),
        ("wire", {"ends[0]": "uno.4", "ends[1]": "uno.5"}, ["uno.4 – uno.5"]),
        ("chip", {"wires.2": "uno.4", "wires.A1": "uno.5"}, ["2 – uno.4", "A1 – uno.5"]),
        ("model", {"wires.on": "uno.6"}, ["on – uno.6"]),
    ],
)
def test_connections(kind: str, lines: dict[str, str], wired: list[str]) -> None:
    part = make(kind)
    assert part.lines() == lines
    assert part.wired() == wired
    assert part.scene_key() == ("eye" if kind in ("scene", "led", "servo") else None)
    assert part.board_key() == ("uno" if kind == "board" else None)


@pytest.mark.parametrize(
    ("kind", "settings", "detail"),
    [
        ("scene", {}, "exposes 2000 µs"),
        ("scene", {"readout_usec": 8000}, "exposes 2000 µs, read out in 8000 µs"),
        ("led", {}, "red"),
        ("led", {"color": "blue", "active_low": True}, "blue, lit when low"),
        ("servo", {}, ""),
        ("button", {}, "to ground"),
        ("button", {"active_low": False, "bounce": {"count": 1}}, "to 5 V, bounces"),
        (
            "button",
            {"bounce": {"pattern_usec": [1, 2]}, "presses_hz": 2.5},
            "to ground, bounces, presses itself at 2.5 Hz",
        ),
        ("sensor", {}, "sine, 0 to 5 V, 1 Hz"),
        ("sensor", {"waveform": "constant", "high_volt": 2.5}, "2.5 V"),
        ("sensor", {"waveform": "file", "file": "wave.csv"}, "wave.csv"),
        ("wire", {}, ""),
        ("wire", {"delay_usec": 250}, "250 µs late"),
        ("chip", {}, "dut.hex"),
        ("model", {}, "heater.py:Heater"),
    ],
)
def test_details_of_a_part(kind: str, settings: dict[str, Any], detail: str) -> None:
    assert make(kind, **settings).detail() == detail
