"""Each press of the button switches the lamp over, once, however its contact bounces.

pytest hil/benches/dut-firmware
pytest hil/benches/dut-firmware --mlink-set virtual.lamp.firmware=firmware/lamp-buggy.hex
"""

import pytest

from mlink_hil.testing import edge, row

LAMP = 7
PRESS = row("presses.table-out", event="press")
SOON_USEC = 90_000  # the relay bounces for 11 ms, then 20 ms must be quiet; a busy computer's rest
AFTER_USEC = 200_000  # and that is before the next press

pytestmark = pytest.mark.bench("bench.toml")


def next_press(bench):
    return bench.expect(PRESS, within_usec=1_000_000, after=bench.now())


def test_a_press_switches_the_lamp_over(bench):
    switched = bench.expect(edge(LAMP), within_usec=SOON_USEC, after=next_press(bench))
    bench.expect(edge(LAMP), within_usec=400_000, after=switched)


def test_a_press_switches_it_only_once(bench):
    for _ in range(4):
        bench.expect_count(edge(LAMP), 1, within_usec=AFTER_USEC, after=next_press(bench))


def test_two_presses_switch_it_on_and_off(bench):
    press = next_press(bench)
    bench.expect_sequence(
        edge(LAMP, rising=True), edge(LAMP, rising=False), within_usec=900_000, after=press
    )


def test_it_waits_until_the_contact_is_quiet(bench):
    press = next_press(bench)
    switched = bench.expect(edge(LAMP), within_usec=SOON_USEC, after=press)
    # 11 ms of bouncing and 20 ms of quiet, less what the row needs on its way to the test
    bench.measure("press to lamp", switched.since(press), at_least=20_000)
