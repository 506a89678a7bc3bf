"""An LED in the scene, lit by a pin of a virtual board: a loop closed through the picture.

`virtual:scene?board=uno&led=8`. The LED stands at three quarters of the picture's width and
height. A frame is exposed for `exposure_usec` up to its time; the LED is as bright in it as the
share of that time for which the pin was high.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.opencv import cv2
from mlink_hil.board_link import BoardLink
from mlink_hil.sim.messages import Edge

EXPOSURE_USEC = 2000
_KEPT_EDGES = 4096
_DARK, _LIT = (20, 20, 30), (120, 160, 255)  # blue, green, red


def led_place(width: int, height: int) -> tuple[int, int, int]:
    """Return the LED's centre and radius in a picture of this size: (x, y, radius)."""
    return width * 3 // 4, height * 3 // 4, max(3, width // 24)


class SceneLed:
    """Follows a pin and draws it."""

    def __init__(self, control: str, pin: int, exposure_usec: int = EXPOSURE_USEC) -> None:
        self._edges: deque[tuple[int, bool]] = deque(maxlen=_KEPT_EDGES)
        self._lock = threading.Lock()
        self._exposure_ns = exposure_usec * 1000
        self._level_before = False
        """Level before the oldest edge that is kept."""
        self._link: BoardLink | None = BoardLink(control, self._on_edge, pins=[pin])
        state = self._link.read(pin)
        with self._lock:
            self._edges.append((state.time_ns, state.level))

    def share_lit(self, end_ns: int) -> float:
        """Return for which share of the exposure that ends at `end_ns` the pin was high, 0 to 1."""
        self._catch_up(end_ns)
        start_ns = end_ns - self._exposure_ns
        with self._lock:
            edges = list(self._edges)
            while len(self._edges) > 1 and self._edges[1][0] <= start_ns:
                self._level_before = self._edges.popleft()[1]
        level, since, lit_ns = self._level_before, start_ns, 0
        for time_ns, now in edges:
            if time_ns >= end_ns:
                break
            if time_ns > start_ns:
                lit_ns += (time_ns - since) * level
                since = time_ns
            level = now
        lit_ns += (end_ns - since) * level
        return lit_ns / self._exposure_ns

    def draw(self, image: NDArray[Any], end_ns: int) -> None:
        """Draw the LED as an exposure that ends at `end_ns` (CLOCK_MONOTONIC) shows it."""
        share = self.share_lit(end_ns)
        x, y, radius = led_place(image.shape[1], image.shape[0])
        color = [dark + share * (lit - dark) for dark, lit in zip(_DARK, _LIT, strict=True)]
        cv2.circle(image, (x, y), radius, color, cv2.FILLED)

    def close(self) -> None:
        """Let go of the board."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _catch_up(self, time_ns: int) -> None:
        """Wait until the board has simulated up to a moment, and its edges are here."""
        if self._link is None:
            return
        try:
            while self._link.barrier() < time_ns:
                pass  # an answer takes a slice of the simulation
        except DeviceError:
            self._on_edge(Edge(0, False, 0, time_ns))  # it is gone, and its light with it
            self.close()

    def _on_edge(self, edge: Edge) -> None:
        with self._lock:
            self._edges.append((edge.time_ns, edge.level))
