"""From the board to `fmdata`: runs in the session's reader thread, so that nothing waits.

Digital inputs give a reading when set up and on every change; analog inputs each sample.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from mlink.clock import Clock
from mlink.errors import DeviceError
from mlink.module import OutputPort
from mlink.types import LineReading
from mlink_drivers.firmata.inputs import DigitalInputs
from mlink_drivers.firmata.protocol import (
    AnalogValue,
    DigitalPort,
    Firmware,
    Message,
    ProtocolVersion,
)


class Readings:
    """A session's listener that submits readings between `start` and `halt`."""

    def __init__(
        self,
        output: OutputPort,
        clock: Clock,
        *,
        device: str,
        fail: Callable[[BaseException], None],
    ) -> None:
        self.sent = 0
        self._output = output
        self._clock = clock
        self._device = device
        self._fail = fail
        self._lock = threading.Lock()
        self._acquiring = False
        self._inputs = DigitalInputs()
        self._analog_lines: dict[int, int] = {}  # channel → line

    @property
    def ports(self) -> list[int]:
        """Digital ports that report."""
        with self._lock:
            return self._inputs.ports

    @property
    def channels(self) -> list[int]:
        """Analog channels that report."""
        with self._lock:
            return sorted(self._analog_lines)

    def start(self) -> None:
        """Begin to submit."""
        with self._lock:
            self._acquiring = True

    def halt(self) -> None:
        """Submit nothing more once this has returned."""
        with self._lock:
            self._acquiring = False

    def expect_digital(self, line: int) -> None:
        """Take a line as a digital input, live at the next fence (see inputs.py)."""
        with self._lock:
            self._inputs.expect(line)

    def expect_analog(self, channel: int, line: int) -> None:
        """Take a channel's samples as those of a line."""
        with self._lock:
            self._analog_lines[channel] = line

    def forget(self, line: int) -> None:
        """Take a line as an input no more."""
        with self._lock:
            self._inputs.forget(line)
            for channel in [c for c, known in self._analog_lines.items() if known == line]:
                del self._analog_lines[channel]

    def on_message(self, message: Message, arrival_ns: int) -> None:
        """Submit what a message tells of our inputs."""
        with self._lock:
            if isinstance(message, DigitalPort):
                if not self._acquiring:
                    return  # unread, so that the first reading after start() is not missed
                for line, value in self._inputs.changes(message.port, message.mask):
                    self._submit(line, value, arrival_ns)
            elif isinstance(message, AnalogValue):
                line_of_channel = self._analog_lines.get(message.channel)
                if line_of_channel is not None and self._acquiring:
                    self._submit(line_of_channel, message.value, arrival_ns)
            elif isinstance(message, ProtocolVersion):
                self._inputs.pass_fence()
        if isinstance(message, Firmware):
            self._fail(
                DeviceError(
                    f"the board {self._device} restarted during the run and forgot its lines",
                    remedy="Check its power supply and its reset line, then start again.",
                )
            )

    def on_loss(self, error: DeviceError) -> None:
        """End the run: the board went away."""
        lost = DeviceError(f"board {self._device} lost: {error.message}", remedy=error.remedy)
        lost.__cause__ = error
        self._fail(lost)

    def on_fault(self, error: Exception) -> None:
        """End the run: a reading could not be sent."""
        self._fail(error)

    def _submit(self, line: int, value: int, arrival_ns: int) -> None:
        self._output.submit(LineReading(line, value, self._clock.from_monotonic_ns(arrival_ns)))
        self.sent += 1
