"""A worked example's own tests on the kernel's USB and tty drivers: the devices file differs."""

from __future__ import annotations

import pytest
from rig_runner import ROOT, ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.long, pytest.mark.timeout(600)]

EXAMPLE = ROOT / "hil" / "benches" / "led-follows-button"
CHOSEN = "pressing"
"""One will do in an emulator: a run takes a minute to start there, and more on a busy host."""


def test_led_follows_button_passes_on_boards_behind_real_drivers():
    seen = ask_guest("wired_bench.py", str(EXAMPLE), "-k", CHOSEN, timeout_sec=500)
    assert seen["code"] == 0, seen["text"]
    assert seen["counts"]["passed"] == 1, seen["text"]
