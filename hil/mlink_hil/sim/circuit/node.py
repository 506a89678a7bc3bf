"""A board on the common clock: its own cycles, where they are in common time, and its power."""

from __future__ import annotations

from mlink_hil.sim.board import Board
from mlink_hil.sim.circuit.clock import CommonClock


class Node:
    """A board or chip. Its cycles count from its power-on, by a crystal `clock_ppm` too fast."""

    def __init__(
        self, name: str, board: Board, clock: CommonClock, *, clock_ppm: float = 0.0
    ) -> None:
        self.name = name
        self.board = board
        self.powered = False
        self._clock = clock
        self._own = self._common = 0
        """One moment, in the board's own cycles and in common ones."""
        self._crystal_ppm = self._ppm = clock_ppm

    def switch_on(self, cycle: int) -> None:
        """Let the board, which has booted, live on from a common cycle."""
        self._own, self._common = self.board.cycle, cycle
        self.powered = True

    def skew(self, own: int, ppm: float) -> None:
        """From a cycle of its own on, let its clock run fast by `ppm` more than by its crystal."""
        self._own, self._common = own, self.common(own)
        self._ppm = self._crystal_ppm + ppm

    def common(self, own: int) -> int:
        """Return the common cycle of one of the board's own; while it boots, that is now."""
        if not self.powered:
            return self._clock.cycle
        elapsed = own - self._own
        if self._ppm:
            elapsed = round(elapsed / (1 + self._ppm / 1e6))
        return self._common + elapsed

    def own(self, common: int) -> int:
        """Return the board's own cycle at a common one."""
        elapsed = common - self._common
        if self._ppm:
            elapsed = int(elapsed * (1 + self._ppm / 1e6))
        return self._own + elapsed

    @property
    def next_event(self) -> int | None:
        """The common cycle at which a byte will have left."""
        event = self.board.next_event if self.powered else None
        return None if event is None else self.common(event)

    def run_until(self, cycle: int) -> None:
        """Simulate up to a common cycle; a board without power stands still."""
        if self.powered:
            self.board.run_until(self.own(cycle))
