"""`python -m mlink_hil.sim.protocol_uno`: the Uno where the AVR simulator is missing.

It speaks StandardFirmata and keeps the serial line's pace; no processor is simulated, and a turn
of the firmware's loop takes no time.
"""

from __future__ import annotations

import sys
from collections import deque

from mlink_hil.sim.board import Board, Output, PinState
from mlink_hil.sim.program import main
from mlink_hil.sim.protocol_firmata import VERSION, FirmataFirmware
from mlink_hil.uno import CLOCK_HZ, FIRST_ANALOG, PIN_COUNT, SUPPLY_VOLT

_BAUD = 57_600
_BYTE_CYCLES = 10 * CLOCK_HZ // _BAUD
_CYCLES_PER_MSEC = CLOCK_HZ // 1000
_BOOT_CYCLES = CLOCK_HZ // 100


class _Pin:
    """A pin's two sides: what the board does with it, and what it is wired to."""

    __slots__ = ("output", "pull_up", "shown", "value", "volts", "weak", "wired")

    def __init__(self) -> None:
        self.output = False
        self.value = False
        self.pull_up = False
        self.wired: bool | None = None
        self.weak = False
        self.volts: float | None = None
        self.shown = False

    def level(self) -> bool:
        if self.wired is not None and not (self.weak and self.output):
            return self.wired
        if self.volts is not None:
            return self.volts > SUPPLY_VOLT / 2
        return self.value if self.output else self.pull_up


class ProtocolBoard(Board):
    """An Uno reduced to its pins, its serial line and the Firmata protocol."""

    simulator = "protocol"
    firmware = f"StandardFirmata {VERSION[0]}.{VERSION[1]} (protocol only)"

    def __init__(self) -> None:
        super().__init__()
        self._cycle = 0
        self._received: deque[int] = deque()
        self._received_at: int | None = None
        """Cycle at which the byte that is being received will be there."""
        self._sending: deque[int] = deque()
        self._sent_at: int | None = None
        self._sample_at = 0
        self._pins = [_Pin() for _ in range(PIN_COUNT)]
        self.reset()

    @property
    def cycle(self) -> int:
        """Cycles of the clock since the start."""
        return self._cycle

    @property
    def next_event(self) -> int | None:
        """The next cycle at which something happens."""
        return min(
            at for at in (self._sent_at, self._received_at, self._sample_at) if at is not None
        )

    @property
    def backlog(self) -> int:
        """Bytes fed that the board has not received yet."""
        return len(self._received)

    def run_until(self, cycle: int) -> None:
        """Let happen, in order, what is due until `cycle`."""
        while (event := self.next_event) is not None and event <= cycle:
            self._cycle = max(self._cycle, event)
            if self._sent_at == event:
                self._finish_sending()
            elif self._received_at == event:
                self._finish_receiving()
            else:
                self._sample_at = event + self._firmware.sampling_msec * _CYCLES_PER_MSEC
                self._firmware.sample()
        self._cycle = max(self._cycle, cycle)

    def _finish_sending(self) -> None:
        byte = self._sending.popleft()
        self._sent_at = self._cycle + _BYTE_CYCLES if self._sending else None
        self.bytes_out += 1
        self.on_byte(byte)

    def _finish_receiving(self) -> None:
        byte = self._received.popleft()
        self._received_at = self._cycle + _BYTE_CYCLES if self._received else None
        self._firmware.receive(byte)
        self._firmware.poll()

    def boot(self) -> None:
        """Run until the report of the firmware has been sent."""
        while self._sending:
            self.run_until(self._cycle + _BOOT_CYCLES)

    def feed(self, data: bytes) -> None:
        """Put bytes on the serial line."""
        self.bytes_in += len(data)
        self._received.extend(data)
        if self._received_at is None:
            self._received_at = self._cycle + _BYTE_CYCLES

    def _send(self, data: bytes) -> None:
        self._sending.extend(data)
        if self._sent_at is None:
            self._sent_at = self._cycle + _BYTE_CYCLES

    def reset(self) -> None:
        """Start the firmware anew; wires from outside stay."""
        self._received.clear()
        self._sending.clear()
        self._received_at = self._sent_at = None
        self._firmware = FirmataFirmware(self, self._send)
        self._sample_at = self._cycle + self._firmware.sampling_msec * _CYCLES_PER_MSEC
        self._firmware.start()

    # ------------------------------------------------------------------ wires from outside

    def drive(self, pin: int, level: bool | None, *, weak: bool = False) -> None:
        """Wire a pin to 5 V, to ground or to nothing; weakly, as by a pull-up's resistor."""
        self._pins[pin].wired = level
        self._pins[pin].weak = weak
        self._pins[pin].volts = None
        self._settle(pin)

    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Put a voltage on a pin, or nothing."""
        self._pins[pin].wired = None
        self._pins[pin].volts = volts
        self._settle(pin)

    def read(self, pin: int) -> PinState:
        """Return a pin's state."""
        state = self._pins[pin]
        driven = state.wired is not None or state.volts is not None
        return PinState(state.level(), state.output, driven)

    def _settle(self, pin: int) -> None:
        """Tell of a pin's change, and let the firmware see it."""
        state = self._pins[pin]
        level = state.level()
        if level != state.shown:
            state.shown = level
            self.on_edge(pin, level, self._cycle)
            self._firmware.poll()

    # ------------------------------------------------------------------ what the firmware does

    def set_output(self, pin: int, level: bool) -> None:
        """Drive a pin."""
        state = self._pins[pin]
        state.output, state.value, state.pull_up = True, level, False
        self._tell_output(pin, Output.DRIVES, level)
        self._settle(pin)

    def set_input(self, pin: int, *, pull_up: bool) -> None:
        """Let a pin go."""
        state = self._pins[pin]
        state.output, state.pull_up = False, pull_up
        self._tell_output(pin, Output.PULL_UP if pull_up else Output.NOTHING, pull_up)
        self._settle(pin)

    def _tell_output(self, pin: int, what: Output, level: bool) -> None:
        if self.on_output is not None:
            self.on_output(pin, what, level, self._cycle)

    def level(self, pin: int) -> bool:
        """Read a pin."""
        return self._pins[pin].level()

    def volts(self, pin: int) -> float:
        """Measure a pin; one that is open measures as 0 V."""
        state = self._pins[pin]
        if state.volts is not None:
            return state.volts
        return SUPPLY_VOLT if state.level() and pin >= FIRST_ANALOG else 0.0


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", lambda _arguments: ProtocolBoard()))
