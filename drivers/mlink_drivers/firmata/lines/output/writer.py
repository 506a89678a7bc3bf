"""Writes the values of outputs; counts the messages that a lost board has not, or may not have."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

import msgspec

from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.link.transport import DeviceLostError
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import PINS_PER_PORT, PinMode

INPUTS: Final = (PinMode.INPUT, PinMode.PULLUP, PinMode.ANALOG)
_EXECUTED_NS: Final = 20_000_000
"""A message that has left so long before a sign of life has been executed."""
_TOGETHER_NS: Final = 10_000_000
"""Messages that leave within this time are counted together."""
_MOST_COUNTS: Final = 4096


class LineState(msgspec.Struct):
    """Mode of a line, and the value last written to it (None: none yet)."""

    mode: PinMode
    value: int | None = None
    is_counted: bool = False
    """Whether it is the input of a counter, and sends no readings."""
    servo_pulses_usec: tuple[int, int] | None = None
    """Pulse widths at 0 and at 180 degrees; None for the firmware's own."""

    @property
    def is_input(self) -> bool:
        """Whether the line is read: digital, with or without its pull-up, or analog."""
        return self.mode in INPUTS


class Unproven:
    """Counts the messages since the board's last sign of life: one that dies executes none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: deque[list[int]] = deque()
        """When messages have left at the latest (ns), and how many."""

    def sent(self, left_ns: int, sign_ns: int) -> None:
        """Take a message that leaves at a time; the last sign of life came at another."""
        with self._lock:
            counts = self._counts
            while counts and counts[0][0] + _EXECUTED_NS < sign_ns:
                counts.popleft()
            if counts and (left_ns - counts[-1][0] < _TOGETHER_NS or len(counts) >= _MOST_COUNTS):
                counts[-1][1] += 1
                if len(counts) >= _MOST_COUNTS:
                    counts[-1][0] = left_ns
            else:
                counts.append([left_ns, 1])

    def take(self, sign_ns: int) -> int:
        """Return how many messages a board may not have executed that is lost; forget them."""
        with self._lock:
            found = sum(count for ns, count in self._counts if ns + _EXECUTED_NS >= sign_ns)
            self._counts.clear()
            return found


class LineWriter:
    """Sends values in the message that the board's firmware supports.

    A lost board is not an error here: the session reports it, and `undelivered` counts what was
    not sent. Called in the module's main thread and in the pulse timer's thread.

    Args:
        session: The connection to the board.
    """

    def __init__(self, session: Session) -> None:
        self.undelivered = 0
        """Messages that were not sent because the board was away."""
        self.unproven = Unproven()
        """Messages sent to a board that may have been dead."""
        self.lines: dict[int, LineState] = {}
        """State of each line that has had a command."""
        self._session = session
        self._port_states: dict[int, int] = {}

    @property
    def outputs(self) -> list[int]:
        """The lines that are outputs, in the order of their first commands."""
        return [line for line, state in self.lines.items() if not state.is_input]

    def forget_ports(self) -> None:
        """Forget the values of whole ports: the board has restarted, its outputs are low."""
        self._port_states.clear()

    def write(self, line: int, value: int) -> None:
        """Write a value to an output at once.

        Args:
            line: The output; `lines` has its mode.
            value: 0 or 1 for a digital output; PWM duty, degrees or µs of a servo.
        """
        state = self.lines[line]
        state.value = value
        if state.mode in (PinMode.PWM, PinMode.SERVO):
            self.send(encode.analog(line, value))
        elif self._session.description.writes_single_pins:
            self.send(encode.digital_pin(line, value))
        else:
            self.send(self.port_write(line, value))

    def port_write(self, line: int, value: int) -> bytes:
        """Return the message that writes one line with its whole port; the others keep their value.

        Args:
            line: The line; its port has eight.
            value: 0 or 1; on an input, whether its pull-up is on (firmware before Firmata 2.5).
        """
        port, bit = divmod(line, PINS_PER_PORT)
        state = self._port_states.get(port, 0) & ~(1 << bit) | (value << bit)
        self._port_states[port] = state
        return encode.digital_port(port, state)

    def send(self, data: bytes) -> None:
        """Send encoded messages; count them when the board is away."""
        try:
            self._session.send(data)
        except DeviceLostError:
            self.undelivered += 1  # the session has reported the loss
        else:
            self.note_sent()

    def note_sent(self) -> None:
        """Count a message that was sent."""
        self.unproven.sent(self._session.sent_ns, self._session.signs.last_ns())
