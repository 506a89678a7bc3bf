"""The example benches in real and in virtual time: the same order, times as true as stated."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlink import recording
from tests.support.hil_examples import BENCHES

pytestmark = [pytest.mark.sim, pytest.mark.real_time, pytest.mark.timeout(600)]

SECONDS = 3
LIMIT_SEC = 200
"""Real run on a machine that gets no processor: the only reason to skip."""


def run(folder: Path, time: str) -> Path:
    """Run a copy of a bench, and return its recording."""
    out = folder / time
    command = [sys.executable, "-m", "mlink", "run", "bench.toml", "--for", str(SECONDS), "--plain"]
    try:
        done = subprocess.run(
            [*command, "--time", time, "--out", str(out), "--order", ""],
            cwd=folder, capture_output=True, text=True, timeout=LIMIT_SEC, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        if time == "real":
            pytest.skip(f"the real run did not end within {LIMIT_SEC} s: the machine is busy")
        raise
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "recording"


def both(tmp_path: Path, bench: str) -> list[recording.Recording]:
    shutil.copytree(BENCHES / bench, tmp_path, dirs_exist_ok=True)
    return [recording.open(run(tmp_path, time)) for time in ("virtual", "real")]


def same_order(virtual: list, real: list) -> None:
    """Both have the same events, as far as the shorter one goes; a busy machine has fewer."""
    length = min(len(virtual), len(real))
    assert length >= 3
    assert virtual[:length] == real[:length]


def test_presses_are_read_in_order_and_at_their_times(tmp_path: Path) -> None:
    orders = []
    for found in both(tmp_path, "led-follows-button"):
        read = [(int(value), int(usec)) for usec, _, value in found["events"].rows]
        made = [
            (int(edge == "release"), int(usec)) for usec, edge, _ in found["finger-latencies"].rows
        ]
        stated_usec = found.attributes["reports"]["board"]["board_clock_uncertainty_usec"]
        slip_usec = found.attributes["reports"]["finger"]["board_slip_usec"]
        orders.append([value for value, _ in read])
        # An edge whose answer came too late on a busy machine has no row; each row has its reading.
        for level, usec in made:
            off_usec = min(
                (abs(at - usec) for value, at in read if value == level), default=1 << 60
            )
            # The board's clock stood still where its simulation gave time up.
            assert off_usec <= 2 * stated_usec + 4 + slip_usec
    same_order(*orders)


def test_a_pulse_and_its_answer_go_round_in_order(tmp_path: Path) -> None:
    orders, shortest = [], []
    for found in both(tmp_path, "two-boards"):
        rows = [[int(cell) for cell in row] for row in found["trips"].rows]
        orders.append([level for _, level, _ in rows])
        shortest.append(min(trip for _, _, trip in rows))
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    same_order(*orders)
    # Two messages each way at 1 Mbaud and the wires; in real time the host's own time besides.
    assert 100 < shortest[0] <= shortest[1] + 1000


def test_each_press_switches_the_lamp_once(tmp_path: Path) -> None:
    same_order(
        *([row[1:] for row in found["presses"].rows] for found in both(tmp_path, "dut-firmware"))
    )


def test_frames_have_the_same_times(tmp_path: Path) -> None:
    virtual, real = (
        [int(usec) for usec in found.video().times_usec]
        for found in both(tmp_path, "camera-sees-light")
    )
    assert len(virtual) == SECONDS * 60  # the last one is read out after the end
    period = 1e6 / 60
    for times in (virtual, real):  # a busy machine loses frames, but moves none
        numbers = [round((usec - times[0]) / period) for usec in times]
        assert numbers == sorted(set(numbers))
        assert all(
            abs(usec - times[0] - number * period) <= 1
            for usec, number in zip(times, numbers, strict=True)
        )
