"""Timer 4 of the ATmega32U4, which yasimavr lacks; imported by the simulator's programs only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yasimavr.lib.core as core

_TCCR4A, _TCCR4B, _TCCR4C, _TCCR4D = 0xA0, 0xA1, 0xA2, 0xA3
_TC4H, _OCR4A, _OCR4B, _OCR4C, _OCR4D = 0x9F, 0xAF, 0xB0, 0xB1, 0xB2
_CS4, _WGM4, _PHASE_CORRECT = 0x0F, 0x03, 0x01


class FastTimer(core.Peripheral):  # type: ignore[misc]  # untyped base
    """Timer 4 of the 32U4 as far as it makes PWM: modes fast and phase-correct, outputs A, B and D.

    Its count, its interrupts, its dead times and the inverted outputs are not simulated.
    """

    def __init__(
        self,
        device: Any,
        loop: Any,
        pins: dict[str, int],
        on_change: Callable[[int, bool | None], None],
    ) -> None:
        super().__init__("TC4P")
        self._loop, self._on_change = loop, on_change
        self._outputs = tuple(
            _FastOutput(pins[name], control, shift, compare)
            for name, control, shift, compare in (
                ("PC7", _TCCR4A, 6, _OCR4A),
                ("PB6", _TCCR4A, 4, _OCR4B),
                ("PD7", _TCCR4C, 2, _OCR4D),
            )
        )
        self._wide: dict[int, int] = {}
        """Compare values of ten bits."""
        self._begun = 0
        """When a period began."""
        self._timer = core.CallableCycleTimer(self._edge)
        self.init(device)
        compare = (_OCR4A, _OCR4B, _OCR4C, _OCR4D)
        for address in (_TCCR4A, _TCCR4B, _TCCR4C, _TCCR4D, _TC4H, *compare):
            self.add_ioreg(address)
        device.attach_peripheral(self)  # for its resets
        self.reset(0)

    def reset(self, _flags: int) -> None:
        """Stop, with the largest top, as at a reset of the processor."""
        self._wide = {_OCR4C: 0xFF}
        self.write_ioreg(_OCR4C, 0xFF)
        self._update()

    def ioreg_write_handler(self, register: Any, data: Any) -> None:
        """Take over a setting."""
        address = int(register)
        if address >= _OCR4A:
            self._wide[address] = data.value | (self.read_ioreg(_TC4H) & 3) << 8
        if address == _TCCR4B and (data.value ^ data.old) & _CS4:
            self._begun = self._loop.cycle()
        self._update()

    def _step(self) -> int:
        """Return the cycles per count; 0 while the timer stands."""
        prescaler = self.read_ioreg(_TCCR4B) & _CS4
        return 1 << prescaler - 1 if prescaler else 0

    def _period(self, step: int) -> int:
        top = self._wide[_OCR4C]
        centred = self.read_ioreg(_TCCR4D) & _WGM4 == _PHASE_CORRECT
        return max(1, 2 * top if centred else top + 1) * step

    def _update(self) -> None:
        """Set all outputs to their levels, and wait for the next edge."""
        if self._timer.scheduled():
            self._loop.cycle_manager().cancel(self._timer)
        if edge := self._drive():
            self._loop.cycle_manager().schedule(self._timer, edge)

    def _edge(self, _when: int) -> int:
        return self._drive()

    def _drive(self) -> int:
        """Drive the outputs that are connected; return when the next one changes, or 0."""
        step, now, following = self._step(), int(self._loop.cycle()), 0
        period = self._period(step) if step else 0
        centred = self.read_ioreg(_TCCR4D) & _WGM4 == _PHASE_CORRECT
        for output in self._outputs:
            connected = self.read_ioreg(output.control) >> output.shift & 3
            if not connected or not period:
                if output.level is not None:
                    output.level = None
                    self._on_change(output.pin, None)
                continue
            high = self._wide.get(output.compare, 0) * step
            if not centred:
                high += step
            phase = (now - self._begun) % period
            edges = (high, period - high if centred else period)
            level = phase < edges[0] or phase >= edges[1]
            ahead = min(edge - phase for edge in (*edges, period + edges[0]) if edge > phase)
            following = min(following or now + ahead, now + ahead)
            if level != output.level:
                output.level = level
                self._on_change(output.pin, level)
        return following


class _FastOutput:
    """An output of timer 4: its pin, and where its settings are."""

    def __init__(self, pin: int, control: int, shift: int, compare: int) -> None:
        self.pin, self.control, self.shift, self.compare = pin, control, shift, compare
        self.level: bool | None = None
