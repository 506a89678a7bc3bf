"""From the board to `fmdata`: runs in the session's reader thread, so that nothing waits.

Digital inputs give a reading when set up and on every change; analog inputs each sample, or each
n-th where the bench decimates the line. Where the board has a clock, its times are those of the
edge and of the sample, else those of the message's arrival.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from mlink.clock import Clock
from mlink.errors import DeviceError
from mlink.module import OutputPort
from mlink.types import LineReading
from mlink_drivers.firmata.lines.chip_inputs import ChipInputs
from mlink_drivers.firmata.lines.inputs import DigitalInputs
from mlink_drivers.firmata.wire.protocol import (
    AnalogValue,
    DigitalPort,
    ExtendedAnalog,
    Firmware,
    Message,
    ProtocolVersion,
)


class _AnalogLine:
    """A line that a channel's samples belong to; every `every`-th of them is sent."""

    __slots__ = ("every", "line", "waiting")

    def __init__(self, line: int, every: int) -> None:
        self.line = line
        self.every = every
        self.waiting = 0


class ChipListener(Protocol):
    """Who takes the messages of our firmware's extension."""

    def take(self, message: Message, arrival_ns: int) -> bool:
        """Take a message; False when it is none of the extension's."""
        ...


class Readings:
    """A session's listener that submits readings between `start` and `halt`.

    `on_lost` hears that the line to the board is gone, `on_restarted` that the board booted and
    forgot its lines, `on_other` every message that is no reading; `fail` that a reading could not
    be sent. All are called in the reader thread.
    """

    def __init__(
        self,
        output: OutputPort,
        clock: Clock,
        *,
        fail: Callable[[BaseException], None],
        on_lost: Callable[[DeviceError], None],
        on_restarted: Callable[[], None],
        on_other: Callable[[Message, int], None],
        decimation: Mapping[int, int] | None = None,
    ) -> None:
        self.sent = 0
        self.decimated = 0
        """Analog samples that were left out as the bench asked."""
        self.lost = 0
        """Readings that the board or the line to it lost."""
        self.chip: ChipListener | None = None
        """Hears every message first."""
        self._output = output
        self.clock = clock
        self._fail = fail
        self._on_lost = on_lost
        self._on_restarted = on_restarted
        self._on_other = on_other
        self._decimation = decimation or {}
        self._lock = threading.Lock()
        self._acquiring = False
        self._inputs = DigitalInputs()
        self._chip_inputs = ChipInputs()
        self._analog_lines: dict[int, _AnalogLine] = {}  # by channel

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
        """Begin to submit; the levels of lines that the chip told before come first."""
        with self._lock:
            self._acquiring = True
            time_usec = self.clock.now_usec()
            for line, level in self._chip_inputs.take_kept():
                self._send(line, int(level), time_usec)

    def halt(self) -> None:
        """Submit nothing more once this has returned."""
        with self._lock:
            self._acquiring = False

    def expect_digital(self, line: int) -> None:
        """Take a line as a digital input, live at the next fence (see inputs.py)."""
        with self._lock:
            self._drop_channels(line)
            self._chip_inputs.forget(line)
            self._inputs.expect(line)

    def expect_edges(self, line: int) -> None:
        """Take a line as a digital input that the chip stamps, live when it tells its level."""
        with self._lock:
            self._drop_channels(line)
            self._inputs.forget(line)
            self._chip_inputs.expect(line)

    def expect_analog(self, channel: int, line: int) -> None:
        """Take a channel's samples as those of a line."""
        with self._lock:
            self._inputs.forget(line)
            self._chip_inputs.forget(line)
            self._analog_lines[channel] = _AnalogLine(line, self._decimation.get(line, 1))

    def forget(self, line: int) -> None:
        """Take a line as an input no more."""
        with self._lock:
            self._inputs.forget(line)
            self._chip_inputs.forget(line)
            self._drop_channels(line)

    def forget_all(self) -> None:
        """Start anew with a board that came back."""
        with self._lock:
            self._inputs.forget_all()
            self._chip_inputs.forget_all()
            self._analog_lines.clear()

    def on_message(self, message: Message, arrival_ns: int) -> None:
        """Submit what a message tells of our inputs."""
        if self.chip is not None and self.chip.take(message, arrival_ns):
            return
        with self._lock:
            if isinstance(message, DigitalPort):
                if not self._acquiring:
                    return  # unread, so that the first reading after start() is not missed
                for line, value in self._inputs.changes(message.port, message.mask):
                    self._submit(line, value, arrival_ns)
                return
            if isinstance(message, AnalogValue):
                self._take_sample(message.channel, message.value, arrival_ns)
                return
            if isinstance(message, ExtendedAnalog):  # from the board: a channel above 15
                self._take_sample(message.pin, message.value, arrival_ns)
                return
            if isinstance(message, ProtocolVersion):
                self._inputs.pass_fence()
                return
        if isinstance(message, Firmware):
            self._on_restarted()
        else:
            self._on_other(message, arrival_ns)

    def take_level(self, line: int, level: bool, time_ns: int) -> None:
        """Submit the first reading of a line that the chip watches."""
        with self._lock:
            if self._chip_inputs.answered(line, level, time_ns):
                self._tell(line, level, time_ns)

    def take_edge(self, line: int, level: bool, time_ns: int) -> None:
        """Submit an edge that the chip stamped."""
        with self._lock:
            if self._chip_inputs.is_news(line, level, time_ns):
                self._tell(line, level, time_ns)

    def take_samples(self, samples: Iterable[tuple[int, int, int]]) -> None:
        """Submit samples that the chip timed: channel, value, ns of CLOCK_MONOTONIC."""
        with self._lock:
            for channel, value, time_ns in samples:
                self._take_sample(channel, value, time_ns)

    def note_lost(self, count: int) -> None:
        """Leave a gap in the stream: the board or the line lost so many readings."""
        with self._lock:
            if self._acquiring:
                self.lost += count
                self._output.note_lost(count)

    def on_loss(self, error: DeviceError) -> None:
        """Pass on that the board went away."""
        self._on_lost(error)

    def on_fault(self, error: Exception) -> None:
        """End the run: a reading could not be sent."""
        self._fail(error)

    def _drop_channels(self, line: int) -> None:
        for channel in [c for c, known in self._analog_lines.items() if known.line == line]:
            del self._analog_lines[channel]

    def _take_sample(self, channel: int, value: int, arrival_ns: int) -> None:
        known = self._analog_lines.get(channel)
        if known is None or not self._acquiring:
            return
        if known.waiting:
            known.waiting -= 1
            self.decimated += 1
            return
        known.waiting = known.every - 1
        self._submit(known.line, value, arrival_ns)

    def _tell(self, line: int, level: bool, time_ns: int) -> None:
        if self._acquiring:
            self._submit(line, int(level), time_ns)
        else:
            self._chip_inputs.keep(line, level)

    def _submit(self, line: int, value: int, time_ns: int) -> None:
        self._send(line, value, self.clock.from_monotonic_ns(time_ns))

    def _send(self, line: int, value: int, time_usec: int) -> None:
        self._output.submit(LineReading(line, value, time_usec))
        self.sent += 1
