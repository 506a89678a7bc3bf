"""An LED in a scene: two small pictures, dark and lit, which are mixed row by row.

A row is as bright as the share of its exposure for which the pin was on. So PWM dims the light, and
a rolling shutter shows the bands that it shows with a real camera.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink_hil.sim.plan import LedPlan

_COLORS = {  # of the lit lens, as (blue, green, red)
    "red": (85, 115, 255),
    "green": (140, 255, 120),
    "blue": (255, 150, 90),
    "yellow": (90, 235, 255),
    "white": (255, 255, 255),
    "orange": (80, 175, 255),
}
_GLOW = 2.4
"""Radius of the glow around the LED, in radii of its lens."""
_GLOW_STRENGTH = 0.45
_DARKNESS = 0.13
"""Brightness of the dark lens, as a share of its color."""
_BEZEL = (58, 54, 50)


def _place(width: int, height: int, plan: LedPlan) -> tuple[int, int, int]:
    return round(width * plan.at[0]), round(height * plan.at[1]), max(3, int(width * plan.size))


class SceneLed:
    """Draws an LED into pictures of one size.

    Args:
        plan: Its place, size and color.
        background: The scene's background, H×W×3, uint8; the dark LED is painted on it.
    """

    def __init__(self, plan: LedPlan, background: NDArray[np.uint8]) -> None:
        self.plan = plan
        height, width = background.shape[:2]
        x, y, radius = _place(width, height, plan)
        reach = int(radius * _GLOW)
        self._rows = slice(max(0, y - reach), min(height, y + reach + 1))
        self._columns = slice(max(0, x - reach), min(width, x + reach + 1))
        ground = background[self._rows, self._columns].astype(np.float32)
        center = (x - self._columns.start, y - self._rows.start)
        dark = _draw(ground, center, radius, plan.color, lit=False)
        self._gain = _draw(ground, center, radius, plan.color, lit=True) - dark
        background[self._rows, self._columns] = (dark + 0.5).astype(np.uint8)

    @property
    def rows(self) -> slice:
        """The rows of the picture that it covers, its glow included."""
        return self._rows

    def draw(self, image: NDArray[Any], share: NDArray[Any]) -> None:
        """Draw the LED.

        Args:
            image: H×W×3, uint8, with the background in it.
            share: For each of its `rows`, the share of the exposure with the pin high, 0 to 1.
        """
        if self.plan.active_low:
            share = 1 - share
        if not share.any():
            return
        patch = image[self._rows, self._columns]
        lit = patch + self._gain * share[:, None, None].astype(np.float32)
        patch[...] = np.clip(lit + 0.5, 0, 255)


def _draw(
    ground: NDArray[np.float32], center: tuple[int, int], radius: int, name: str, *, lit: bool
) -> NDArray[np.float32]:
    """Return the patch with the LED drawn on it, float32 of 0 to 255."""
    color = np.array(_COLORS[name], np.float32)
    y, x = np.mgrid[: ground.shape[0], : ground.shape[1]].astype(np.float32)
    distance = np.hypot(x - center[0], y - center[1]) / radius
    patch = ground.copy()
    if lit:
        glow = np.clip((_GLOW - distance) / (_GLOW - 1), 0, 1) ** 2 * _GLOW_STRENGTH
        patch += (color - patch) * glow[..., None]
    bezel = np.clip((1.18 - distance) * radius + 0.5, 0, 1)[..., None]
    patch += (np.array(_BEZEL, np.float32) - patch) * bezel
    lens = np.clip((1 - distance) * radius + 0.5, 0, 1)[..., None]
    if lit:  # whiter where it is brightest
        core = np.clip(1 - distance / 0.9, 0, 1)[..., None] ** 1.5 * 0.35
        body = color + (255 - color) * core
    else:
        shine = np.exp(
            -(((x - center[0]) / radius + 0.35) ** 2 + ((y - center[1]) / radius + 0.4) ** 2) * 12
        )
        body = color * _DARKNESS + shine[..., None] * 55
    patch += (body - patch) * lens
    return np.asarray(np.clip(patch, 0, 255), np.float32)
