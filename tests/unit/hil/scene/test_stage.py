"""The items of a scene: exposure and rolling shutter of LEDs, the arm of a servo."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
import pytest

from mlink_hil.scene.led import SceneLed
from mlink_hil.scene.lines import BoardLines
from mlink_hil.scene.servo import SceneServo, ServoMotion
from mlink_hil.scene.stage import Stage
from mlink_hil.sim.plan import LedPlan, ScenePlan, ServoPlan

MSEC = 1_000_000
SERVO = ServoPlan(
    name="arm", control="", pin=9, at=(0.5, 0.6), size=0.2, min_usec=544, max_usec=2400,
    speed_dps=500,
)  # fmt: skip


def led(**changes) -> LedPlan:
    return LedPlan(name="light", control="", pin=8, at=(0.5, 0.5), size=0.1, **changes)


def lines_of(*changes: tuple[int, bool]) -> BoardLines:
    """Return lines whose pin 8 changed at these times, in ns."""
    lines = BoardLines.__new__(BoardLines)
    lines._lock, lines._link = threading.Lock(), None
    lines._changes = {8: deque(changes)}
    return lines


def shares(lines, *ends_msec, exposure_msec=2):
    ends = np.array([int(msec * MSEC) for msec in ends_msec], np.int64)
    return [round(float(each), 6) for each in lines.share_high(8, ends, exposure_msec * MSEC)]


def test_a_row_is_as_bright_as_the_share_of_its_exposure_that_the_pin_was_high():
    lines = lines_of((0, False), (10 * MSEC, True), (13 * MSEC, False))
    assert shares(lines, 10, 11, 12, 13, 14, 15, 20) == [0, 0.5, 1, 1, 0.5, 0, 0]


def test_before_the_first_moment_that_is_known_the_level_was_the_same():
    assert shares(lines_of((10 * MSEC, True), (11 * MSEC, False)), 9, 11.5) == [1, 0.75]


def test_a_dimmed_light_is_as_bright_as_its_duty():
    period, high = 1_020_000, 255_000  # 980 Hz, a quarter
    changes = [(0, False)]
    for number in range(100):
        changes += [(number * period + 1, True), (number * period + 1 + high, False)]
    (share,) = shares(lines_of(*changes), 50, exposure_msec=20)
    assert share == pytest.approx(0.25, abs=0.03)


def test_what_is_forgotten_leaves_the_level_that_it_ended_with():
    lines = lines_of((0, False), (10 * MSEC, True), (20 * MSEC, False), (30 * MSEC, True))
    lines.forget(25 * MSEC)
    assert shares(lines, 28, 31) == [0, 0.5]
    assert len(lines._changes[8]) == 2


def test_with_rolling_readout_a_short_flash_lights_some_rows_only():
    stage = Stage(ScenePlan(exposure_usec=1000, readout_usec=10_000), 320, 240, 0)
    background = stage.background.copy()
    stage._leds = [SceneLed(led(), background)]
    lines = lines_of((0, False), (5 * MSEC, True), (6 * MSEC, False))
    stage._boards = {"": lines}
    image = background.copy()
    stage.draw(image, 0)
    middle = image[:, 160, 2].astype(int) - background[:, 160, 2]
    lit = np.flatnonzero(middle > 30)
    # rows whose exposure, 1 ms up to 10 ms × row / 240, meets the flash between 5 and 6 ms
    assert 118 <= lit.min() <= 124
    assert lit.max() <= 168
    assert middle[100] == 0


def test_a_light_is_drawn_dark_and_lit_in_its_color():
    background = np.full((240, 320, 3), 40, np.uint8)
    light = SceneLed(led(color="green"), background)
    dark, lit = background.copy(), background.copy()
    light.draw(lit, np.ones(light.rows.stop - light.rows.start))
    assert lit[120, 160].mean() > 150 > 60 > dark[120, 160].mean()
    assert lit[120, 160, 1] == lit[120, 160].max()
    assert (lit[0, 0] == 40).all()


def test_a_light_at_a_line_that_is_active_low_shines_when_it_is_low():
    background = np.full((240, 320, 3), 40, np.uint8)
    light = SceneLed(led(active_low=True), background)
    image = background.copy()
    light.draw(image, np.zeros(light.rows.stop - light.rows.start))
    assert image[120, 160].mean() > 150


def pulses(motion, width_usec, count, start_ns=0):
    for number in range(count):
        at = start_ns + number * 20 * MSEC
        motion.take(at, True)
        motion.take(at + width_usec * 1000, False)


@pytest.mark.parametrize(
    ("width_usec", "degrees"), [(544, 0), (1472, 90), (2400, 180), (3000, 180), (100, 0)]
)
def test_the_width_of_the_pulses_is_the_angle(width_usec, degrees):
    motion = ServoMotion(SERVO, 0)
    pulses(motion, width_usec, 50)
    motion.advance(2_000 * MSEC)
    assert motion.angle == pytest.approx(degrees, abs=0.1)
    assert motion.pulse_usec == width_usec


def test_an_arm_needs_time_to_turn():
    motion = ServoMotion(SERVO, 0)
    pulses(motion, 2400, 1)
    motion.advance(2_400_000 + 100 * MSEC)
    assert motion.angle == pytest.approx(90 + 50)


def test_a_line_that_stays_high_is_no_pulse():
    motion = ServoMotion(SERVO, 0)
    motion.take(0, True)
    motion.take(500 * MSEC, False)
    assert motion.angle == 90


def test_the_end_of_the_arm_is_at_its_angle():
    background = np.zeros((240, 320, 3), np.uint8)
    servo = SceneServo(SERVO, background, 0)
    for angle, (x, y) in {0: (219, 144), 90: (160, 85), 180: (101, 144)}.items():
        servo.motion.angle = angle
        image = background.copy()
        servo.draw(image)
        assert servo.tip() == (pytest.approx(x, abs=1), pytest.approx(y, abs=1))
        inner = (round(160 + (x - 160) * 0.9), round(144 + (y - 144) * 0.9))
        assert image[inner[1], inner[0]].mean() > 200
