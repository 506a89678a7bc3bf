"""Handles of hardware lines: methods that send the line commands of one pin.

They hold no state of the device; each method sends one LineCommand through the output port.
"""

from __future__ import annotations

import logging
import operator

import msgspec

from mlink.scripting.errors import SyntalosPyError
from mlink.scripting.legacy import DEFAULT_PULSE_MSEC
from mlink.scripting.ports import OutputPort
from mlink.types import LineCommand, LineCommandKind, LineModeFlags

_LONGEST_MSEC = 4000


class HwOutputLine:
    """An output line of a board.

    Creating one sends nothing. Call `send_mode()` at the start of every run: devices reset their
    pins between runs. Methods return the command that was sent.

    Args:
        port: Output port of type LineCommand, connected to the board.
        line_id: Number of the line, 0 to 65535; on Firmata boards the pin.
        analog: Whether the line is written with `set_analog_value` (PWM) instead of `set_value`.

    Raises:
        SyntalosPyError: `port` is no output port, or `line_id` is out of range.
    """

    def __init__(self, port: OutputPort, line_id: int, analog: bool = False) -> None:
        self._port = _checked_port("HwOutputLine", port)
        self._line_id = _checked_line("HwOutputLine", line_id)
        self._analog = analog
        port._note_handle(self._line_id)

    @property
    def line_id(self) -> int:
        """The line's number on its board."""
        return self._line_id

    def send_mode(self) -> LineCommand:
        """Make the line an output."""
        return self._submit(LineCommandKind.SET_MODE, flags=LineModeFlags.IS_OUTPUT)

    def set_value(self, value: object) -> LineCommand:
        """Set the line high or low.

        Args:
            value: Its truth counts: 0, False and None are low, anything else is high.

        Raises:
            SyntalosPyError: The line is an analog one.
        """
        if self._analog:
            raise self._other_kind()
        return self._submit(LineCommandKind.WRITE_DIGITAL, value=int(bool(value)))

    def pulse(self, duration_usec: int = 2500) -> LineCommand:
        """Set the line high for a time, then low; returns at once.

        Args:
            duration_usec: Length of the pulse in µs.

        Raises:
            SyntalosPyError: The line is an analog one.
        """
        if self._analog:
            raise self._other_kind()
        return self._submit(
            LineCommandKind.WRITE_DIGITAL_PULSE, value=1, duration_usec=int(duration_usec)
        )

    def pulse_msec(self, duration_msec: int = 50) -> LineCommand:
        """Set the line high for a time, then low, as `pulse` does.

        Args:
            duration_msec: Length of the pulse in ms; may be a fraction.
        """
        return self.pulse(round(duration_msec * 1000))

    def set_analog_value(self, value: int) -> LineCommand:
        """Write an analog (PWM) value.

        Args:
            value: In the scale of the line: 0 to 255 on an Uno.

        Raises:
            SyntalosPyError: The line is a digital one.
        """
        if not self._analog:
            raise self._other_kind()
        return self._submit(LineCommandKind.WRITE_ANALOG, value=int(value))

    def _other_kind(self) -> SyntalosPyError:
        """Return the error of a call for the other kind of line."""
        return SyntalosPyError(
            f"line {self._line_id} is an analog line: use set_analog_value(), or make the "
            "HwOutputLine without analog=True"
            if self._analog
            else f"line {self._line_id} is a digital line: use set_value() or pulse(), or "
            "make the HwOutputLine with analog=True"
        )

    def _submit(
        self,
        kind: LineCommandKind,
        *,
        value: int = 0,
        duration_usec: int = 0,
        flags: LineModeFlags = LineModeFlags.NONE,
    ) -> LineCommand:
        command = LineCommand(kind, self._line_id, value, duration_usec, flags)
        self._port.submit(command)
        return command


class PulseLengths:
    """What a script's pulses become whose length Syntalos changes.

    Syntalos cuts lengths to whole ms; what is 0 then becomes 50 ms, and 4 s is the longest. Here a
    pulse has the length in the command, with a warning for the first one below 1 ms, unless
    `[bench] compat = "syntalos"`.

    Args:
        as_syntalos: Whether to do as Syntalos does.
        log: Log of the script's module.
    """

    def __init__(self, log: logging.Logger, *, as_syntalos: bool) -> None:
        self._log = log
        self._as_syntalos = as_syntalos
        self._warned = False

    def fit(self, command: LineCommand) -> LineCommand:
        """Return a digital pulse as it is to be sent; one that is changed is a copy."""
        usec = command.duration_usec
        if self._as_syntalos:
            length_usec = min(usec // 1000 or DEFAULT_PULSE_MSEC, _LONGEST_MSEC) * 1000
            return msgspec.structs.replace(command, duration_usec=length_usec)
        if 0 < usec < 1000 and not self._warned:
            self._warned = True
            self._log.warning(
                "line %d: this pulse lasts %d µs; Syntalos makes one below 1 ms last %d ms. If "
                'milliseconds are meant, use pulse_msec(); `[bench] compat = "syntalos"` does as '
                "Syntalos does",
                command.line_id,
                usec,
                DEFAULT_PULSE_MSEC,
            )
        return command


class HwInputLine:
    """An input line of a board; its readings arrive at an input port of type LineReading.

    Args:
        port: Output port of type LineCommand, connected to the board.
        line_id: Number of the line, 0 to 65535; on Firmata boards the pin.
        pullup: Whether to switch the line's pull-up resistor on.

    Raises:
        SyntalosPyError: `port` is no output port, or `line_id` is out of range.
    """

    def __init__(self, port: OutputPort, line_id: int, pullup: bool = False) -> None:
        self._port = _checked_port("HwInputLine", port)
        self._line_id = _checked_line("HwInputLine", line_id)
        self._pullup = pullup
        port._note_handle(self._line_id)

    @property
    def line_id(self) -> int:
        """The line's number on its board."""
        return self._line_id

    def send_mode(self) -> LineCommand:
        """Make the line an input, with its pull-up if asked; return the command that was sent.

        Its readings arrive on the board's stream of readings from then on.
        """
        flags = LineModeFlags.IS_INPUT
        if self._pullup:
            flags |= LineModeFlags.PULL_UP
        command = LineCommand(LineCommandKind.SET_MODE, self._line_id, flags=flags)
        self._port.submit(command)
        return command


def _checked_port(what: str, port: object) -> OutputPort:
    if isinstance(port, OutputPort):
        return port
    raise SyntalosPyError(
        f"{what} needs an output port of type LineCommand, not {type(port).__name__}; "
        "get_output_port() returns None for an id that the bench does not declare"
    )


def _checked_line(what: str, line_id: object) -> int:
    try:
        number = operator.index(line_id)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        number = -1
    if not 0 <= number <= 0xFFFF:
        raise SyntalosPyError(f"{what}: line_id must be 0..65535, not {line_id!r}")
    return number
