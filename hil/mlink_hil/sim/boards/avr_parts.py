"""Parts of the processors that yasimavr leaves out; imported by the simulator's programs only.

The outputs of its timers reach no pin, its converter has eight inputs, and its I2C bus no device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yasimavr.lib.core as core
from yasimavr.lib.arch_avr import ArchAVR_Timer
from yasimavr.utils.twi import TWISimpleClient

from mlink_hil.sim.boards.avr_chips import ADC_LINE, ADC_PINS
from mlink_hil.sim.boards.board import BoardCrashed
from mlink_hil.sim.boards.i2c import I2cEnd

_ADCSRB = 0x7B - 0x20
_MUX5 = {"atmega2560": 0x08, "atmega32u4": 0x20}
_TWCR = 0xBC - 0x20
_TWEN = 0x04
_TIMER_OUTPUTS = {
    "atmega328": {0: "PD6 PD5", 1: "PB1 PB2", 2: "PB3 PD3"},
    "atmega2560": {
        0: "PB7 PG5",
        1: "PB5 PB6 PB7",
        2: "PB4 PH6",
        3: "PE3 PE4 PE5",
        4: "PH3 PH4 PH5",
        5: "PL3 PL4 PL5",
    },
    "atmega32u4": {0: "PB7 PD0", 1: "PB5 PB6 PB7", 3: "PC6"},
}
"""The pins of the outputs A, B and C of each timer."""


class TimerOutputs:
    """Connects the outputs of the timers with the pins.

    Args:
        device: The simulated processor.
        model: Its name.
        pins: The board's number of each pin of the processor.
        on_change: Called with (pin, level) when a timer drives a pin, and with None when it stops.
    """

    def __init__(
        self,
        device: Any,
        model: str,
        pins: dict[str, int],
        on_change: Callable[[int, bool | None], None],
    ) -> None:
        self._on_change = on_change
        self._hooks: list[Any] = []  # yasimavr keeps no reference to its hooks
        self._outputs: list[int | None] = []
        for timer, names in _TIMER_OUTPUTS[model].items():
            _, request = device.ctlreq(core.IOCTL_TIMER("_", str(timer)), core.CTLREQ_GET_SIGNAL)
            hook = core.CallableSignalHook(self._signal)
            request.data.value(core.Signal).connect(hook, len(self._outputs))
            self._hooks.append(hook)
            self._outputs += [pins.get(name) for name in (names + " - -").split()[:3]]

    def _signal(self, signal: Any, first: int) -> None:
        if signal.sigid != ArchAVR_Timer.SignalId.CompOutput:
            return
        pin = self._outputs[first + signal.index]
        if pin is not None:
            data = signal.data
            level = bool(data.as_uint()) if data.type() != core.vardata_t.Type.Invalid else None
            self._on_change(pin, level)


class Multiplexer(core.Peripheral):  # type: ignore[misc]  # untyped base
    """The multiplexer of a converter with more than eight inputs, whose top bit is in ADCSRB.

    yasimavr's converter always reads the pin ADC_LINE, which gets the voltage of the chosen one.
    """

    def __init__(self, device: Any, model: str) -> None:
        super().__init__("AMUX")
        self._line = device.find_pin(ADC_LINE)
        self._pins = [device.find_pin(name or ADC_LINE) for name in ADC_PINS[model]]
        self._bit = _MUX5[model]
        self._upper = self._latched = False
        _, request = device.ctlreq(core.IOCTL_ADC("0"), core.CTLREQ_GET_SIGNAL)
        self._hook = core.CallableSignalHook(self._signal)
        request.data.value(core.Signal).connect(self._hook)
        self.init(device)
        self.add_ioreg(_ADCSRB)
        device.attach_peripheral(self)  # for its resets

    def ioreg_write_handler(self, _address: int, data: Any) -> None:
        """Note the top bit of the channel."""
        self._upper = bool(data.value & self._bit)

    def reset(self, _flags: int) -> None:
        """Choose one of the first eight inputs, as the processor does at a reset."""
        self._upper = False

    def _signal(self, signal: Any, _tag: int) -> None:
        if signal.sigid == core.ADC.SignalId.ConversionStarted:
            self._latched = self._upper
        elif signal.sigid == core.ADC.SignalId.AboutToSample:
            chosen = (signal.data.as_uint() & 7) | (8 if self._latched else 0)
            pin = self._pins[chosen % len(self._pins)]
            self._line.set_external_state("A", pin.voltage())


class TwiLines(core.Peripheral):  # type: ignore[misc]  # untyped base
    """Lets the processor's I2C see lines that were released while it was off.

    A workaround for yasimavr 0.1.6, whose I2C believes, once off, that a low line still is low, and
    keeps that also when the processor is reset in the midst of a transfer.

    Args:
        device: The simulated processor.
        manager: The timers of the simulation.
        lines: SCL and SDA.
    """

    def __init__(self, device: Any, manager: Any, lines: tuple[Any, Any]) -> None:
        super().__init__("TWIL")
        self._manager = manager
        self._lines = [(line, core.Wire()) for line in lines]
        for line, wire in self._lines:
            wire.attach(line)
        self._is_stale = False
        self._timer = core.CallableCycleTimer(self._show)
        self.init(device)
        self.add_ioreg(_TWCR)
        self._is_on = bool(self.read_ioreg(core.reg_addr_t(_TWCR)) & _TWEN)

    def ioreg_write_handler(self, _address: int, data: Any) -> None:
        """Note that the I2C is switched on or off."""
        is_on = bool(data.value & _TWEN)
        if self._is_on and not is_on:
            self._is_stale |= not all(line.digital_state() for line, _ in self._lines)
        elif is_on and not self._is_on and self._is_stale:
            self._manager.schedule(self._timer, self._manager.cycle() + 1)
        self._is_on = is_on

    def restart(self) -> None:
        """Note that the processor was reset, which switches the I2C off."""
        self._is_stale |= self._is_on
        self._is_on = False

    def _show(self, _when: int) -> int:
        for line, wire in self._lines:
            if line.digital_state():
                wire.set_state("L")
                wire.set_state("U")
        self._is_stale = False
        return 0


class I2cClient(TWISimpleClient):  # type: ignore[misc]  # untyped base
    """A device on the wires of the processor's I2C bus.

    Args:
        end: The device.
        manager: The timers of the simulation.
        pins: SDA and SCL of the processor.
        on_error: Called when the device's model has raised: the library would only print it.
    """

    def __init__(
        self,
        end: I2cEnd,
        manager: Any,
        pins: tuple[Any, Any],
        on_error: Callable[[BoardCrashed], None],
    ) -> None:
        super().__init__(end.address)
        self._end = end
        self._on_error = on_error
        end.on_hold = lambda held: self.sda_wire.set_state("L" if held else "U")
        self.init(manager)
        self.set_enabled(True)
        for wire, pin in zip((self.sda_wire, self.scl_wire), pins, strict=True):
            wire.attach(pin)

    def restart(self) -> None:
        """Leave the bus: the processor was reset in the midst of a transfer, which has no end."""
        self.reset()
        self.set_enabled(True)
        self.scl_wire.set_state("U")
        self.sda_wire.set_state("L" if self._end.holds_sda else "U")

    def set_line_state(self, line: Any, state: bool) -> None:
        """Drive a wire low, or release it."""
        super().set_line_state(
            line, state and not (self._end.holds_sda and line == core.TWI.Line.Data)
        )

    def address_match(self, addr_rw: int) -> bool:
        """Return whether the device acknowledges; called when an address was sent."""
        if addr_rw >> 1 != self._end.address:
            return False
        try:
            return self._end.begin(reads=bool(addr_rw & 1))
        except BoardCrashed as error:
            self._on_error(error)
            return False

    def write_handler(self, data: int) -> bool:
        """Take a byte; return whether the device acknowledges."""
        return self._end.write(data)

    def read_handler(self) -> int:
        """Return the byte that the device sends."""
        return self._end.read()

    def transfer_stop(self, _ok: bool) -> None:
        """End a transfer: there was a stop, or a repeated start."""
        try:
            self._end.end()
        except BoardCrashed as error:
            self._on_error(error)
