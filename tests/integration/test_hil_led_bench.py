"""The worked example led-follows-button passes as it is, and finds what is broken in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

BENCHES = Path(__file__).resolve().parents[2] / "hil" / "benches"
ROOT = BENCHES.parents[1]
ANSWER = "    led.set_value(1 if reading.value == 0 else 0)\n"
ROW = "    table.submit([reading.time_usec, reading.line_id, reading.value])\n"


@dataclass
class Outcome:
    """How an inner pytest session ended."""

    code: int
    text: str
    counts: dict[str, int]


def run_pytest(folder: Path, *arguments: str) -> Outcome:
    """Run the tests of a folder as a user would, with our plugin alone."""
    command = [sys.executable, "-m", "pytest", "-p", "mlink_hil.plugin", "-p", "pytest_timeout"]
    command += ["--timeout=60", "-c", "/dev/null", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(folder)]
    done = subprocess.run(
        [*command, str(folder), *arguments],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    text = done.stdout + done.stderr
    summary = text.strip().splitlines()[-1]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", summary)}
    return Outcome(done.returncode, text, counts)


@pytest.fixture
def example(tmp_path: Path) -> Callable[..., Path]:
    """Copy an example, with `old` replaced by `new` in one of its files."""

    def copy(name: str, file: str = "", old: str = "", new: str = "") -> Path:
        folder = tmp_path / name
        shutil.copytree(BENCHES / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        if file:
            text = (folder / file).read_text()
            assert old in text
            (folder / file).write_text(text.replace(old, new))
        return folder

    return copy


def test_the_example_passes_and_keeps_no_recording(example: Callable[..., Path]) -> None:
    folder = example("led-follows-button")
    outcome = run_pytest(folder)
    assert outcome.code == 0, outcome.text
    assert outcome.counts["passed"] == 6
    assert list((folder / "recordings").rglob("*.mkv")) == []


MUTANTS = {
    "5 ms late": (ANSWER, "    import time; time.sleep(0.005)\n" + ANSWER, "median latency = "),
    "wrong line": ("LED_LINE = 8", "LED_LINE = 9", "no rising edge on uno.8"),
    "inverted": ("1 if reading.value == 0 else 0", "reading.value", "no rising edge on uno.8"),
    "one lost edge": (
        ANSWER,
        "    readings.n = getattr(readings, 'n', 0) + 1\n    if readings.n != 33:\n    " + ANSWER,
        "no rising edge on uno.8",
    ),
    "bounces": (
        ANSWER,
        ANSWER + "    led.set_value(0)\n" + ANSWER,
        "rising edge on uno.8 within",
    ),
    "stays on": ("1 if reading.value == 0 else 0", "1", "no rising edge on uno.8"),
    "a row twice": (ROW, ROW + ROW, "not 40"),
}


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_fault_of_the_script_is_found(fault: str, example: Callable[..., Path]) -> None:
    old, new, told = MUTANTS[fault]
    folder = example("led-follows-button", "loop.py", old, new)
    outcome = run_pytest(folder, "-x", "--mlink-record=never")
    assert outcome.code == 1, outcome.text
    assert told in outcome.text


def test_a_slow_camera_is_found(example: Callable[..., Path]) -> None:
    folder = example("led-follows-button", "bench.toml", "framerate = 30", "framerate = 29")
    outcome = run_pytest(folder, "-k", "camera", "--mlink-record=never")
    assert outcome.code == 1
    assert "not at 30 Hz" in outcome.text
