"""A button between a pin and ground or 5 V, whose contact bounces when it closes and opens."""

from __future__ import annotations

import random
from collections.abc import Callable

from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.plan import ContactPlan
from mlink_hil.uno import CLOCK_HZ

Touch = Callable[[bool, int], object]
"""Called with (closed, cycle)."""

_CYCLES_PER_USEC = CLOCK_HZ / 1e6


class Contact:
    """Closes and opens a contact; bounces and presses are reproducible by their seeds.

    Args:
        plan: How it bounces, and whether it presses itself.
        clock: The common clock.
        touch: Called with (closed, cycle) at each edge, bounces included.
    """

    def __init__(self, plan: ContactPlan, clock: CommonClock, touch: Touch) -> None:
        self.level = plan.level
        """Level of the pin while it is pressed."""
        self._plan = plan
        self._clock = clock
        self._touch = touch
        self._bounces = random.Random(plan.bounce_seed)  # noqa: S311 - no secret
        self._presses = random.Random(plan.seed)  # noqa: S311
        self._closed = False
        self._moves = 0
        """Number of presses and releases: a later one ends the bounces of the one before."""

    def start(self) -> None:
        """Start to press by itself if the plan has a rate."""
        if self._plan.presses_hz > 0:
            self._clock.at(self._clock.cycle + self._pause(), self._press)

    def move(self, *, closed: bool, cycle: int) -> None:
        """Press or release it; does nothing if it is in that state.

        Args:
            closed: Whether it is pressed.
            cycle: Common cycle of the first edge; the bounces follow.
        """
        if closed == self._closed:
            return
        self._closed = closed
        self._moves += 1
        self._touch(closed, cycle)
        move, state, at = self._moves, closed, float(cycle)
        for usec in self._pattern():
            at += usec * _CYCLES_PER_USEC
            state = not state
            self._clock.at(round(at), self._bounce(move, state))

    def _bounce(self, move: int, state: bool) -> Callable[[int], None]:
        def bounce(cycle: int) -> None:
            if move == self._moves:
                self._touch(state, cycle)

        return bounce

    def _pattern(self) -> list[float]:
        """Return the times between edges, µs; even in number, so that the last is the new state."""
        plan = self._plan
        if plan.pattern_usec or not plan.bounces:
            return plan.pattern_usec
        openings = self._bounces.randint(1, plan.bounces)
        return [self._bounces.uniform(1, plan.longest_usec) for _ in range(2 * openings)]

    def _pause(self) -> int:
        period_sec = 1 / self._plan.presses_hz
        return round((period_sec - self._hold_sec()) * self._presses.uniform(0.8, 1.2) * CLOCK_HZ)

    def _hold_sec(self) -> float:
        return min(self._plan.press_msec / 1000, 0.5 / self._plan.presses_hz)

    def _press(self, cycle: int) -> None:
        self.move(closed=True, cycle=cycle)
        self._clock.at(cycle + round(self._hold_sec() * CLOCK_HZ), self._release)

    def _release(self, cycle: int) -> None:
        self.move(closed=False, cycle=cycle)
        self._clock.at(cycle + self._pause(), self._press)
