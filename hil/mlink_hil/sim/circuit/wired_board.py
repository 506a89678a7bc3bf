"""A board as its clients see it: a test that drives a pin drives the whole net of that pin.

So a test need not know what else is wired to a pin; a single board does without this class.
"""

from __future__ import annotations

from mlink_hil.sim.boards.board import Board, Output, PinState
from mlink_hil.sim.boards.i2c import I2cEnd
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.circuit.contact import Contact
from mlink_hil.sim.circuit.nets import NOTHING, Drive, Net, Strength
from mlink_hil.sim.circuit.node import Node


class WiredBoard(Board):
    """Forwards everything to a board, except for pins that have a button or are on a net.

    Args:
        node: The board on the common clock.
        clock: The common clock.
    """

    def __init__(self, node: Node, clock: CommonClock) -> None:
        self._node = node
        self._board = node.board
        self._clock = clock
        self._nets: dict[int, Net] = {}
        self._contacts: dict[int, Contact] = {}
        super().__init__()
        self.simulator = node.board.simulator
        self.firmware = node.board.firmware
        self.kind = node.board.kind
        self.probe = node.board.probe

    def connect(self, pin: int, net: Net) -> None:
        """Connect a pin to a net."""
        key = self._key(pin)

        def show(seen: Drive, cycle: int) -> None:
            self._node.run_until(cycle)
            level = None if seen.strength is Strength.NONE else seen.level
            self._board.drive(pin, level, weak=seen.strength is Strength.PULL_UP)

        self._nets[pin] = net
        self._board.on_output = self._on_output
        state = self._board.read(pin)
        net.join(key, show, Drive(Strength.OUTPUT, state.level) if state.output else NOTHING)

    def attach(self, pin: int, contact: Contact) -> None:
        """Let clients that drive a pin press this button."""
        self._contacts[pin] = contact

    def _key(self, pin: int) -> str:
        return f"{self._node.name}.{pin}"

    def _on_output(self, pin: int, what: Output, level: bool, cycle: int) -> None:
        if net := self._nets.get(pin):
            drive = Drive(Strength(what), level) if what else NOTHING
            net.drive_later(self._key(pin), drive, self._node.common(cycle))

    def wire(self, pin: int, level: bool | None, source: str, cycle: int) -> None:
        """Drive a pin, and its net, from outside.

        Args:
            pin: Its number.
            level: True for 5 V, False for ground, None to release it.
            source: Names what drives it, such as "button at uno.7".
            cycle: The common cycle of the change.
        """
        self._node.run_until(cycle)
        if net := self._nets.get(pin):
            drive = NOTHING if level is None else Drive(Strength.WIRE, level)
            net.drive(source, drive, cycle)
        else:
            self._board.drive(pin, level)

    def put(self, pin: int, volts: float | None, cycle: int) -> None:
        """Put an analog voltage on a pin.

        Args:
            pin: Its number, 14 to 19.
            volts: 0 to 5 V; None releases it.
            cycle: The common cycle of the change.
        """
        self._node.run_until(cycle)
        self._board.set_voltage(pin, volts)

    # ------------------------------------------------------------------ Board

    @property
    def cycle(self) -> int:
        """Cycles of the board's own clock."""
        return self._board.cycle

    @property
    def next_event(self) -> int | None:
        """The board's next event, in its own cycles."""
        return self._board.next_event

    @property
    def backlog(self) -> int:
        """Number of bytes fed that the board has not received yet."""
        return self._board.backlog

    def run_until(self, cycle: int) -> None:
        """Simulate up to a cycle of the board's own."""
        self._board.run_until(cycle)

    def stand(self, cycle: int, at: int) -> None:
        """Simulate towards a cycle of the board's own, and stand still before it."""
        self._board.stand(cycle, at)

    def boot(self) -> None:
        """Run until the firmware has sent its boot report."""
        self._board.boot()

    def feed(self, data: bytes) -> None:
        """Send bytes to the board at the serial line's rate."""
        self._board.feed(data)

    def drive(self, pin: int, level: bool | None, *, weak: bool = False) -> None:
        """Drive a pin for its whole net; the level of its button presses the button instead."""
        del weak
        if contact := self._contacts.get(pin):
            contact.move(closed=level is contact.level, cycle=self._clock.cycle)
            if level in (contact.level, None):
                return
        self.wire(pin, level, f"test of {self._key(pin)}", self._clock.cycle)

    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Put a voltage on a pin; see Board.set_voltage."""
        self._board.set_voltage(pin, volts)

    def read(self, pin: int) -> PinState:
        """Return the state of a pin."""
        return self._board.read(pin)

    def attach_i2c(self, end: I2cEnd) -> None:
        """Connect a device with the board's I2C bus."""
        self._board.attach_i2c(end)

    def reset(self) -> None:
        """Reset the processor; what drives its pins from outside stays."""
        self._board.reset()
