"""Exposures of a virtual camera that a line of a simulated board triggers.

Each rising edge begins one, at the exact time of the edge, unless the camera is still busy with the
one before. The camera numbers them, and stamps a frame as a driver does: some time after its last
row has been read out.
"""

from __future__ import annotations

import random
import select
from collections import deque
from typing import NamedTuple

from mlink.errors import DeviceError
from mlink_hil.control.board import VirtualBoard
from mlink_hil.scene.faults import CameraOrder
from mlink_hil.sim.plan import ScenePlan

_BUFFERS = 4
"""Frames kept for a late reader; those on their way to the driver need none of them."""
_PERIOD_NS = 10_000_000
"""Interval between two edges, before there are two."""


class Exposure(NamedTuple):
    """One exposure; times are ns of CLOCK_MONOTONIC."""

    number: int
    began_ns: int
    stamp_ns: int
    """When its frame is ready, with the camera's stamp."""


class Exposures:
    """The exposures of one camera; edges are taken whenever one of its methods is called.

    Args:
        plan: The scene, with its trigger.

    Raises:
        DeviceError: The board of the trigger does not run.
    """

    def __init__(self, plan: ScenePlan) -> None:
        trigger = plan.trigger
        assert trigger is not None
        self._plan = plan
        self._trigger = trigger
        self._random = random.Random(plan.seed)  # noqa: S311
        self._board: VirtualBoard | None = VirtualBoard.connect(trigger.control)
        self._board.watch([trigger.pin], wake=True)
        self._waiting: deque[Exposure] = deque()
        self._number = 0
        self._busy_ns = 0
        """When the last exposure is over."""
        self._edge_ns = 0
        self._period_ns = _PERIOD_NS
        self._start_ns = 0

    def fileno(self) -> int:
        """Descriptor that is readable when there may be an edge; −1 when the board is gone."""
        return self._board.fileno() if self._board is not None else -1

    def start(self, now_ns: int) -> None:
        """Begin: edges before this time trigger nothing, and frames are numbered from 0."""
        self._start_ns, self._number = now_ns, 0
        self._waiting.clear()

    def look(self, order: CameraOrder) -> None:
        """Take the edges that have come."""
        try:
            edges = list(self._board.edges()) if self._board is not None else []
        except DeviceError:  # its program is gone: it triggers nothing more
            self.close()
            return
        for edge in edges:
            if edge.level != self._trigger.active_low and edge.time_ns >= self._start_ns:
                self._on_edge(edge.time_ns, order)

    def next(self) -> Exposure | None:
        """Return the oldest exposure whose frame was not taken; None without one."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> Exposure:
        """Return the oldest exposure, and forget it."""
        return self._waiting.popleft()

    def wait(self, nsec: int) -> None:
        """Wait for an edge, at most this long."""
        fd = self.fileno()
        select.select([fd] if fd >= 0 else [], [], [], nsec / 1e9)

    def close(self) -> None:
        """Disconnect from the board."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _on_edge(self, time_ns: int, order: CameraOrder) -> None:
        if self._edge_ns:
            self._period_ns = time_ns - self._edge_ns
        self._edge_ns = time_ns
        if self._random.random() >= order.drop_triggers:
            self._expose(time_ns, order)
        if self._random.random() < order.extra_frames:
            self._expose(max(self._busy_ns, time_ns + round(self._period_ns * 0.45)), order)

    def _expose(self, began_ns: int, order: CameraOrder) -> None:
        plan = self._plan
        if began_ns < self._busy_ns:
            return
        self._busy_ns = began_ns + (plan.exposure_usec + plan.readout_usec) * 1000
        late_ns = round(self._random.random() * plan.jitter_usec * 1000)
        number, self._number = self._number, self._number + 1
        if self._random.random() < order.drop_frames:
            return
        if sum(exposure.stamp_ns <= began_ns for exposure in self._waiting) >= _BUFFERS:
            self._waiting.popleft()
        self._waiting.append(
            Exposure(number, began_ns, self._busy_ns + plan.delay_usec * 1000 + late_ns)
        )
