"""Common time of several simulated processors, which run in turns of at most one wire's delay.

A change on a wire that leaves a processor at cycle c reaches the others at c + delay. So nobody
needs to know what the others do within the next `delay` cycles: each may run that far by itself,
and everything that will reach it is known before. No edge is late, none is early, and what lies
between two edges is kept to the instruction.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

Action = Callable[[int], object]
"""Called with the cycle at which it happens."""

_FREE_RUN = 16_000
"""Cycles in one go where no processor waits for another: 1 ms."""


class Runner(Protocol):
    """Something that simulates itself up to a common cycle."""

    @property
    def next_event(self) -> int | None:
        """The common cycle of what the program around it should be woken for."""
        ...

    def run_until(self, cycle: int) -> None:
        """Simulate up to a common cycle."""
        ...


class CommonClock:
    """Runs processors in turns, and actions at their cycles. `cycle` is the present."""

    def __init__(self) -> None:
        self.cycle = 0
        self.longest_turn = _FREE_RUN
        """Set to the wires' delay where processors are wired to each other."""
        self._runners: list[Runner] = []
        self._actions: list[tuple[int, int, Action]] = []
        self._numbers = itertools.count()

    def add(self, runner: Runner) -> None:
        """Add a processor."""
        self._runners.append(runner)

    def at(self, cycle: int, action: Action) -> None:
        """Let something happen at a cycle, not before the present."""
        heapq.heappush(self._actions, (max(cycle, self.cycle), next(self._numbers), action))

    @property
    def next_event(self) -> int | None:
        """The earliest event of a processor that the program should be woken for."""
        return min(
            (e for each in self._runners if (e := each.next_event) is not None), default=None
        )

    def run_until(self, cycle: int) -> None:
        """Bring everything up to a cycle."""
        actions = self._actions
        while self.cycle < cycle:
            end = min(cycle, self.cycle + self.longest_turn)
            while actions and actions[0][0] <= end:
                at, _, action = heapq.heappop(actions)
                action(at)
            for runner in self._runners:
                runner.run_until(end)
            self.cycle = end
