"""A board on the common clock: maps its own cycles to common ones, and has its power.

A board boots in simulated time before the others go on, and its crystal has an error of its own, so
its cycles differ from the common ones by an offset and a rate.
"""

from __future__ import annotations

from mlink_hil.sim.boards.board import Board
from mlink_hil.sim.circuit.clock import NEVER, CommonClock
from mlink_hil.uno import CLOCK_HZ


class Node:
    """A board or chip on the common clock.

    Args:
        name: Its name in the bench file.
        board: The simulated board; its cycles count from its own start.
        clock: The common clock.
        clock_ppm: Error of its crystal; positive is fast.
        phase_usec: For how long it runs before it is switched on.
    """

    def __init__(
        self,
        name: str,
        board: Board,
        clock: CommonClock,
        *,
        clock_ppm: float = 0.0,
        phase_usec: float = 0.0,
    ) -> None:
        self.name = name
        self.board = board
        self.powered = False
        self._clock = clock
        self._own = self._common = 0
        """The same moment in the board's own cycles and in common ones."""
        self._crystal_ppm = self._ppm = clock_ppm
        self._phase = round(phase_usec * CLOCK_HZ / 1e6)

    def switch_on(self, cycle: int) -> None:
        """Run the booted board from a common cycle on.

        Its firmware is ahead of the others' by its phase, as that of a board that had power before.
        """
        self.board.run_until(self.board.cycle + self._phase)
        self._own, self._common = self.board.cycle, cycle
        self.powered = True

    def skew(self, own: int, ppm: float) -> None:
        """Change the error of its clock.

        Args:
            own: The board's own cycle at which the change takes effect.
            ppm: Parts per million by which it runs fast, on top of `clock_ppm`.
        """
        self._own, self._common = own, self.common(own)
        self._ppm = self._crystal_ppm + ppm

    def common(self, own: int) -> int:
        """Return the common cycle of one of the board's own; without power, the present."""
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
        """The common cycle of the board's next event; None without one."""
        event = self.board.next_event if self.powered else None
        return None if event is None else self.common(event)

    @property
    def quiet_until(self) -> int:
        """A common cycle up to which nothing happens by itself; without power, NEVER."""
        if not self.powered:
            return NEVER
        quiet = self.board.quiet_until
        return self.common(quiet) - 1  # rounding must not reach the board's next cycle

    def run_until(self, cycle: int) -> None:
        """Simulate up to a common cycle; a board without power stands still."""
        if self.powered:
            if self._ppm:
                cycle = self.own(cycle)
            else:
                cycle += self._own - self._common
            self.board.run_until(cycle)

    @property
    def halts(self) -> bool:
        """Whether an edge of the board may halt it."""
        return bool(self.board.halt_pins)

    @property
    def has_halted(self) -> bool:
        """Whether an edge has halted the board."""
        return self.board.has_halted

    def stand(self, cycle: int, at: int) -> int:
        """Simulate towards a common cycle, and stand still at another one or at an edge.

        Args:
            cycle: As for `Board.stand`, in common cycles.
            at: Where to stand.

        Returns:
            The common cycle at which the board stands: `at`, or that of the edge.
        """
        if self.powered:
            self.board.stand(self.own(cycle), self.own(at))
            if self.board.has_halted:
                return min(at, self.common(self.board.cycle))
        return at
