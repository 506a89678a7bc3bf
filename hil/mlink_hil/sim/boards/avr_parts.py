"""Parts of the processors that yasimavr leaves out; imported by the simulator's programs only.

The outputs of its timers reach no pin, and its converter has eight inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yasimavr.lib.core as core
from yasimavr.lib.arch_avr import ArchAVR_Timer

from mlink_hil.sim.boards.avr_chips import ADC_LINE, ADC_PINS

_ADCSRB = 0x7B - 0x20
_MUX5 = 0x08
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
        self._pins = [device.find_pin(name) for name in ADC_PINS[model]]
        self._upper = self._latched = False
        _, request = device.ctlreq(core.IOCTL_ADC("0"), core.CTLREQ_GET_SIGNAL)
        self._hook = core.CallableSignalHook(self._signal)
        request.data.value(core.Signal).connect(self._hook)
        self.init(device)
        self.add_ioreg(_ADCSRB)

    def ioreg_write_handler(self, _address: int, data: Any) -> None:
        """Note the top bit of the channel."""
        self._upper = bool(data.value & _MUX5)

    def reset(self, _flags: int) -> None:
        """Choose one of the first eight inputs, as the processor does at a reset."""
        self._upper = False

    def _signal(self, signal: Any, _tag: int) -> None:
        if signal.sigid == core.ADC.SignalId.ConversionStarted:
            self._latched = self._upper
        elif signal.sigid == core.ADC.SignalId.AboutToSample:
            pin = self._pins[(signal.data.as_uint() & 7) | (8 if self._latched else 0)]
            self._line.set_external_state("A", pin.voltage())
