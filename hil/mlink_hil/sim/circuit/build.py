"""Builds the boards, wires and parts of a plan on one clock.

It opens no port and no socket, so tests can run a circuit in simulated time without a program.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlink.errors import DeviceError
from mlink_hil.board_kinds import KINDS
from mlink_hil.sim.boards.board import Board
from mlink_hil.sim.boards.load_avr import load_avr_board
from mlink_hil.sim.boards.protocol_board import ProtocolBoard
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.circuit.contact import Contact
from mlink_hil.sim.circuit.model import Model
from mlink_hil.sim.circuit.nets import Net, join_late
from mlink_hil.sim.circuit.node import Node
from mlink_hil.sim.circuit.sensor import Sensor
from mlink_hil.sim.circuit.wired_board import WiredBoard
from mlink_hil.sim.plan import BoardPlan, CircuitPlan, ContactPlan, ModelPlan, SensorPlan
from mlink_hil.uno import CLOCK_HZ


class Circuit:
    """The boards, models, nets and parts of a plan.

    Args:
        plan: What to build.

    Raises:
        DeviceError: A firmware or a model cannot be loaded.
    """

    def __init__(self, plan: CircuitPlan) -> None:
        self.clock = CommonClock()
        self.nodes: dict[str, Node] = {}
        """Boards and chips on the clock by name."""
        self.boards: dict[str, WiredBoard] = {}
        """The same as clients see them."""
        self.nets: list[Net] = []
        self._start: list[Callable[[], None]] = []
        self._i2c: dict[tuple[str, int], str] = {}
        """The models on I2C buses, by board and address."""
        for board in plan.boards:
            made = make_board(board)
            node = Node(
                board.name,
                made,
                self.clock,
                clock_ppm=board.clock_ppm,
                phase_usec=board.phase_usec,
            )
            self.clock.add(node)
            self.nodes[board.name] = node
            self.boards[board.name] = WiredBoard(node, self.clock)
        self._models = {model.name: Model(model, self.clock) for model in plan.models}
        self._start += [model.start for model in self._models.values()]
        for model in plan.models:
            if model.i2c:
                self._connect_i2c(model)
        for ends in plan.nets:
            self._connect(ends, max(1, _cycles(plan.wire_usec)))
        net_of = {end: net for net, ends in zip(self.nets, plan.nets, strict=True) for end in ends}
        for number, wire in enumerate(plan.delays):
            one, other = (net_of[end] for end in wire.ends)
            join_late(f"wire {number}", (one, other), self.clock, _cycles(wire.delay_usec))
        for contact in plan.contacts:
            self._add_contact(contact)
        for sensor in plan.sensors:
            self._add_sensor(sensor)

    def start(self) -> None:
        """Start models, buttons and sensors; call it when the boards have power."""
        for start in self._start:
            start()

    def close(self) -> None:
        """Release what the simulators own."""
        for board in self.boards.values():
            board.close()

    def _connect_i2c(self, plan: ModelPlan) -> None:
        node = self.nodes[plan.i2c]
        end = self._models[plan.name].connect_i2c(node)
        if (other := self._i2c.setdefault((plan.i2c, end.address), plan.name)) != plan.name:
            raise DeviceError(
                f"'{plan.name}' and '{other}' have the same I2C address {end.address:#04x} at"
                f" '{plan.i2c}'",
                remedy=f"Set another address in [virtual.{plan.name}].",
            )
        node.board.attach_i2c(end)

    def _connect(self, ends: list[tuple[str, str]], delay: int) -> None:
        net = Net(self.clock, delay)
        self.nets.append(net)
        for name, pin in ends:
            if name in self.boards:
                self.boards[name].connect(int(pin), net)
            else:
                self._models[name].connect(pin, net)
                self._connect_analog(self._models[name], pin, ends)
        self.clock.longest_turn = min(self.clock.longest_turn, delay)

    def _connect_analog(self, model: Model, own: str, ends: list[tuple[str, str]]) -> None:
        for name, end in ends:
            if name in self.boards and int(end) in self.boards[name].kind.analog_pins:
                board, pin = self.boards[name], int(end)

                def put(volts: float | None, at: int, board: Any = board, pin: int = pin) -> None:
                    board.put(pin, volts, at)

                model.connect_analog(own, put)

    def _add_contact(self, plan: ContactPlan) -> None:
        board = self.boards[plan.board]
        source = f"button at {plan.board}.{plan.pin}"

        def touch(closed: bool, cycle: int) -> None:
            board.wire(plan.pin, plan.level if closed else None, source, cycle)

        contact = Contact(plan, self.clock, touch)
        board.attach(plan.pin, contact)
        self._start.append(contact.start)

    def _add_sensor(self, plan: SensorPlan) -> None:
        board = self.boards[plan.board]
        sensor = Sensor(plan, self.clock, lambda volts, cycle: board.put(plan.pin, volts, cycle))
        self._start.append(sensor.start)


def _cycles(usec: float) -> int:
    return round(usec * CLOCK_HZ / 1e6)


def make_board(plan: BoardPlan) -> Board:
    """Return a simulated board with its firmware.

    Raises:
        DeviceError: The firmware or the simulator cannot be loaded.
    """
    if plan.simulator == "protocol":
        return ProtocolBoard()
    return load_avr_board(Path(plan.firmware), plan.firmware_name, KINDS[plan.kind])
