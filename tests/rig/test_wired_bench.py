"""Worked examples' own tests on real USB, tty and V4L2 drivers: the devices file differs."""

from __future__ import annotations

import pytest
from rig_runner import ROOT, ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]

BENCHES = ROOT / "hil" / "benches"
CHOSEN = {"led-follows-button": "pressing", "camera-sees-light": "come_on"}
"""One test of each will do in an emulator, where a run takes long to start."""


@pytest.fixture(scope="module")
def seen():
    """Both in one guest, since booting one is what takes the time."""
    words = [word for name, chosen in CHOSEN.items() for word in (str(BENCHES / name), chosen)]
    return ask_guest("wired_bench.py", *words, timeout_sec=500)


@pytest.mark.parametrize("example", CHOSEN)
def test_an_example_passes_on_boards_and_a_camera_behind_real_drivers(seen, example):
    outcome = seen[example]
    assert outcome["code"] == 0, outcome["text"]
    assert outcome["counts"]["passed"] == 1, outcome["text"]
