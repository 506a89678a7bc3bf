"""A board on the AVR simulator yasimavr; imported by the simulator's programs only.

yasimavr's licence is the GPL. It runs in a process of its own behind a pseudo-terminal; neither the
runtime nor a driver imports this file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yasimavr.lib.core as core

from mlink.errors import DeviceError
from mlink_hil.board_kinds import UNO, BoardKind
from mlink_hil.sim.boards.avr_chips import ADC_PINS, load_chip, vectors_of
from mlink_hil.sim.boards.avr_fast_timer import FastTimer
from mlink_hil.sim.boards.avr_parts import I2cClient, Multiplexer, TimerOutputs, TwiLines
from mlink_hil.sim.boards.avr_probe import AvrProbe
from mlink_hil.sim.boards.avr_uart import UartLine
from mlink_hil.sim.boards.avr_usb_host import UsbLine
from mlink_hil.sim.boards.board import Board, BoardCrashed, Output, PinState
from mlink_hil.sim.boards.elf import make_elf, read_firmware
from mlink_hil.sim.boards.i2c import I2cEnd
from mlink_hil.uno import CLOCK_HZ, SUPPLY_VOLT

_BOOT_SLICE = CLOCK_HZ // 1000
_LONGEST_BOOT = 10 * CLOCK_HZ
_QUIET_AFTER_BOOT = CLOCK_HZ // 50
"""The boot report has ended when nothing was sent for this long (20 ms)."""
_SLEEPING = core.Device.State.Sleeping
_BREAK = b"\x98\x95"
"""An instruction for debuggers."""
_DRIVER_ID = "WIRE"
_SCL_CYCLES = 200
_CLOCK_LINE = 2
"""Index of XCK among the lines of a USART (TXD, RXD, XCK)."""


class _Wiring(core.PinDriver):  # type: ignore[misc]  # untyped base
    """Overrides what the processor's ports do with pins that are driven from outside.

    yasimavr stops when an output pin is also driven from outside, and StandardFirmata starts with
    its pins as outputs. With an override there is no such conflict: a pin that is driven from
    outside has the outer level.
    """

    def __init__(self, pin_count: int, on_port: Callable[[int, Output, bool], None]) -> None:
        super().__init__(_DRIVER_ID, pin_count)
        self._on_port = on_port
        self._port: dict[int, tuple[Output, bool]] = {}
        self.levels: dict[int, bool] = {}
        self.weak: set[int] = set()
        """Pins driven through a resistor, such as a pull-up: an output of the board wins."""
        self.floating: set[int] = set()
        """Pins with an analog voltage: neither pull-up nor output of the board acts on them."""
        self.timers: dict[int, bool] = {}
        """Levels of the pins that a timer drives when they are outputs."""

    def override_gpio(self, index: int, controls: Any) -> Any:
        """Return what acts on a pin: the level from outside if there is one, else the port."""
        what, high = Output.NOTHING, bool(controls.drive)
        if controls.dir:
            what = Output.DRIVES
            if index in self.timers:
                high = self.timers[index]
                controls = core.Pin.controls_t(1, int(high), False, False)
        elif controls.pull_up:
            what, high = Output.PULL_UP, True
        if self._port.get(index) != (what, high):
            self._port[index] = (what, high)
            self._on_port(index, what, high)
        level = self.levels.get(index)
        if level is not None and not (controls.dir and index in self.weak):
            return core.Pin.controls_t(1, int(level), False, False)
        if index in self.floating:
            return core.Pin.controls_t(0, 0, False, False)
        return controls


class AvrBoard(Board):
    """A firmware on a board's simulated processor at 16 MHz.

    Args:
        hex_file: The firmware, Intel hex or ELF.
        kind: The board.

    Raises:
        DeviceError: The firmware cannot be read, or does not fit into the flash.
    """

    simulator = "yasimavr"

    def __init__(self, hex_file: Path, kind: BoardKind = UNO) -> None:
        super().__init__()
        self.kind = kind
        self.firmware = hex_file.name
        core.global_logger().set_level(core.Logger.Level.Silent)
        self._device = load_chip(kind.chip)
        self._device.logger().set_level(core.Logger.Level.Silent)
        # Erased flash can be read: the core of a Leonardo looks for a bootloader there.
        self._device.set_option(core.Device.Option.IgnoreBadCpuLPM, True)
        self._loop = core.SimLoop(self._device)
        self._loop.set_fast_mode(True)
        self._next_timer = self._loop.cycle_manager().next_when
        self._cycle = int(self._loop.cycle())
        self.probe = self._probe = AvrProbe(self._device, self._loop, kind)
        self._load(read_firmware(hex_file, largest=kind.flash_bytes))
        self._hooks: list[Any] = []  # yasimavr keeps no reference to its hooks
        self._i2c_clients: list[I2cClient] = []
        self._twi_lines: TwiLines | None = None
        self._error: BoardCrashed | None = None
        """The model of an I2C device has raised in the midst of the simulation."""
        self._line = self._serial_line()
        self._connect_pins()

    def _load(self, image: bytes) -> None:
        """Write an image into the flash; yasimavr reads ELF files only."""
        words = range(0, len(image) - 1, 2)
        self._breaks = {at for at in words if image[at : at + 2] == _BREAK}
        with tempfile.NamedTemporaryFile(prefix="mlink-", suffix=".elf") as file:
            file.write(make_elf(image))
            file.flush()
            firmware = core.Firmware.read_elf(file.name)
        if firmware is None or not firmware.has_memory(core.Firmware.Area.Flash):
            raise DeviceError(
                "yasimavr did not accept the firmware",
                remedy="Reinstall it: pip install --force-reinstall 'mlink-hil[sim]'",
            )
        firmware.frequency = CLOCK_HZ
        firmware.vcc = SUPPLY_VOLT
        firmware.aref = 1.0
        self._device.load_firmware(firmware)

    def _serial_line(self) -> UartLine | UsbLine:
        if self.kind.serial_pins:
            pin = self.kind.port_pins[self.kind.serial_pins[0]]
            return UartLine(self._device, self._loop, pin, self._byte_left, self._byte_lost)
        vectors = vectors_of(self.kind.chip)
        both = (vectors.index("USB_GEN"), vectors.index("USB_COM"))
        return UsbLine(self._device, self._loop, both, self._byte_left)

    def _connect_pins(self) -> None:
        kind = self.kind
        self._pins = [self._device.find_pin(name) for name in kind.port_pins]
        self._wiring = _Wiring(kind.pin_count, self._port_changed)
        manager = self._device.pin_manager()
        manager.register_driver(self._wiring)
        manager.add_mux_config(_DRIVER_ID, list(kind.port_pins), 1)
        # The library's USART holds its clock's pin also where it uses none. Two that override one
        # pin with different levels are a short, at which the library stops the processor.
        manager.set_current_mux("USART0", _CLOCK_LINE, "")
        self._digital_change = core.Wire.SignalId.DigitalChange
        for pin in kind.user_pins:
            self._wiring.set_enabled(pin, True)
            hook = core.CallableSignalHook(self._pin_signal)
            self._pins[pin].signal().connect(hook, pin)
            self._hooks.append(hook)
        numbers = {name: pin for pin, name in enumerate(kind.port_pins)}
        parts: list[Any] = [
            TimerOutputs(self._device, kind.chip, numbers, self._timer_output),
        ]
        if kind.chip == "atmega32u4":
            parts.append(FastTimer(self._device, self._loop, numbers, self._timer_output))
        if kind.chip in ADC_PINS:
            parts.append(Multiplexer(self._device, kind.chip))
        self._parts = parts  # yasimavr keeps no reference to them

    # ------------------------------------------------------------------ callbacks of yasimavr

    def _byte_left(self, byte: int) -> None:
        self.bytes_out += 1
        self.on_byte(byte)

    def _byte_lost(self) -> None:
        self.overruns += 1

    def _pin_signal(self, signal: Any, pin: int) -> None:
        if signal.sigid == self._digital_change:
            self.on_edge(pin, bool(signal.data.as_uint()), self._loop.cycle())
            if pin in self.halt_pins:
                self.has_halted = True
                self._probe.halt()

    def _timer_output(self, pin: int, level: bool | None) -> None:
        if level is None:
            self._wiring.timers.pop(pin, None)
        else:
            self._wiring.timers[pin] = level
        self._wiring.update_pin_state(pin)

    def _port_changed(self, pin: int, what: Output, level: bool) -> None:
        if self.on_output is not None:
            self.on_output(pin, what, level, self._loop.cycle())

    # ------------------------------------------------------------------ Board

    @property
    def cycle(self) -> int:
        """Cycles of the clock since the start; never goes back."""
        return int(self._loop.cycle())

    @property
    def quiet_until(self) -> int:
        """The next timer while the processor sleeps; see Board.quiet_until."""
        timer = int(self._next_timer())
        if timer > self._cycle and self._device.state() is _SLEEPING:
            return timer
        return self._cycle

    @property
    def next_event(self) -> int | None:
        """The cycle at which what is being sent will have left; None when nothing is.

        So bytes leave the board when they are due, not at the end of a slice.
        """
        return self._line.next_event

    @property
    def backlog(self) -> int:
        """Number of bytes fed that the board has not received yet.

        The byte that is on its way counts too.
        """
        return self._line.backlog

    def run_until(self, cycle: int) -> None:
        """Simulate up to a cycle; BoardCrashed when the processor has stopped.

        It returns at once for a cycle that has passed.

        Raises:
            BoardCrashed: The simulated processor has stopped.
        """
        count = cycle - self._cycle
        if count <= 0:
            return
        loop = self._loop
        loop.run(count)
        self._cycle = loop.cycle()
        self._raise_error()
        if self._cycle < cycle:  # a processor that has stopped for good counts no cycles
            raise self._stopped()

    def stand(self, cycle: int, at: int) -> None:
        """Simulate towards a cycle and stand still before it; see Board.stand."""
        self._probe.stand(cycle, at)
        self._cycle = self._loop.cycle()
        self._raise_error()
        if self._loop.state() is core.SimLoop.State.Done:
            raise self._stopped()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
        if self._breaks and (at := self._probe.pc) in self._breaks:
            raise BoardCrashed(
                f"the firmware has come to the instruction BREAK at {at:#x}, at which a simulated "
                "processor stands for ever: it is for debuggers, and a chip without one ignores "
                "it. Remove it from the firmware"
            )

    def _stopped(self) -> BoardCrashed:
        return BoardCrashed(
            f"the simulated processor stopped ({self._device.state().name}) after "
            f"{self._cycle / CLOCK_HZ:.3f} s of simulated time: {self.firmware} left its program,"
            f" as a firmware of another board than {self.kind.title} does, or a part of one"
        )

    def boot(self) -> None:
        """Run until the firmware has sent its boot report, for ten simulated seconds at most.

        The boot report is over when nothing has been sent for a while. Over USB there is none: what
        a firmware sends before its port is open is lost.
        """
        last_sent: int | None = None
        end = self.cycle + _LONGEST_BOOT
        while self.cycle < end:
            sent, was_open = self.bytes_out, self._line.is_open
            self.run_until(self.cycle + _BOOT_SLICE)
            if self.bytes_out != sent or self._line.is_open != was_open:
                last_sent = self.cycle
            elif last_sent is not None and self.cycle - last_sent > _QUIET_AFTER_BOOT:
                return

    def feed(self, data: bytes) -> None:
        """Send bytes to the board at the serial line's rate."""
        self.bytes_in += len(data)
        self._line.feed(data)

    def drive(self, pin: int, level: bool | None, *, weak: bool = False) -> None:
        """Drive a pin from outside; see Board.drive."""
        wiring = self._wiring
        if self.kind.is_analog_only(pin):
            self.set_voltage(pin, level if level is None else SUPPLY_VOLT * level)
            return
        if pin in wiring.floating:
            self._pins[pin].set_external_state("Z")
            wiring.floating.discard(pin)
        wiring.weak.discard(pin)
        if level is None:
            wiring.levels.pop(pin, None)
        else:
            wiring.levels[pin] = level
            if weak:
                wiring.weak.add(pin)
        wiring.update_pin_state(pin)

    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Put a voltage on a pin; see Board.set_voltage."""
        if volts is None and not self.kind.is_analog_only(pin):
            self.drive(pin, None)
            return
        self._wiring.levels.pop(pin, None)
        self._wiring.floating.add(pin)
        self._wiring.update_pin_state(pin)
        self._pins[pin].set_external_state("A", (volts or 0.0) / SUPPLY_VOLT)

    def attach_i2c(self, end: I2cEnd) -> None:
        """Connect a device with the processor's I2C bus."""
        sda, scl = (self._pins[pin] for pin in self.kind.i2c_pins)
        manager = self._loop.cycle_manager()
        if self._twi_lines is None:
            self._twi_lines = TwiLines(self._device, manager, (scl, sda))
        self._i2c_clients.append(I2cClient(end, manager, (sda, scl), self._note_error))

    def _note_error(self, error: BoardCrashed) -> None:
        self._error = self._error or error

    def read(self, pin: int) -> PinState:
        """Return the state of a pin."""
        line = self._pins[pin]
        driven = pin in self._wiring.levels or pin in self._wiring.floating
        return PinState(bool(line.digital_state()), bool(line.gpio_controls().dir), driven)

    def reset(self) -> None:
        """Reset the processor; what drives its pins from outside stays."""
        if self._twi_lines is not None:
            scl = self._pins[self.kind.i2c_pins[1]]
            # The library's I2C holds a line for ever when it is reset while it holds it low. A
            # period of SCL is 160 cycles at 100 kHz, half of the delay of a wire.
            end = self.cycle + _SCL_CYCLES
            while not scl.digital_state() and self.cycle < end:
                self.run_until(self.cycle + 8)
            self._twi_lines.restart()
        self._device.reset(core.Device.ResetFlag.Ext)
        self._line.reset()
        for client in self._i2c_clients:
            client.restart()
