"""The simulated chip's analog converter takes its true time, the same in every process."""

import subprocess
import sys

import pytest

from tests.support import ROOT

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

TIME_CONVERSIONS = """
import yasimavr.lib.core as core
from tests.support.boards.firmware_chip import CYCLES_PER_USEC, Chip
from mlink_drivers.firmata.wire import encode

chip = Chip()
_, request = chip.board._device.ctlreq(core.IOCTL_ADC("0"), core.CTLREQ_GET_SIGNAL)
begun, took = [], []

def heard(signal, _tag):
    if signal.sigid == core.ADC.SignalId.ConversionStarted:
        begun.append(chip.cycle)
    elif signal.sigid == core.ADC.SignalId.ConversionComplete:
        took.append((chip.cycle - begun[-1]) / CYCLES_PER_USEC)

hook = core.CallableSignalHook(heard)
request.data.value(core.Signal).connect(hook)
chip.send(encode.sampling_interval(5) + encode.report_analog(0, True), run_usec=100_000)
print(len(took), min(took), max(took))
"""


def test_a_conversion_takes_13_clocks_of_the_converter_in_every_process() -> None:
    """Processes of their own: what yasimavr reads behind its list differs from one to the next."""
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", TIME_CONVERSIONS],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            timeout=250,
        )
        count, least, most = done.stdout.split()
        assert int(count) >= 15
        # 13 clocks of 8 µs; the start waits for nothing in the simulator, or for half a clock.
        assert 95 <= float(least) <= float(most) <= 105
