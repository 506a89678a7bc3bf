"""From `fmctl` to the board: each command is checked against what the pin can do, then sent."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import Final

from mlink.errors import DeviceError
from mlink.types import LineCommand, LineCommandKind, LineModeFlags
from mlink_drivers.firmata import encode
from mlink_drivers.firmata.board import Board
from mlink_drivers.firmata.protocol import PINS_PER_PORT, SINGLE_PIN_WRITE_SINCE, PinMode
from mlink_drivers.firmata.pulses import PulseTimer
from mlink_drivers.firmata.readings import Readings

DEFAULT_PULSE_USEC: Final = 50_000
"""A pulse of duration 0, as Syntalos does it."""

_DEFAULT_PWM_BITS: Final = 8
_MAX_SERVO_VALUE: Final = (1 << 14) - 1
"""Degrees up to 180, above 543 the pulse width in µs (Arduino's Servo library)."""


class LineUse(enum.Enum):
    """What a line is set up as."""

    INPUT = PinMode.INPUT
    PULLUP = PinMode.PULLUP
    ANALOG_INPUT = PinMode.ANALOG
    OUTPUT = PinMode.OUTPUT
    PWM = PinMode.PWM
    SERVO = PinMode.SERVO


_INPUTS: Final = (LineUse.INPUT, LineUse.PULLUP, LineUse.ANALOG_INPUT)


class LineCommands:
    """Executes line commands on a board; remembers what each line is set up as.

    Called in the module's main thread; the pulse timer's thread only writes.
    """

    def __init__(
        self,
        board: Board,
        readings: Readings,
        *,
        on_error: Callable[[Exception], None],
        analog_lines: Collection[int] = (),
        servo_lines: Collection[int] = (),
    ) -> None:
        self.executed = 0
        self._board = board
        self._readings = readings
        self._analog_lines = analog_lines
        self._servo_lines = servo_lines
        self._uses: dict[int, LineUse] = {}
        self._port_states: dict[int, int] = {}
        self.pulses = PulseTimer(self._write, on_error=on_error, name=board.name)

    def execute(self, command: LineCommand) -> None:
        """Send what a command asks for; DeviceError when its pin cannot do it."""
        line, kind = command.line_id, command.kind
        if kind is LineCommandKind.SET_MODE:
            self._set_mode(line, command.flags)
        elif kind is LineCommandKind.WRITE_DIGITAL:
            self._make_output(line, LineUse.OUTPUT)
            self.pulses.write(line, int(command.value != 0))
        elif kind is LineCommandKind.WRITE_DIGITAL_PULSE:
            self._make_output(line, LineUse.OUTPUT)
            self.pulses.pulse(line, 1, _duration_usec(command))
        elif kind is LineCommandKind.WRITE_ANALOG:
            self._check_value(line, self._make_analog_output(line), command.value)
            self.pulses.write(line, command.value)
        elif kind is LineCommandKind.WRITE_ANALOG_PULSE:
            self._check_value(line, self._make_analog_output(line), command.value)
            self.pulses.pulse(line, command.value, _duration_usec(command))
        else:
            raise DeviceError(
                f"board {self._board.description} does not know the command {kind.name}",
                remedy="Send SET_MODE, WRITE_DIGITAL, WRITE_ANALOG or a pulse of these.",
            )
        self.executed += 1

    # -- modes ---------------------------------------------------------------------------------

    def _set_mode(self, line: int, flags: LineModeFlags) -> None:
        if LineModeFlags.IS_OUTPUT in flags:
            if line in self._servo_lines:
                self._apply_use(line, LineUse.SERVO)
                return
            self._apply_use(line, LineUse.OUTPUT)
            self.pulses.write(line, 0)
        elif line in self._analog_lines:
            self._set_analog_input(line)
        else:
            self._set_input(line, pull_up=LineModeFlags.PULL_UP in flags)

    def _set_input(self, line: int, *, pull_up: bool) -> None:
        use = LineUse.PULLUP if pull_up else LineUse.INPUT
        self._require(line, use)
        self._uses[line] = use
        self._readings.expect_digital(line)
        self._board.send(
            encode.pin_mode(line, use.value)
            + encode.protocol_version_query()  # the fence that inputs.py waits for
            + encode.report_digital(line // PINS_PER_PORT, True)
        )

    def _set_analog_input(self, line: int) -> None:
        self._require(line, LineUse.ANALOG_INPUT)
        channel = self._board.pin_layout.channel_of(line)
        if channel is None:
            raise self._unable(line, LineUse.ANALOG_INPUT)
        self._uses[line] = LineUse.ANALOG_INPUT
        self._readings.expect_analog(channel, line)
        self._board.send(
            encode.pin_mode(line, PinMode.ANALOG) + encode.report_analog(channel, True)
        )

    def _make_analog_output(self, line: int) -> LineUse:
        use = LineUse.SERVO if line in self._servo_lines else LineUse.PWM
        self._make_output(line, use)
        return use

    def _make_output(self, line: int, use: LineUse) -> None:
        """Set the mode if it is another; a line that was set up as an input stays one."""
        present = self._uses.get(line)
        if present is use:
            return
        if present in _INPUTS:
            raise DeviceError(
                f"line {line} of {self._board.description} is set up as an input"
                " and cannot be written to",
                remedy="Send SET_MODE with IS_OUTPUT first, or use another line.",
            )
        self._apply_use(line, use)

    def _apply_use(self, line: int, use: LineUse) -> None:
        self._require(line, use)
        self._readings.forget(line)
        self._uses[line] = use
        self._board.send(encode.pin_mode(line, use.value))

    # -- checks --------------------------------------------------------------------------------

    def _require(self, line: int, use: LineUse) -> None:
        if not self._board.pin_layout.supports(line, use.value):
            raise self._unable(line, use)

    def _unable(self, line: int, use: LineUse) -> DeviceError:
        wish = use.name.replace("_", " ").lower()
        return DeviceError(
            f"line {line} of {self._board.description} cannot be used as {wish}",
            remedy=f"Use another line; {self._board.pin_layout.describe(line)}.",
        )

    def _check_value(self, line: int, use: LineUse, value: int) -> None:
        layout = self._board.pin_layout
        if use is LineUse.SERVO:
            largest = _MAX_SERVO_VALUE
        else:
            largest = (1 << layout.resolution(line, PinMode.PWM, _DEFAULT_PWM_BITS)) - 1
        if not 0 <= value <= largest:
            raise DeviceError(
                f"value {value} is too large for line {line} of {self._board.description}",
                remedy=f"Send 0 to {largest}.",
            )

    # -- writing (also in the pulse timer's thread) ----------------------------------------------

    def _write(self, line: int, value: int) -> None:
        if self._uses.get(line) in (LineUse.PWM, LineUse.SERVO):
            self._board.send(encode.analog(line, value))
        elif self._board.firmata_version >= SINGLE_PIN_WRITE_SINCE:
            self._board.send(encode.digital_pin(line, value))
        else:
            port, bit = divmod(line, PINS_PER_PORT)
            state = self._port_states.get(port, 0) & ~(1 << bit) | (value << bit)
            self._port_states[port] = state
            self._board.send(encode.digital_port(port, state))


def _duration_usec(command: LineCommand) -> int:
    return command.duration_usec if command.duration_usec > 0 else DEFAULT_PULSE_USEC
