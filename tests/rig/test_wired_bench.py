"""The worked examples' own tests on the kernel's USB, tty and V4L2 drivers: other devices."""

from __future__ import annotations

import pytest
from rig_runner import ROOT, ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.timeout(1900)]

BENCHES = ROOT / "hil" / "benches"
CHOSEN = {
    # not the thousand edges, which take long in an emulator, nor the camera's rate
    "led-follows-button": "pressing or letting_go or reports or stays_dark or each_press",
    # not the time from edge to frame, which is that of 60 Hz, nor the disc: the picture is all grey
    "camera-sees-light": "come_on or go_out",
    "two-boards": "sees or answer",  # not its trips, which are timed
}
"""Example → its tests, as pytest's -k."""
PASSED = {"led-follows-button": 5, "camera-sees-light": 2, "two-boards": 2}


def run_in_guest(chosen):
    """Run some tests of some examples in one guest: booting it, and each run's start, take long."""
    asked = [word for name, tests in chosen.items() for word in (str(BENCHES / name), tests)]
    return ask_guest("wired_bench.py", *asked, timeout_sec=1800)


def test_a_press_lights_the_led_on_boards_behind_real_drivers():
    seen = run_in_guest({"led-follows-button": "pressing"})["led-follows-button"]
    assert seen["code"] == 0, seen["text"]
    assert seen["counts"]["passed"] == 1, seen["text"]


@pytest.fixture(scope="module")
def seen():
    """What came of the chosen tests of all examples."""
    return run_in_guest(CHOSEN)


@pytest.mark.long
@pytest.mark.parametrize("example", CHOSEN)
def test_an_examples_tests_pass_on_boards_and_a_camera_behind_real_drivers(seen, example):
    assert seen[example]["code"] == 0, seen[example]["text"]
    assert seen[example]["counts"]["passed"] == PASSED[example], seen[example]["text"]
