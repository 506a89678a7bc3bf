"""Common time of several simulated processors, which run in turns of at most one wire's delay.

A change that leaves a processor at cycle c reaches the others at c + delay. So what the others do
within the next `delay` cycles cannot affect a processor: it may run that far alone, and everything
that will reach it is known before. Edges are neither early nor late; the time between two edges is
exact to an instruction. (This is conservative parallel simulation with the delay as lookahead.)
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

Action = Callable[[int], object]
"""Called with the common cycle at which it is due."""

_FREE_RUN = 16_000
"""Cycles per turn when processors are not wired to each other: 1 ms."""
_LONGEST_AWAKE = 64
"""Most calls of `skip` that do not look whether a processor sleeps: a look costs 1 µs."""
NEVER = 1 << 62
"""A cycle that is not reached."""
_MARGIN = 16
"""Cycles by which processors stand before an action: more than they may run on where they stand."""


class Runner(Protocol):
    """A simulated processor that can run up to a common cycle."""

    @property
    def next_event(self) -> int | None:
        """The common cycle that the program should wake up for; None without one."""

    @property
    def quiet_until(self) -> int:
        """A common cycle up to which nothing happens by itself."""

    @property
    def halts(self) -> bool:
        """Whether an edge may halt it."""

    @property
    def has_halted(self) -> bool:
        """Whether an edge has halted it."""

    def run_until(self, cycle: int) -> None:
        """Simulate up to a common cycle, not beyond."""

    def stand(self, cycle: int, at: int) -> int:
        """Simulate towards a common cycle; return where it stands: `at`, or an edge before."""


class CommonClock:
    """Runs processors in turns, and actions at their cycles.

    `cycle` is the present, in cycles of 16 MHz since the start.
    """

    def __init__(self) -> None:
        self.cycle = 0
        self.longest_turn = _FREE_RUN
        """Cycles per turn; at most the delay of a wire between processors."""
        self._runners: list[Runner] = []
        self._actions: list[tuple[int, int, Action]] = []
        self._numbers = itertools.count()
        self._awake = 1
        self._next_look = 0
        self._turn_end: int | None = None
        """End of the turn in the midst of which the simulation stands."""

    def add(self, runner: Runner) -> None:
        """Add a processor.

        It is simulated up to each common cycle, in turn with the others.
        """
        self._runners.append(runner)

    def at(self, cycle: int, action: Action) -> None:
        """Call an action later; actions of one cycle run in the order of these calls.

        Args:
            cycle: Common cycle; a past one means the present.
            action: Called with its cycle.
        """
        heapq.heappush(self._actions, (max(cycle, self.cycle), next(self._numbers), action))

    @property
    def next_event(self) -> int | None:
        """The earliest common cycle that the program should wake up for; None without one."""
        next_event = None
        for runner in self._runners:
            event = runner.next_event
            if event is not None and (next_event is None or event < next_event):
                next_event = event
        return next_event

    def skip(self, cycle: int, step: int) -> None:
        """Let whole steps of time pass in which all processors sleep and no action is due.

        The result is the same as of `run_until` step by step, in a single turn.

        Args:
            cycle: Common cycle beyond which nothing is skipped.
            step: Length of a step in cycles.
        """
        self._next_look -= 1
        if self._next_look > 0:
            return
        quiet = cycle if not self._actions else min(cycle, self._actions[0][0] - 1)
        for runner in self._runners:
            quiet = min(quiet, runner.quiet_until)
            if quiet <= self.cycle:  # it is awake, and may be for long
                self._next_look = self._awake = min(2 * self._awake, _LONGEST_AWAKE)
                return
        self._awake = 1
        steps = (quiet - self.cycle) // step
        if steps > 0:
            end = self.cycle + steps * step
            for runner in self._runners:
                runner.run_until(end)
            self.cycle = end

    def run_until(self, cycle: int, stand_at: int | None = None, *, halts: bool = False) -> bool:
        """Run actions and processors up to a common cycle, or stand still before it.

        In each turn the actions that are due run first, then each processor to the end of the turn.
        Where it stands, the next call goes on with that turn, so that standing changes nothing.

        Args:
            cycle: How far to run.
            stand_at: Cycle at which to stand still, in the midst of a turn; None for none.
            halts: Whether it stands at edges that halt a processor.

        Returns:
            Whether it has come to `cycle`; False where it stands before.
        """
        actions = self._actions
        stand_at = cycle if stand_at is None else min(stand_at, cycle)
        while self.cycle < cycle:
            end = min(cycle, self._turn_end or self.cycle + self.longest_turn)
            if stand_at < end or halts or self._turn_end is not None:
                if not self._run_in_steps(end, stand_at, halts=halts):
                    return False
                continue
            while actions and actions[0][0] <= end:
                at, _, action = heapq.heappop(actions)
                action(at)
            for runner in self._runners:
                runner.run_until(end)
            self.cycle = end
        return True

    def _run_in_steps(self, end: int, stand_at: int, *, halts: bool) -> bool:
        """Run a turn from action to action; return False where it stands before its end.

        Processors that may halt run first, so that no other runs past the edge. They stand before
        each action, which brings those that it concerns to its cycle.
        """
        limit = min(end, stand_at)
        self._turn_end = end
        order = sorted(self._runners, key=lambda runner: not (halts and runner.halts))

        def halted() -> bool:
            return halts and any(runner.has_halted for runner in order)

        while not halted():
            due = self._actions[0][0] if self._actions else end + 1
            point = limit if due > end else max(self.cycle, min(limit, due - _MARGIN))
            for runner in order:
                point = runner.stand(end, point)
            self.cycle = max(self.cycle, point)
            if halted():
                break
            if due > limit:
                self.cycle = limit
                break
            at, _, action = heapq.heappop(self._actions)
            action(at)
            self.cycle = max(self.cycle, at)
        if self.cycle < end:
            return False
        self._turn_end = None
        return not halted()
