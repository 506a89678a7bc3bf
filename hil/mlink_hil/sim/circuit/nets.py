"""Wires between pins: what drives a net, and what each pin on it sees.

The drives on a net, weakest first: nothing, a pull-up, an output, a contact or a test. The
strongest wins. Of two that are equally strong the low one wins, as a transistor to ground does; two
outputs against each other are counted as a short. A wire with a delay of its own connects two nets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

from mlink_hil.sim.circuit.clock import CommonClock


class Strength(IntEnum):
    """How strongly something drives a net."""

    NONE = 0
    PULL_UP = 1
    OUTPUT = 2
    WIRE = 3


class Drive(NamedTuple):
    """How strongly something drives a net, and to which level."""

    strength: Strength
    level: bool


NOTHING = Drive(Strength.NONE, level=False)
Apply = Callable[[Drive, int], object]
"""Called with (the drive of the others on the net, the cycle)."""


def resolve(drives: Iterable[Drive]) -> Drive:
    """Return the drive that wins: the strongest, and of equally strong ones the low one.

    Returns:
        NOTHING when there are no drives.
    """
    return max(drives, key=lambda drive: (drive.strength, not drive.level), default=NOTHING)


class Net:
    """Pins that are connected with each other.

    A key names each source of a drive, such as "uno.8". Pins `join` the net and are called when the
    others' drive changes; a test's wire only drives it.

    Args:
        clock: The common clock.
        delay: Cycles until a change by a processor's pin is on the net.
    """

    def __init__(self, clock: CommonClock, delay: int) -> None:
        self._clock = clock
        self._delay = delay
        self._drives: dict[str, Drive] = {}
        self._shown: dict[str, Drive] = {}
        self._listeners: dict[str, Apply] = {}
        self._followers: dict[str, Apply] = {}
        self._followed: dict[str, Drive] = {}
        self.shorts = 0
        """How often one output drove against another."""

    def join(self, key: str, apply: Apply, drive: Drive = NOTHING) -> None:
        """Add a pin.

        Args:
            key: Its name.
            apply: Called when what the others do changes, as far as that wins against the pin's
                own drive.
            drive: What the pin does now.
        """
        self._listeners[key] = apply
        self._drives[key] = self._shown[key] = NOTHING
        self._show(key, self._clock.cycle)
        self.drive(key, drive, self._clock.cycle)

    def follow(self, key: str, apply: Apply) -> None:
        """Report each change of what all but `key` do, also where the drive of `key` wins.

        Args:
            key: Name of a source of this net, whose own drive is left out.
            apply: Called with each change.
        """
        self._followers[key] = apply
        self._followed[key] = NOTHING
        self._notify(key, self._clock.cycle)

    def drive_later(self, key: str, drive: Drive, cycle: int) -> None:
        """Change the drive of a processor's pin; it takes effect a wire's delay later.

        Args:
            key: Name of the pin.
            drive: What it does from then on.
            cycle: When the processor changed it.
        """
        self._clock.at(cycle + self._delay, lambda at: self.drive(key, drive, at))

    def drive(self, key: str, drive: Drive, cycle: int) -> None:
        """Change the drive of one source at once.

        Args:
            key: Name of the source.
            drive: What it does from now on.
            cycle: The present.
        """
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
        if key in self._listeners:  # it may win or lose against the others now
            self._show(key, cycle)
        for name in self._followers:
            self._notify(name, cycle)

    def _notify(self, key: str, cycle: int) -> None:
        """Call a follower if what the others do has changed."""
        others = self._others(key)
        if others != self._followed[key]:
            self._followed[key] = others
            self._followers[key](others, cycle)

    def _others(self, key: str) -> Drive:
        return resolve(drive for name, drive in self._drives.items() if name != key)

    def _show(self, key: str, cycle: int) -> None:
        """Call a pin if what it sees of the others has changed."""
        seen = self._seen_by(key)
        if seen != self._shown[key]:
            self._shown[key] = seen
            self._listeners[key](seen, cycle)

    def _seen_by(self, key: str) -> Drive:
        """Return the drive of the others if it wins against the pin's own, else NOTHING."""
        others = self._others(key)
        own = self._drives[key]
        if others.strength < own.strength or (others.strength == own.strength and others.level):
            return NOTHING
        return others


def join_late(key: str, nets: tuple[Net, Net], clock: CommonClock, delay: int) -> None:
    """Connect two nets in both directions with a delay.

    Two nets may be connected by one such wire only: in a loop a level would hold itself.

    Args:
        key: Name of the wire.
        nets: The two nets.
        clock: The common clock.
        delay: Cycles until a change of one net is on the other.
    """

    def carry(target: Net) -> Apply:
        return lambda seen, cycle: clock.at(cycle + delay, lambda at: target.drive(key, seen, at))

    for source, target in (nets, nets[::-1]):
        source.follow(key, carry(target))
