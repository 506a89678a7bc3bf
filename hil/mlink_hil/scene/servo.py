"""A servo in a scene: its arm turns to the angle that the width of the control pulses means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.opencv import cv2
from mlink_hil.sim.plan import ServoPlan

_DEGREES = 180.0
_REST = 90.0
_LONGEST_NS = 20_000_000
"""Longer pulses are ignored: a servo's period is 20 ms."""
_BODY, _EDGE, _ARM, _HUB, _TEXT = (
    (92, 66, 40),
    (130, 98, 66),
    (232, 236, 238),
    (150, 156, 160),
    (170, 176, 180),
)
_SHIFT = 4
"""Fractional bits of the coordinates for OpenCV, so that a slow arm moves smoothly."""


class ServoMotion:
    """Computes the arm's angle from the edges of the control line; reads no clock.

    Args:
        plan: Pulse widths of 0° and 180°, and the arm's speed.
        now_ns: Time at which the arm rests in the middle, ns.
    """

    def __init__(self, plan: ServoPlan, now_ns: int) -> None:
        self._plan = plan
        self._now_ns = now_ns
        self._rose_ns: int | None = None
        self._target = _REST
        self.angle = _REST
        """Degrees, 0 to 180."""
        self.pulse_usec = 0.0
        """Width of the last pulse, µs; 0 before the first."""

    def take(self, time_ns: int, level: bool) -> None:
        """Add an edge of the line; the end of a pulse sets the arm's target.

        Args:
            time_ns: When it was, ns; not before the edge before.
            level: The level after it.
        """
        self.advance(time_ns)
        if level:
            self._rose_ns = time_ns
        elif self._rose_ns is not None and time_ns - self._rose_ns <= _LONGEST_NS:
            self.pulse_usec = (time_ns - self._rose_ns) / 1000
            plan = self._plan
            share = (self.pulse_usec - plan.min_usec) / (plan.max_usec - plan.min_usec)
            self._target = _DEGREES * min(max(share, 0.0), 1.0)
            self._rose_ns = None

    def advance(self, time_ns: int) -> None:
        """Turn the arm towards its target, at its speed, up to a time."""
        most = self._plan.speed_dps * max(0, time_ns - self._now_ns) / 1e9
        self.angle += min(max(self._target - self.angle, -most), most)
        self._now_ns = max(self._now_ns, time_ns)


class SceneServo:
    """Draws a servo into pictures of one size.

    Args:
        plan: Its place, size, pulse widths and speed.
        background: The scene's background, H×W×3, uint8; the servo's body is painted on it.
        now_ns: Time at which the arm rests in the middle, ns.
    """

    def __init__(self, plan: ServoPlan, background: NDArray[np.uint8], now_ns: int) -> None:
        self.plan = plan
        self.motion = ServoMotion(plan, now_ns)
        height, width = background.shape[:2]
        self._center = (width * plan.at[0], height * plan.at[1])
        self._radius = max(8.0, width * plan.size)
        self._paint_body(background)

    def tip(self) -> tuple[float, float]:
        """Return the end of the arm as (x, y) in pixels."""
        return self._at(self.motion.angle, 0.92)

    def draw(self, image: NDArray[Any]) -> None:
        """Draw the arm at its present angle into an H×W×3 picture."""
        thick = max(2, round(self._radius * 0.14))
        hub = self._fixed(self._center)
        cv2.line(image, hub, self._fixed(self.tip()), _ARM, thick, cv2.LINE_AA, _SHIFT)
        size = round(self._radius * 0.16) << _SHIFT
        cv2.circle(image, hub, size, _HUB, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        text, scale = f"{self.motion.angle:.0f} deg", self._radius / 160
        x = round(self._center[0] + self._radius * 0.62)
        y = round(self._center[1] + self._radius * 0.42)
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA)

    def _paint_body(self, image: NDArray[np.uint8]) -> None:
        x, y, r = *self._center, self._radius
        for inset, color in ((0.0, _EDGE), (max(1.0, r * 0.02), _BODY)):
            low = (round(x - r * 0.5 + inset), round(y - r * 0.22 + inset))
            high = (round(x + r * 0.5 - inset), round(y + r * 0.62 - inset))
            cv2.rectangle(image, low, high, color, cv2.FILLED)
        for degrees in range(0, 181, 15):
            inner, outer = (1.0, 1.12) if degrees % 90 == 0 else (1.04, 1.1)
            ends = self._fixed(self._at(degrees, inner)), self._fixed(self._at(degrees, outer))
            cv2.line(image, *ends, _HUB, 1, cv2.LINE_AA, _SHIFT)

    def _at(self, degrees: float, radii: float) -> tuple[float, float]:
        """Return a point on the dial as (x, y) in pixels: 0° is to the right, 90° up."""
        angle = math.radians(degrees)
        r = self._radius * radii
        return self._center[0] + r * math.cos(angle), self._center[1] - r * math.sin(angle)

    @staticmethod
    def _fixed(point: tuple[float, float]) -> tuple[int, int]:
        return round(point[0] * (1 << _SHIFT)), round(point[1] * (1 << _SHIFT))
