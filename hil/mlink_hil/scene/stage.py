"""The items of a scene, LEDs and servos, drawn as each row of the picture exposes them.

It follows the boards that drive the items by their control sockets, so the scene is exact to the
simulated cycle, not to the time at which a frame is drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.opencv import cv2
from mlink_hil.scene.led import SceneLed
from mlink_hil.scene.lines import BoardLines
from mlink_hil.scene.marks import ROWS, cell_size
from mlink_hil.scene.servo import SceneServo
from mlink_hil.sim.plan import LedPlan, ScenePlan, ServoPlan

_LABEL = (178, 184, 188)
_NOISE_PICTURES = 8
_TOP, _BOTTOM, _GRID = (46, 40, 34), (30, 26, 22), (56, 50, 44)


class Stage:
    """Draws the items of a plan into pictures of one size; connects to the boards that drive them.

    Args:
        plan: The scene's items, exposure and noise.
        width: Of the pictures, in pixels.
        height: Of the pictures, in pixels.
        now_ns: The present time, ns of CLOCK_MONOTONIC.

    Raises:
        DeviceError: A board that drives an item is not running.
    """

    def __init__(self, plan: ScenePlan, width: int, height: int, now_ns: int) -> None:
        self.plan = plan
        self.background = _bench_top(width, height)
        self._servos = [
            SceneServo(item, self.background, now_ns)
            for item in plan.items
            if isinstance(item, ServoPlan)
        ]
        for item in plan.items:
            _label(self.background, item)
        self._leds = [
            SceneLed(item, self.background) for item in plan.items if isinstance(item, LedPlan)
        ]
        pins: dict[str, set[int]] = {}
        for item in plan.items:
            pins.setdefault(item.control, set()).add(item.pin)
        self._boards = {control: BoardLines(control, each) for control, each in pins.items()}
        self._seen_ns = now_ns
        delays = np.arange(height, dtype=np.int64) * (plan.readout_usec * 1000) // max(1, height)
        self._row_delays_ns = delays
        self._noise = _noise(plan, self.background.shape)
        self._random = np.random.default_rng(plan.seed)

    @property
    def readout_ns(self) -> int:
        """Time from the first row's exposure to the last row's, ns."""
        return self.plan.readout_usec * 1000

    def draw(self, image: NDArray[Any], time_ns: int) -> None:
        """Draw the items; waits until the boards have simulated the whole frame.

        Args:
            image: H×W×3, uint8, with the background in it.
            time_ns: End of the first row's exposure, ns of CLOCK_MONOTONIC.
        """
        exposure_ns = self.plan.exposure_usec * 1000
        for board in self._boards.values():
            board.catch_up(time_ns + self.readout_ns)
        ends_ns = time_ns + self._row_delays_ns
        for led in self._leds:
            lines = self._boards[led.plan.control]
            led.draw(image, lines.share_high(led.plan.pin, ends_ns[led.rows], exposure_ns))
        middle_ns = time_ns + (self.readout_ns - exposure_ns) // 2
        for servo in self._servos:
            lines = self._boards[servo.plan.control]
            for change in lines.changes(servo.plan.pin, self._seen_ns, middle_ns):
                servo.motion.take(*change)
            servo.motion.advance(middle_ns)
            servo.draw(image)
        self._seen_ns = max(self._seen_ns, middle_ns)
        for board in self._boards.values():
            board.forget(min(middle_ns, time_ns - exposure_ns))

    def add_noise(self, image: NDArray[Any]) -> None:
        """Add the image sensor's noise: one of a few noise pictures, shifted by random rows."""
        if len(self._noise):
            noise = self._noise[self._random.integers(len(self._noise))]
            shifted = np.roll(noise, int(self._random.integers(noise.shape[0])), axis=0)
            cv2.add(image, shifted, dst=image, dtype=cv2.CV_8U)

    def close(self) -> None:
        """Disconnect from the boards."""
        for board in self._boards.values():
            board.close()


def _bench_top(width: int, height: int) -> NDArray[np.uint8]:
    """Return a dark bench top with a faint grid."""
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    ground = np.array(_TOP, np.float32) * (1 - share) + np.array(_BOTTOM, np.float32) * share
    image = np.repeat(ground, width, axis=1).astype(np.uint8)
    step = max(8, width // 20)
    top = ROWS * cell_size(width)
    for x in range(step // 2, width, step):
        for y in range(top + step // 2, height, step):
            cv2.circle(image, (x, y), 1, _GRID, cv2.FILLED)
    return image


def _label(image: NDArray[np.uint8], item: LedPlan | ServoPlan) -> None:
    """Write an item's name below it."""
    height, width = image.shape[:2]
    scale = width / 1400
    (length, _), _ = cv2.getTextSize(item.name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    below = 1.9 if isinstance(item, LedPlan) else 0.9
    x = round(width * item.at[0] - length / 2)
    y = round(height * item.at[1] + width * item.size * below + width / 60)
    cv2.putText(image, item.name, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, _LABEL, 1, cv2.LINE_AA)


def _noise(plan: ScenePlan, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Return noise pictures, which are reused: new noise for each frame would cost too much."""
    if not plan.noise:
        return np.empty((0, *shape), np.int16)
    random = np.random.default_rng(plan.seed)
    noise = random.normal(0, plan.noise, (_NOISE_PICTURES, *shape))
    return np.rint(noise).astype(np.int16)
