"""Each press of the button switches the lamp over, once, however its contact bounces.

pytest hil/benches/dut-firmware
pytest hil/benches/dut-firmware --mlink-set virtual.lamp.firmware=firmware/lamp-buggy.hex
"""

import pytest

from mlink_hil.testing import edge, row

LAMP = 7
PRESS = row("presses.table-out", event="press")
DONE = row("presses.table-out", event="done")
SOON_USEC = 1_000_000  # presses come four times a second; the rest is for a busy computer

pytestmark = pytest.mark.bench("bench.toml")


def test_a_press_switches_the_lamp_once(bench):
    seen = bench.now()
    for number in range(4):
        seen = bench.expect(DONE, within_usec=SOON_USEC, after=seen)
        bench.measure(f"switched by press {number}", int(seen.cells[2]), "", at_least=1, at_most=1)


def test_two_presses_switch_it_on_and_off(bench):
    on, off = edge(LAMP, rising=True), edge(LAMP, rising=False)
    bench.expect_sequence(on, off, on, within_usec=2 * SOON_USEC, after=bench.now())


def test_it_waits_until_the_contact_is_quiet(bench):
    press = bench.expect(PRESS, within_usec=SOON_USEC, after=bench.now())
    switched = bench.expect(edge(LAMP), within_usec=SOON_USEC, after=press)
    # 11 ms of bouncing and 20 ms of quiet
    bench.measure("press to lamp", switched.since(press))
