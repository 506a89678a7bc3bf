"""The interface of a simulated board.

`AvrBoard` and `ProtocolBoard` simulate one; `WiredBoard` wraps one whose pins are wired to others.
Everything above it, such as ports, sockets and real time, knows this interface only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, Protocol

from mlink_hil.board_kinds import UNO, BoardKind
from mlink_hil.sim.boards.i2c import I2cEnd

RECEIVE_AHEAD = 64
"""Bytes accepted from the host beyond those on the wire: the buffer of the Uno's USB bridge."""


class PinState(NamedTuple):
    """The state of a pin."""

    level: bool
    output: bool
    """The board drives it."""
    driven: bool
    """Whether it is driven from outside."""


class Output(IntEnum):
    """What the board itself does with a pin; in the order of strength."""

    NOTHING = 0
    PULL_UP = 1
    DRIVES = 2


class BoardCrashed(Exception):  # noqa: N818 - an event of the simulation
    """The simulation cannot go on: the processor has stopped, or a model has raised.

    The program prints the message and ends.
    """


class Probe(Protocol):
    """Looks into a simulated processor, without an effect on it."""

    def registers(self) -> dict[str, int]:
        """Return PC (in bytes), SP, SREG, R0 to R31 and the I/O registers, by name."""

    def memory(self, address: int, length: int, *, flash: bool) -> bytes:
        """Return a part of the memory.

        Args:
            address: First byte: of the data space, or of the flash.
            length: Number of bytes.
            flash: Which of the two.

        Raises:
            DeviceError: The processor has no such memory.
        """


class Board(ABC):
    """A simulated board, which runs only in `run_until` and `boot`.

    Set these callbacks before it runs: `on_byte(byte)` is called when a byte's stop bit has left
    the board, `on_edge(pin, level, cycle)` when the level of a pin has changed, and
    `on_output(pin, what, level, cycle)` when what the board itself does with a pin has changed.
    Pins are numbered as on the board, cycles are those of the board's 16 MHz clock.
    """

    simulator: str
    firmware: str
    kind: BoardKind = UNO
    bytes_in: int = 0
    """Bytes fed to the board."""
    bytes_out: int = 0
    """Bytes that have left the board."""
    overruns: int = 0
    """Bytes lost because the firmware read its UART too late."""
    probe: Probe | None = None
    """Looks into its processor; None where none is simulated."""
    halt_pins: frozenset[int] = frozenset()
    """Pins at whose edges `stand` stands still."""
    has_halted: bool = False
    """Whether there was such an edge; set back by who has seen it."""

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
        """The cycle that the program should wake up for; None without one.

        It is the end of a byte, so that bytes leave the board when they are due.
        """

    @property
    def quiet_until(self) -> int:
        """The cycle before which nothing happens by itself: no instruction, no byte, no edge.

        The present while the processor runs.
        """
        return self.cycle

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Number of bytes fed that the board has not received yet.

        The program stops reading the port while it is high, so the host sees a full line.
        """

    @abstractmethod
    def run_until(self, cycle: int) -> None:
        """Simulate up to a cycle, not beyond.

        Raises:
            BoardCrashed: The processor has stopped.
        """

    @abstractmethod
    def stand(self, cycle: int, at: int) -> None:
        """Simulate towards a cycle, but stand still at another one, or at an edge of `halt_pins`.

        A processor stands between two instructions: at most 8 cycles after `at`, and right after
        the instruction that caused the edge. Standing changes nothing: when the board has run on
        to `cycle`, it is where `run_until(cycle)` would have brought it.

        Args:
            cycle: How far it is to run in the end.
            at: Where to stand, at most `cycle`; there it stands at edges only.

        Raises:
            BoardCrashed: The processor has stopped.
        """

    @abstractmethod
    def boot(self) -> None:
        """Run, as fast as the host can, until the firmware has sent its boot report."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Send bytes to the board at the serial line's rate, after those fed before."""

    @abstractmethod
    def drive(self, pin: int, level: bool | None, *, weak: bool = False) -> None:
        """Drive a pin from outside, or release it.

        Args:
            pin: Its number.
            level: True for 5 V, False for ground, None to release it.
            weak: Through a resistor, so that an output of the board wins.
        """

    @abstractmethod
    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Put an analog voltage on a pin, or release it.

        Args:
            pin: Its number, that of an analog input.
            volts: 0 to 5 V; None releases it.
        """

    @abstractmethod
    def read(self, pin: int) -> PinState:
        """Return the state of a pin."""

    @abstractmethod
    def attach_i2c(self, end: I2cEnd) -> None:
        """Connect a device with the I2C bus; its address is on no other device of the bus."""

    @abstractmethod
    def reset(self) -> None:
        """Reset the processor; what drives its pins from outside stays."""

    def close(self) -> None:
        """Release what the simulator owns."""
