"""The stack of the Uno and the Nano has room under load: their RAM is nearly full of variables."""

from __future__ import annotations

import math
import random
import re

import pytest

from mlink.reflexes import Edges, ReflexAction
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.extra import StepperDriver
from mlink_hil.board_kinds import KINDS
from tests.support import ROOT
from tests.support.boards.firmware_chip import Chip

core = pytest.importorskip("yasimavr.lib.core")
pytestmark = pytest.mark.sim

RAM_BEGINS, RAM_ENDS = 0x100, 0x900
UNUSED = 0xA5
LEAST_FREE = 24
"""Bytes that no interrupt has reached."""


@pytest.mark.parametrize("name", ["uno", "nano"])
def test_interrupts_of_all_kinds_at_once_leave_room_on_the_stack(name: str) -> None:
    chip = Chip(ROOT / f"firmware/prebuilt/mlink_firmata-{name}.hex", KINDS[name])
    (used,) = re.findall(rf"{name} .*RAM +(\d+) of", (ROOT / "firmware/README.md").read_text())
    begin = RAM_BEGINS + int(used)
    probe = core.DeviceDebugProbe()
    probe.attach(chip.board._device)
    for address in range(begin, RAM_ENDS - 90):
        probe.write_data(address, bytes((UNUSED,)))
    chip.ask(chip_encode.change_baud(1_000_000))
    chip.ask(chip_encode.confirm_baud())
    chip.use_check_values()
    chip.ask(chip_encode.watch_edges(dict.fromkeys((7, 12), Edges.BOTH)))
    for index, trigger in enumerate((7, 12, 14, 2)):
        action = ReflexAction.PULSE_HIGH
        chip.ask(chip_encode.set_reflex(index, trigger, Edges.BOTH, 8, action, width=100))
    chip.ask(chip_encode.set_counter(0, 2, Edges.BOTH, 10, second_pin=3))
    chip.ask(chip_encode.train(5, 1000, 1111))
    chip.ask(chip_encode.start_analog_blocks(8000, (1, 2), 4))
    first = round(2_000_000 * math.sqrt(2 / 50_000) * 256)
    chip.ask(chip_encode.set_stepper(0, StepperDriver.STEP_DIRECTION, (9, 10), first=first))
    rng = random.Random(1)
    for at in range(3000):
        chip.board.drive(rng.choice((7, 12, 14, 2, 3)), rng.random() < 0.5)
        chip.run_usec(rng.random() * 100)
        if at % 50 == 0:
            chip.send(chip_encode.clock_query(1))
            chip.send(chip_encode.train(rng.choice((4, 6)), 1000, 1111, 3, report=True))
        if at % 200 == 0:
            chip.send(chip_encode.move_stepper(0, rng.randrange(-5000, 5000), 128_000))
    stack = bytes(probe.read_data(begin, RAM_ENDS - begin))
    free = len(stack) - len(stack.lstrip(bytes((UNUSED,))))
    assert free >= LEAST_FREE
    chip.board.close()
