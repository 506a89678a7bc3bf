"""Echo ranging by a pulse out and the width of a pulse in; scripts find it in `mlink.script`."""

from __future__ import annotations

from typing import NamedTuple

from mlink.errors import ModuleError
from mlink.scripting.orders import LAST_LINE, check_port, number, whole
from mlink.scripting.ports import OutputPort
from mlink.types import LineCommand, LineCommandKind, LineModeFlags, LineReading


class Echo(NamedTuple):
    """An echo: master time of the sound's leaving (µs), its way there and back, the distance."""

    time_usec: int
    width_usec: int
    distance_mm: float


class EchoRanging:
    """An ultrasonic sensor with a trigger and an echo line, such as HC-SR04.

    The echo line is high for as long as the sound is on its way, there and back. Works with every
    firmware; with mlink's the chip makes the pulse and measures the echo to some µs (1 mm), with
    others the width has the jitter of the host (`uncertainty_usec` of `fmdata`).

    Args:
        port: Output port of type LineCommand, connected to the board.
        trigger: Line whose pulse starts a measurement.
        echo: Line of the echo.
        sound_m_s: Speed of sound, m/s.

    Raises:
        ModuleError: A value is out of range, or both lines are the same.
    """

    def __init__(
        self, port: OutputPort, *, trigger: int, echo: int, sound_m_s: float = 343.0
    ) -> None:
        check_port(port)
        whole("trigger", trigger, 0, LAST_LINE)
        whole("echo", echo, 0, LAST_LINE)
        if trigger == echo:
            raise ModuleError(
                f"line {echo} cannot be both trigger and echo", remedy="Give two lines."
            )
        self.missed = 0
        """Measurements without an echo before the next was started."""
        self._sound_m_s = number("sound_m_s", sound_m_s, 1, 10_000)
        self._port = port
        self._trigger, self._echo = trigger, echo
        self._waits = False
        self._rose_usec: int | None = None
        flags = LineModeFlags.IS_INPUT
        port.submit(LineCommand(LineCommandKind.SET_MODE, echo, flags=flags))
        flags = LineModeFlags.IS_OUTPUT
        port.submit(LineCommand(LineCommandKind.SET_MODE, trigger, flags=flags))

    def ping(self, width_usec: int = 10) -> LineCommand:
        """Start a measurement; sensors need about 60 ms from one to the next.

        Args:
            width_usec: Length of the pulse, 2 to 100,000 µs.

        Returns:
            The command that was sent.

        Raises:
            ModuleError: The width is out of range.
        """
        whole("width_usec", width_usec, 2, 100_000)
        self.missed += self._waits
        self._waits, self._rose_usec = True, None
        command = LineCommand(
            LineCommandKind.WRITE_DIGITAL_PULSE, self._trigger, duration_usec=width_usec
        )
        self._port.submit(command)
        return command

    def take(self, reading: LineReading) -> Echo | None:
        """Take each reading of the board; return the echo that one completes, else None."""
        if reading.line_id != self._echo or not self._waits:
            return None
        if reading.value:
            self._rose_usec = reading.time_usec
            return None
        if self._rose_usec is None:
            return None  # the first reading of the line, or the end of an earlier echo
        rose, self._rose_usec = self._rose_usec, None
        self._waits = False
        width = reading.time_usec - rose
        return Echo(rose, width, width * self._sound_m_s / 2000)
