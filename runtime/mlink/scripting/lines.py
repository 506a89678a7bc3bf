"""Handles of hardware lines: short ways to write the line commands of one pin."""

from __future__ import annotations

from mlink.scripting.errors import SyntalosPyError
from mlink.scripting.ports import OutputPort
from mlink.types import LineCommand, LineCommandKind, LineModeFlags


class HwOutputLine:
    """An output line of a board, reached through an output port of LineCommand.

    Making one sends nothing. Call `send_mode()` at the start of every run: devices forget their
    pins between runs.
    """

    def __init__(self, port: OutputPort, line_id: int, analog: bool = False) -> None:
        self._port = port
        self._line_id = line_id
        self._analog = analog

    @property
    def line_id(self) -> int:
        """The line's number on its board."""
        return self._line_id

    def send_mode(self) -> LineCommand:
        """Make the line an output; return the command that was sent."""
        return self._submit(LineCommandKind.SET_MODE, flags=LineModeFlags.IS_OUTPUT)

    def set_value(self, value: int) -> LineCommand:
        """Switch the line: any value but 0 is high."""
        self._require(analog=False)
        return self._submit(LineCommandKind.WRITE_DIGITAL, value=int(value))

    def pulse(self, duration_usec: int = 2500) -> LineCommand:
        """Switch the line high for `duration_usec` microseconds."""
        self._require(analog=False)
        return self._submit(
            LineCommandKind.WRITE_DIGITAL_PULSE, value=1, duration_usec=int(duration_usec)
        )

    def pulse_msec(self, duration_msec: int = 50) -> LineCommand:
        """Switch the line high for `duration_msec` milliseconds."""
        return self.pulse(round(duration_msec * 1000))

    def set_analog_value(self, value: int) -> LineCommand:
        """Write an analog (PWM) value in the line's own scale."""
        self._require(analog=True)
        return self._submit(LineCommandKind.WRITE_ANALOG, value=int(value))

    def _require(self, *, analog: bool) -> None:
        if self._analog != analog:
            kind = "an analog" if self._analog else "a digital"
            raise SyntalosPyError(f"line {self._line_id} is {kind} line")

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


class HwInputLine:
    """An input line of a board, set up through an output port of LineCommand."""

    def __init__(self, port: OutputPort, line_id: int, pullup: bool = False) -> None:
        self._port = port
        self._line_id = line_id
        self._pullup = pullup

    @property
    def line_id(self) -> int:
        """The line's number on its board."""
        return self._line_id

    def send_mode(self) -> LineCommand:
        """Make the line an input, with its pull-up when asked; return the command sent."""
        flags = LineModeFlags.IS_INPUT
        if self._pullup:
            flags |= LineModeFlags.PULL_UP
        command = LineCommand(LineCommandKind.SET_MODE, self._line_id, flags=flags)
        self._port.submit(command)
        return command
