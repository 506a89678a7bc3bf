"""What the two simulated boards have in common: the Uno's pins, its clock, and its outlets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

RECEIVE_AHEAD = 64
"""Bytes taken from the host beyond what is on the wire, as the Uno's USB bridge does."""


class PinState(NamedTuple):
    """A pin's level; whether the board drives it; whether it is wired from outside."""

    level: bool
    output: bool
    driven: bool


class Output(IntEnum):
    """What a board itself does with a pin."""

    NOTHING = 0
    PULL_UP = 1
    DRIVES = 2


class BoardCrashed(Exception):  # noqa: N818 - what happened, not what went wrong in our code
    """The simulated processor stopped for good; the message says why."""


class Board(ABC):
    """A simulated Uno. It moves only when told, and never beyond the cycle it is told.

    `on_byte` is called with each byte when its stop bit has left the board, `on_edge` with
    (pin, level, cycle) when a pin has changed, and `on_output` with (pin, what, level, cycle) when
    what the board itself does with a pin has.
    """

    simulator: str
    firmware: str
    bytes_in: int = 0
    bytes_out: int = 0
    overruns: int = 0

    def __init__(self) -> None:
        self.on_byte: Callable[[int], object] = lambda _byte: None
        self.on_edge: Callable[[int, bool, int], object] = lambda _pin, _level, _cycle: None
        self.on_output: Callable[[int, Output, bool, int], object] | None = None

    @property
    @abstractmethod
    def cycle(self) -> int:
        """Cycles of the clock since the start; never goes back."""

    @property
    @abstractmethod
    def next_event(self) -> int | None:
        """The cycle at which a byte will have left, if one is on its way."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Bytes fed that the board has not received yet."""

    @abstractmethod
    def run_until(self, cycle: int) -> None:
        """Simulate up to `cycle`; BoardCrashed when the processor stopped."""

    @abstractmethod
    def boot(self) -> None:
        """Run, as fast as it goes, until the firmware has reported itself."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Put bytes on the board's serial line, from now on, at the line's own rate."""

    @abstractmethod
    def drive(self, pin: int, level: bool | None, *, weak: bool = False) -> None:
        """Wire a pin to 5 V, to ground or to nothing; weakly, as by a pull-up's resistor."""

    @abstractmethod
    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Put a voltage on a pin, or nothing."""

    @abstractmethod
    def read(self, pin: int) -> PinState:
        """Return a pin's state."""

    @abstractmethod
    def reset(self) -> None:
        """Reset the processor; wires from outside stay."""

    def close(self) -> None:
        """Give everything back."""
