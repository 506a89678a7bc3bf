"""Carries out the requests of a board's control socket (`control/messages.py`)."""

from __future__ import annotations

import math
import time
from typing import Protocol

from mlink.errors import DeviceError
from mlink_hil.control import messages
from mlink_hil.control.lockstep import NOT_KNOWN
from mlink_hil.sim.boards.board import Board, Probe
from mlink_hil.sim.boards.faults import BoardFaults
from mlink_hil.sim.server.control_server import Client, ControlServer
from mlink_hil.sim.server.pacer import Pacer
from mlink_hil.sim.server.pty_port import Port
from mlink_hil.uno import CLOCK_HZ, SUPPLY_VOLT

_LINE_EVENTS = 10_000
"""Most events of the line between two requests: the reply has to fit into a socket."""


class BoardTime(Protocol):
    """Maps a board's cycles to real time."""

    pacer: Pacer
    virtual: bool
    """Whether it is virtual time, in which the board may stand still."""

    def present_ns(self, cycle: int, *, powered: bool) -> int:
        """Return the present, ns of CLOCK_MONOTONIC; virtual in virtual time.

        Args:
            cycle: How far the board has run.
            powered: Whether it runs; without power its clock stands still.
        """

    def time_ns(self, cycle: int) -> int:
        """Return the time of a cycle of the board, ns of CLOCK_MONOTONIC."""

    def skew(self, cycle: int, ppm: float) -> None:
        """Let the board's clock run fast by `ppm` parts per million from `cycle` on."""


