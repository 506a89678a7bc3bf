"""A simulator that ends by itself: the log has the reason, whatever ended it."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest

from mlink_hil.control.process import UnoProcess


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGTERM, "SIGTERM has asked it to end"),
        (signal.SIGKILL, "SIGKILL has ended it (a lack of memory, or another program)"),
        (signal.SIGSEGV, "SIGSEGV has ended it"),
    ],
)
def test_a_signal_that_ended_the_simulator_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, reason: str
) -> None:
    log = logging.getLogger("mlink.test")
    tty, control = tmp_path / "tty", tmp_path / "control"
    with UnoProcess("mlink_hil.sim.protocol_uno", [], tty=tty, control=control, log=log) as uno:
        os.kill(uno._process.pid, number)
        os.waitid(os.P_PID, uno._process.pid, os.WEXITED | os.WNOWAIT)
    assert f"mlink_hil.sim.protocol_uno ended by itself: {reason}" in caplog.text
