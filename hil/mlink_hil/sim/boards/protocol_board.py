"""An Uno without firmware, for computers without the AVR simulator.

It implements StandardFirmata's protocol at the serial line's rate. No processor is simulated, and a
turn of the firmware's loop takes no time.
"""

from __future__ import annotations

from collections import deque

from mlink_hil.sim.boards.board import Board, Output, PinState
from mlink_hil.sim.boards.i2c import I2cBus, I2cEnd
from mlink_hil.sim.boards.protocol_firmata import VERSION, FirmataFirmware
from mlink_hil.uno import CLOCK_HZ, FIRST_ANALOG, PIN_COUNT, SUPPLY_VOLT

_BAUD = 57_600
_BYTE_CYCLES = 10 * CLOCK_HZ // _BAUD
_CYCLES_PER_MSEC = CLOCK_HZ // 1000
_BOOT_CYCLES = CLOCK_HZ // 100


class _Pin:
    """A pin: what the board does with it, and what drives it from outside."""

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
    """An Uno reduced to its pins, its serial line and the Firmata protocol.

    It processes three kinds of events in the order of time: a byte has arrived, a byte has left, a
    sample is due.
    """

    simulator = "protocol"
    firmware = f"StandardFirmata {VERSION[0]}.{VERSION[1]} (protocol only)"

    def __init__(self) -> None:
        super().__init__()
        self._cycle = 0
        self._received: deque[int] = deque()
        self._received_at: int | None = None
        """Cycle at which the byte on the line will have been received."""
        self._sending: deque[int] = deque()
        self._sent_at: int | None = None
        self._sample_at = 0
        self._pins = [_Pin() for _ in range(PIN_COUNT)]
        self._bus = I2cBus()
        self.reset()

    @property
    def cycle(self) -> int:
        """Cycles of the clock since the start; never goes back."""
        return self._cycle

    @property
    def next_event(self) -> int | None:
        """The cycle at which the next byte arrives or leaves, or a sample is due."""
        return min(
            at for at in (self._sent_at, self._received_at, self._sample_at) if at is not None
        )

    @property
    def backlog(self) -> int:
        """Number of bytes fed that the board has not received yet."""
        return len(self._received)

    def run_until(self, cycle: int) -> None:
        """Process, in the order of time, all events up to a cycle."""
        self._process(cycle, halts=False)

    def stand(self, cycle: int, at: int) -> None:
        """Process the events up to `at`, or to an edge; see Board.stand."""
        del cycle  # its events have their times, wherever it stands between them
        self._process(at, halts=True)

    def _process(self, cycle: int, *, halts: bool) -> None:
        while (event := self.next_event) is not None and event <= cycle:
            self._cycle = max(self._cycle, event)
            if self._sent_at == event:
                self._finish_sending()
            elif self._received_at == event:
                self._finish_receiving()
            else:
                self._sample_at = event + self._firmware.sampling_msec * _CYCLES_PER_MSEC
                self._firmware.sample()
            if halts and self.has_halted:
                return
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
        """Run until the boot report has been sent."""
        while self._sending:
            self.run_until(self._cycle + _BOOT_CYCLES)

    def feed(self, data: bytes) -> None:
        """Send bytes to the board at the serial line's rate."""
        self.bytes_in += len(data)
        self._received.extend(data)
        if self._received_at is None:
            self._received_at = self._cycle + _BYTE_CYCLES

    def _send(self, data: bytes) -> None:
        self._sending.extend(data)
        if self._sent_at is None:
            self._sent_at = self._cycle + _BYTE_CYCLES

    def reset(self) -> None:
        """Restart the firmware; what drives its pins from outside stays."""
        self._received.clear()
        self._sending.clear()
        self._received_at = self._sent_at = None
        self._firmware = FirmataFirmware(self, self._send, self._bus)
        self._sample_at = self._cycle + self._firmware.sampling_msec * _CYCLES_PER_MSEC
        self._firmware.start()

    # ------------------------------------------------------------------ pins, from outside

    def drive(self, pin: int, level: bool | None, *, weak: bool = False) -> None:
        """Drive a pin from outside; see Board.drive."""
        self._pins[pin].wired = level
        self._pins[pin].weak = weak
        self._pins[pin].volts = None
        self._settle(pin)

    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Put a voltage on a pin; see Board.set_voltage."""
        self._pins[pin].wired = None
        self._pins[pin].volts = volts
        self._settle(pin)

    def attach_i2c(self, end: I2cEnd) -> None:
        """Connect a device with the I2C bus."""
        self._bus.ends.append(end)

    def read(self, pin: int) -> PinState:
        """Return the state of a pin."""
        state = self._pins[pin]
        driven = state.wired is not None or state.volts is not None
        return PinState(state.level(), state.output, driven)

    def _settle(self, pin: int) -> None:
        """Report a pin's level if it has changed, and let the firmware read it."""
        state = self._pins[pin]
        level = state.level()
        if level != state.shown:
            state.shown = level
            self.on_edge(pin, level, self._cycle)
            self.has_halted |= pin in self.halt_pins
            self._firmware.poll()

    # ------------------------------------------------------------------ pins, from the firmware

    def set_output(self, pin: int, level: bool) -> None:
        """Make a pin an output at a level."""
        state = self._pins[pin]
        state.output, state.value, state.pull_up = True, level, False
        self._report_output(pin, Output.DRIVES, level)
        self._settle(pin)

    def set_input(self, pin: int, *, pull_up: bool) -> None:
        """Make a pin an input, with or without its pull-up."""
        state = self._pins[pin]
        state.output, state.pull_up = False, pull_up
        self._report_output(pin, Output.PULL_UP if pull_up else Output.NOTHING, pull_up)
        self._settle(pin)

    def _report_output(self, pin: int, what: Output, level: bool) -> None:
        if self.on_output is not None:
            self.on_output(pin, what, level, self._cycle)

    def level(self, pin: int) -> bool:
        """Return the level of a pin."""
        return self._pins[pin].level()

    def volts(self, pin: int) -> float:
        """Return the voltage of a pin; 0 V when nothing drives it."""
        state = self._pins[pin]
        if state.volts is not None:
            return state.volts
        return SUPPLY_VOLT if state.level() and pin >= FIRST_ANALOG else 0.0