class Requests:
    """Applies requests to one board and builds the replies.

    Args:
        board: The board, as clients see it.
        chip: The board without what is wired to it, which counts its bytes.
        port: Its serial port, which is also its power.
        time: Its cycles in real time.
        control: Sends the edges of watched pins.
        scheduling: The scheduling that the system granted, for statistics.
    """

    def __init__(
        self,
        board: Board,
        chip: Board,
        port: Port,
        time: BoardTime,
        control: ControlServer,
        scheduling: str,
    ) -> None:
        self._board = board
        self._chip = chip
        self._port = port
        self._time = time
        self._control = control
        self._scheduling = scheduling
        self.quit_asked = False
        """A client has asked the program to end."""
        self.faults = BoardFaults(board, time.skew)
        self._edges = [0] * board.kind.pin_count
        """Number of edges of each pin so far."""
        self._line: list[tuple[int, int, int]] | None = None
        """What was on the serial line; None until a client has asked."""
        self._line_missing = 0

    def on_edge(self, pin: int, level: bool, cycle: int) -> None:
        """Send an edge to the clients that watch the pin.

        Args:
            pin: Its number.
            level: The level after the edge.
            cycle: When it was, in cycles of the board.
        """
        self._edges[pin] += 1
        if pin in self._control.watched:
            self._control.publish(messages.Edge(pin, level, cycle, self._time.time_ns(cycle)))

    @property
    def notes_line(self) -> bool:
        """Whether a client has asked for what is on the serial line."""
        return self._line is not None

    def note_line(self, kind: int, time_ns: int | None = None, count: int = 1) -> None:
        """Note bytes on the serial line, once `notes_line`.

        Args:
            kind: A kind of `LineReply`.
            time_ns: When; None is now.
            count: How many.
        """
        assert self._line is not None
        if len(self._line) < _LINE_EVENTS:
            self._line.append((kind, time.monotonic_ns() if time_ns is None else time_ns, count))
        else:
            self._line_missing += 1

    def _line_events(self) -> messages.LineReply:
        if self._time.virtual:
            raise DeviceError(
                "the board runs in virtual time, in which the line has no delays to measure",
                remedy="Run the bench in real time.",
            )
        reply = messages.LineReply(events=self._line or [], missing=self._line_missing)
        self._line, self._line_missing = [], 0
        return reply

    def carry_out(self, client: Client, request: messages.Request) -> messages.Reply:
        """Carry out a client's request and return the reply.

        Raises:
            DeviceError: It cannot be carried out; the client receives the message.
        """
        match request:
            case messages.Drive(pin=pin, level=level):
                self._check_pin(pin)
                if pin in self._board.kind.serial_pins:
                    raise DeviceError(
                        f"pin {pin} is the serial line and cannot be driven",
                        remedy="Choose another pin.",
                    )
                before = self._board.read(pin).level
                self.faults.drive(pin, level)
                return self._changed(pin, before)
            case messages.Analog(pin=channel, volts=volts):
                pin = self._check_analog(channel, volts)
                before = self._board.read(pin).level
                self._board.set_voltage(pin, volts)
                return self._changed(pin, before)
            case messages.Read(pin=pin):
                return self._read(pin)
            case messages.Watch(pins=pins, wake=wake):
                for pin in pins:
                    self._check_pin(pin)
                client.watched, client.wakes = frozenset(pins), wake
                return messages.WatchReply(pins=sorted(client.watched))
            case messages.Halt(pins=pins):
                for pin in pins:
                    self._check_pin(pin)
                    if pin in self._board.kind.serial_pins:
                        raise DeviceError(
                            f"pin {pin} is the serial line, whose edges are not reported",
                            remedy="Choose another pin, or step to what its bytes cause.",
                        )
                if not self._time.virtual:
                    raise DeviceError("the board runs in real time: it cannot stand still")
                client.halts = frozenset(pins)
                return messages.HaltReply(edges=self._edges)
            case messages.Registers():
                return messages.RegistersReply(registers=self._probe.registers())
            case messages.Memory(address=address, length=length, flash=flash):
                data = self._probe.memory(address, length, flash=flash)
                return messages.MemoryReply(data=data)
            case messages.Stats():
                return self._stats()
            case messages.Line():
                return self._line_events()
            case _:
                return self._operate(request)

    def _operate(self, request: messages.Request) -> messages.Reply:
        """Carry out a request that concerns the board as a whole, or a fault."""
        match request:
            case messages.Reset():
                self._need_power()
                if self._has_usb:  # it vanishes with its processor
                    self._hang_up()
                    self._port.plug()
                self._board.reset()
            case messages.Unplug():
                self._need_power()
                self._hang_up()
                self._board.reset()
            case messages.Plug():
                if not (self._has_usb and self.faults.browned_out):
                    self._port.plug()  # the program then boots the board
            case messages.Brownout(on=on):
                self.faults.carry_out(request)
                if self._has_usb and on:
                    self._hang_up()
                elif self._has_usb:
                    self._port.plug()
            case messages.Stick(pin=pin):
                self._check_pin(pin)
                before = self._board.read(pin).level
                self.faults.carry_out(request)
                return self._changed(pin, before)
            case messages.Quit():
                self.quit_asked = True
            case _:
                self.faults.carry_out(request)
        return messages.Reply()

    @property
    def _has_usb(self) -> bool:
        """Whether the port is the processor's own, not that of a bridge beside it."""
        return not self._board.kind.serial_pins

    def _hang_up(self) -> None:
        self._port.unplug()
        self._control.woken.add(NOT_KNOWN)  # in virtual time a module sees the hang-up now

    @property
    def _probe(self) -> Probe:
        if self._board.probe is None:
            raise DeviceError(
                f"the simulator '{self._board.simulator}' runs no firmware: it has no registers "
                "and no memory",
                remedy="Use the AVR simulator: virtual:uno (pip install 'mlink-hil[sim]').",
            )
        return self._board.probe

    def _need_power(self) -> None:
        if not self._port.powered:
            raise DeviceError("the board is unplugged", remedy='Send {"cmd":"plug"} first.')

    def _now(self) -> int:
        """Return the board's time, ns of CLOCK_MONOTONIC; without power its clock stands still."""
        powered = self._port.powered and not self.faults.browned_out
        return self._time.present_ns(self._board.cycle, powered=powered)

    def _changed(self, pin: int, before: bool) -> messages.PinReply:
        """Return the reply to a request that changed what drives a pin."""
        level = self._board.read(pin).level
        return messages.PinReply(
            pin=pin,
            level=level,
            changed=level != before,
            cycle=self._board.cycle,
            time_ns=self._now(),
        )

    def _read(self, pin: int) -> messages.ReadReply:
        self._check_pin(pin)
        state = self._board.read(pin)
        return messages.ReadReply(
            pin=pin,
            level=state.level,
            output=state.output,
            driven=state.driven,
            cycle=self._board.cycle,
            time_ns=self._now(),
        )

    def _stats(self) -> messages.StatsReply:
        board, chip, pacer = self._board, self._chip, self._time.pacer
        return messages.StatsReply(
            simulator=board.simulator,
            firmware=board.firmware,
            frequency_hz=CLOCK_HZ,
            cycle=board.cycle,
            time_ns=self._now(),
            slices=pacer.slices,
            late_slices=pacer.late_slices,
            late_percent=pacer.late_percent,
            slip_usec=pacer.slip_ns / 1000,
            uart_bytes_in=chip.bytes_in,
            uart_bytes_out=chip.bytes_out,
            overruns=chip.overruns + self._port.lost,
            bytes_dropped=self.faults.line.dropped,
            bytes_corrupted=self.faults.line.corrupted,
            cpu_sec=time.process_time(),
            edges=self._edges,
            scheduling=self._scheduling,
        )

    def _check_pin(self, pin: int) -> None:
        kind = self._board.kind
        if not 0 <= pin < kind.pin_count:
            inputs = kind.analog_pins
            raise DeviceError(
                f"{kind.title} has no pin {pin} (valid: 0 to {kind.pin_count - 1})",
                remedy=f"A0 to A{len(inputs) - 1} are {', '.join(map(str, inputs))}.",
            )

    def _check_analog(self, channel: int, volts: float | None) -> int:
        """Return the pin of an analog input; DeviceError for a wrong channel or voltage."""
        kind = self._board.kind
        if not 0 <= channel < len(kind.analog_pins):
            valid = f"(valid: A0 to A{len(kind.analog_pins) - 1})"
            raise DeviceError(
                f"{kind.title} has no analog input A{channel} {valid}",
                remedy="Give the number of the input: 0 is A0.",
            )
        if volts is not None and not (math.isfinite(volts) and 0 <= volts <= SUPPLY_VOLT):
            raise DeviceError(
                f"{volts} V cannot be put on a pin (valid: 0 to 5, or null)",
                remedy="null (None) disconnects the input.",
            )
        return kind.analog_pins[channel]
