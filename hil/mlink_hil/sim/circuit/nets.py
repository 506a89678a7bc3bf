"""Wires between pins: who drives a net, and what each other pin on it sees.

What is on a net, weakest first: nothing, a pull-up, an output, a contact or a test's wire. The
strongest wins, and of two as strong the low one, as a transistor to ground does; two outputs
against each other are counted as a short. A wire with a delay of its own lies between two nets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

from mlink_hil.sim.circuit.clock import CommonClock


class Strength(IntEnum):
    """How strongly something acts on a net."""

    NONE = 0
    PULL_UP = 1
    OUTPUT = 2
    WIRE = 3


class Drive(NamedTuple):
    """What something does to a net."""

    strength: Strength
    level: bool


NOTHING = Drive(Strength.NONE, level=False)
Apply = Callable[[Drive, int], object]
"""Shows a pin what the others on its net do, at a cycle."""


def resolve(drives: Iterable[Drive]) -> Drive:
    """Return what several drives come to."""
    return max(drives, key=lambda drive: (drive.strength, not drive.level), default=NOTHING)


class Net:
    """Pins that are connected. Keys name who drives; those that also listen have joined."""

    def __init__(self, clock: CommonClock, delay: int) -> None:
        self._clock = clock
        self._delay = delay
        self._drives: dict[str, Drive] = {}
        self._shown: dict[str, Drive] = {}
        self._listeners: dict[str, Apply] = {}
        self._followers: dict[str, Apply] = {}
        self._followed: dict[str, Drive] = {}
        self.shorts = 0

    def join(self, key: str, apply: Apply, drive: Drive = NOTHING) -> None:
        """Let a pin, which does this already, be shown what the others do."""
        self._listeners[key] = apply
        self._drives[key] = self._shown[key] = NOTHING
        self._show(key, self._clock.cycle)
        self.drive(key, drive, self._clock.cycle)

    def follow(self, key: str, apply: Apply) -> None:
        """Tell all that the others but `key` do, whether or not that wins against its own doing."""
        self._followers[key] = apply
        self._followed[key] = NOTHING
        self._tell(key, self._clock.cycle)

    def drive_later(self, key: str, drive: Drive, cycle: int) -> None:
        """Let a processor's pin drive from a cycle on; the others see it a wire's delay later."""
        self._clock.at(cycle + self._delay, lambda at: self.drive(key, drive, at))

    def drive(self, key: str, drive: Drive, cycle: int) -> None:
        """Change what one does to the net, at once."""
        if self._drives.get(key, NOTHING) == drive:
            return
        self._drives[key] = drive
        if drive.strength is Strength.OUTPUT and any(
            other.strength is Strength.OUTPUT and other.level != drive.level
            for other in self._drives.values()
        ):
            self.shorts += 1
        for name in self._listeners:
            if name != key:
                self._show(name, cycle)
        if key in self._listeners:  # it may now win, or lose, against the others
            self._show(key, cycle)
        for name in self._followers:
            self._tell(name, cycle)

    def _tell(self, key: str, cycle: int) -> None:
        """Tell a follower what the others do, if that is something else than before."""
        others = self._others(key)
        if others != self._followed[key]:
            self._followed[key] = others
            self._followers[key](others, cycle)

    def _others(self, key: str) -> Drive:
        return resolve(drive for name, drive in self._drives.items() if name != key)

    def _show(self, key: str, cycle: int) -> None:
        """Show a pin what the others do, if that is something else than before."""
        seen = self._seen_by(key)
        if seen != self._shown[key]:
            self._shown[key] = seen
            self._listeners[key](seen, cycle)

    def _seen_by(self, key: str) -> Drive:
        """Return what the others do to a pin, as far as that wins against its own doing."""
        others = self._others(key)
        own = self._drives[key]
        if others.strength < own.strength or (others.strength == own.strength and others.level):
            return NOTHING
        return others


def join_late(key: str, nets: tuple[Net, Net], clock: CommonClock, delay: int) -> None:
    """Connect two nets, so that what is done to one is done to the other `delay` cycles later.

    Between two nets there may be one such way only: in a ring a level would hold itself.
    """

    def carry(target: Net) -> Apply:
        return lambda seen, cycle: clock.at(cycle + delay, lambda at: target.drive(key, seen, at))

    for source, target in (nets, nets[::-1]):
        source.follow(key, carry(target))
