"""The board's tables: `events`, `replies`, `pulses`, `reflexes`, `counters`, `steppers`.

Rows added before the run starts are kept and sent at `start`. Any thread may add rows.
"""

from __future__ import annotations

import threading

from mlink.clock import Clock
from mlink.module import OutputPort
from mlink_drivers.firmata.chip.pulse_times import PulseTimes
from mlink_drivers.firmata.wire.protocol import (
    I2CReply,
    Message,
    Oversized,
    PinState,
    StringData,
    Sysex,
)

EVENTS_HEADER = ["time_usec", "event", "detail"]
REPLIES_HEADER = ["time_usec", "kind", "source", "register", "data"]
PULSES_HEADER = [
    "line",
    "asked_usec",
    "commanded_usec",
    "start_sent_usec",
    "end_sent_usec",
    "timed_by",
    "first_edge_usec",
    "last_edge_usec",
]
COUNTERS_HEADER = [
    "time_usec",
    "counter",
    "line",
    "position",
    "edges",
    "last_edge_usec",
    "frequency_hz",
    "duty",
    "missed",
]
STEPPERS_HEADER = [
    "time_usec",
    "stepper",
    "event",
    "position",
    "target",
    "speed_hz",
    "uncertainty_usec",
]
REFLEXES_HEADER = ["index", "edge_usec", "action_usec", "trigger", "output"]


class Rows:
    """The rows of one output port, sent between `start` and `close`; times are master µs."""

    def __init__(self, output: OutputPort, clock: Clock, header: list[str]) -> None:
        self._output = output
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[list[str]] | None = []
        self._closed = False
        output.metadata["table_header"] = list(header)

    def start(self) -> None:
        """Send the rows kept so far; later rows are sent at once.

        Without a subscriber all rows are dropped.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, None
            if self._output.connected:  # not known earlier
                for row in waiting or []:
                    self._output.submit(row)

    def close(self) -> None:
        """End the table; nothing is sent once this has returned.

        A row that is being added in another thread is sent before.
        """
        with self._lock:
            self._closed = True

    def add(self, *cells: object) -> None:
        """Send one row; cells are converted with `str`.

        Before `start` the row is kept; after `close` or without a subscriber it is dropped.
        """
        with self._lock:
            if self._closed:
                return
            if self._waiting is not None:
                self._waiting.append([str(cell) for cell in cells])
            elif self._output.connected:
                self._output.submit([str(cell) for cell in cells])

    def lose(self) -> None:
        """Leave a gap in the place of a row that cannot be made."""
        with self._lock:
            if not self._closed and self._waiting is None:
                self._output.note_lost(1)

    def now_usec(self) -> int:
        """Return the master time in µs."""
        return self._clock.now_usec()

    def time_usec(self, monotonic_ns: int) -> int:
        """Convert ns of CLOCK_MONOTONIC to master time in µs."""
        return self._clock.from_monotonic_ns(monotonic_ns)


class EventRows(Rows):
    """The table `events`: what happened to the board.

    Columns: master time in µs, event, detail.
    """

    def __init__(self, output: OutputPort, clock: Clock) -> None:
        super().__init__(output, clock, EVENTS_HEADER)

    def note(self, event: str, detail: str = "") -> None:
        """Add an event with the present time.

        `event` is a keyword such as `connected` or `lost`, `detail` a text for people.
        """
        self.add(self.now_usec(), event, detail)


class ReplyRows(Rows):
    """The table `replies`: answers to DEVICE_SPECIFIC commands and texts, by arrival time.

    Columns: arrival in master µs, kind, source, register, data (hexadecimal).
    """

    def __init__(self, output: OutputPort, clock: Clock) -> None:
        super().__init__(output, clock, REPLIES_HEADER)

    def take(self, message: Message, arrival_ns: int) -> bool:
        """Add a row for a message that is an answer or a text; return False for others."""
        at = self.time_usec(arrival_ns)
        if isinstance(message, I2CReply):
            fault = "" if message.data else "no device answers"
            self.add_i2c(at, message.address, message.register, message.data, fault)
        elif isinstance(message, Sysex):
            self.add(at, "sysex", message.id, "", message.data.hex(" "))
        elif isinstance(message, PinState):
            self.add(at, "pin-state", message.pin, message.mode, message.value)
        elif isinstance(message, StringData):
            self.add(at, "string", "", "", message.text)
        else:
            if isinstance(message, Oversized):
                self.lose()
            return False
        return True

    def add_i2c(self, time_usec: int, address: int, register: int, data: bytes, fault: str) -> None:
        """Add a row for what an I2C device has sent, or for a fault, which is in words."""
        kind, shown = ("i2c-error", fault) if fault else ("i2c", data.hex(" "))
        self.add(time_usec, kind, address, register, shown)


class PulseRows(Rows):
    """The table `pulses`: when each pulse was commanded, sent, and made by the chip.

    Times are master µs. `timed_by` is `host` or `chip`; only the chip knows the times of edges.
    """

    def __init__(self, output: OutputPort, clock: Clock) -> None:
        super().__init__(output, clock, PULSES_HEADER)

    def take(self, pulse: PulseTimes) -> None:
        """Add a row for a pulse; times that are not known are empty cells."""
        commanded, started = map(self.time_usec, (pulse.commanded_ns, pulse.start_sent_ns))
        ended, first, last = (
            self.time_usec(time_ns) if time_ns else ""
            for time_ns in (pulse.end_sent_ns, pulse.first_edge_ns, pulse.last_edge_ns)
        )
        self.add(
            pulse.line, pulse.asked_usec, commanded, started, ended, pulse.timed_by, first, last
        )


class ReflexRows(Rows):
    """The table `reflexes`: the edge that triggered a reflex, and its action.

    Times are master µs, from the clock of the board.
    """

    def __init__(self, output: OutputPort, clock: Clock) -> None:
        super().__init__(output, clock, REFLEXES_HEADER)

    def take(self, index: int, edge_ns: int, action_ns: int, lines: tuple[int, int] | None) -> None:
        """Add a row for a reflex that has acted.

        Args:
            index: Number of the reflex.
            edge_ns: Time of the edge (ns of CLOCK_MONOTONIC).
            action_ns: Time of the action.
            lines: Trigger and output; None when the reflex is not known.
        """
        trigger, output = lines if lines is not None else ("", "")
        self.add(index, self.time_usec(edge_ns), self.time_usec(action_ns), trigger, output)
