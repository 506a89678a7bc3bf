"""The worked examples' own tests on the kernel's USB, tty and V4L2 drivers: other devices."""

from __future__ import annotations

import pytest
from rig_runner import ROOT, ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.long, pytest.mark.timeout(1900)]

BENCHES = ROOT / "hil" / "benches"
CHOSEN = {
    # not the thousand edges, which take long in an emulator, nor the camera's rate
    "led-follows-button": "pressing or letting_go or reports or stays_dark",
    # not the time from edge to frame, which is that of 60 Hz, nor the disc: the picture is all grey
    "camera-sees-light": "come_on or go_out",
}
"""Example → its tests, as pytest's -k."""
PASSED = {"led-follows-button": 4, "camera-sees-light": 2}


@pytest.fixture(scope="module")
def seen():
    """All of them in one guest, since booting one, and each run's start in it, takes its time."""
    asked = [word for name, tests in CHOSEN.items() for word in (str(BENCHES / name), tests)]
    return ask_guest("wired_bench.py", *asked, timeout_sec=1800)


@pytest.mark.parametrize("example", CHOSEN)
def test_an_examples_tests_pass_on_boards_and_a_camera_behind_real_drivers(seen, example):
    assert seen[example]["code"] == 0, seen[example]["text"]
    assert seen[example]["counts"]["passed"] == PASSED[example], seen[example]["text"]
