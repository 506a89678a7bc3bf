"""Converts the board's messages to readings on `fmdata`, in the session's reader thread.

A digital input has a reading when it is set up and one per change. An analog input has one per
sample, or per n-th sample where the bench decimates the line. Readings carry the time of the edge
or sample where the board has a clock, else the arrival time of the message.
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
from mlink_drivers.firmata.lines.host_counters import HostCounters
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
    """The line of an analog channel; each `every`-th sample is sent."""

    __slots__ = ("doubted", "every", "line", "waiting")

    def __init__(self, line: int, every: int) -> None:
        self.line = line
        self.every = every
        self.waiting = 0
        self.doubted = False
        """Whether the last sample was beyond the range of the channel."""


class ChipListener(Protocol):
    """Handles the messages of mlink's firmware."""

    def take(self, message: Message, arrival_ns: int) -> bool:
        """Handle a message; return False when it is not of the extension."""


class Readings:
    """A session's listener that submits readings between `start` and `halt`.

    All callbacks are called in the reader thread.

    Args:
        output: The port for readings.
        clock: The run's clock.
        fail: Called with the exception when a reading could not be sent.
        on_lost: Called when the board is lost.
        on_restarted: Called when the board has restarted and so lost its modes and values, with
            the arrival of its first message (ns of CLOCK_MONOTONIC).
        on_other: Called with each other message and its arrival (ns of CLOCK_MONOTONIC).
        decimation: Line → n: of its analog samples only each n-th is sent.
    """

    def __init__(
        self,
        output: OutputPort,
        clock: Clock,
        *,
        fail: Callable[[BaseException], None],
        on_lost: Callable[[DeviceError], None],
        on_restarted: Callable[[int], None],
        on_other: Callable[[Message, int], None],
        decimation: Mapping[int, int] | None = None,
    ) -> None:
        self.sent = 0
        self.decimated = 0
        """Analog samples that were left out because of `decimation`."""
        self.samples = 0
        """Analog samples of lines in use that have arrived, also before `start`."""
        self.checked = 0
        """How many of `sent` came in messages with a check value."""
        self.is_checked = False
        """Whether the chip's messages have check values."""
        self.ask_port: Callable[[int], None] = lambda _port: None
        """Called to query the levels of a digital port, which confirms a change."""
        self.lost = 0
        """Readings lost by the board or on the line to it."""
        self.chip: ChipListener | None = None
        """Receives every message first."""
        self.host_counters: HostCounters | None = None
        """Takes the changes of lines that the host counts."""
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
        self._is_strict = False
        self._ranges: Mapping[int, int] = {}
        self._known_channels: set[int] = set()
        """Channels that may send: those that were analog lines."""
        self._impossible = 0

    @property
    def ports(self) -> list[int]:
        """Digital ports whose reports are on."""
        with self._lock:
            return self._inputs.ports

    @property
    def channels(self) -> list[int]:
        """Analog channels whose samples are on."""
        with self._lock:
            return sorted(self._analog_lines)

    def start(self) -> None:
        """Begin to submit; levels that the chip has reported before are sent first.

        The levels kept from before have the time of the start.
        """
        with self._lock:
            self._acquiring = True
            time_usec = self.clock.now_usec()
            for line, level in self._chip_inputs.take_kept():
                self._send(line, int(level), time_usec)
                self.checked += self.is_checked

    def halt(self) -> None:
        """Stop submitting; nothing is submitted once this has returned.

        Called from another thread than the reader; it waits for a reading that is being submitted.
        """
        with self._lock:
            self._acquiring = False

    def expect_digital(self, line: int) -> None:
        """Make a line a digital input covered by port reports, active after the next fence.

        The caller sends the fence; see inputs.py.
        """
        with self._lock:
            self._drop_channels(line)
            self._chip_inputs.forget(line)
            self._inputs.expect(line)

    def expect_edges(self, line: int) -> None:
        """Make a line a digital input with edges from the chip, active after its first level.

        The caller sends the order to report edges; see chip_inputs.py.
        """
        with self._lock:
            self._drop_channels(line)
            self._inputs.forget(line, is_input=True)
            self._chip_inputs.expect(line)

    def expect_analog(self, channel: int, line: int) -> None:
        """Make a line an analog input with the samples of a channel.

        With decimation the first sample is sent, then each n-th.
        """
        with self._lock:
            self._inputs.forget(line)
            self._chip_inputs.forget(line)
            self._analog_lines[channel] = _AnalogLine(line, self._decimation.get(line, 1))
            self._known_channels.add(channel)

    def forget(self, line: int, *, is_input: bool = False) -> None:
        """Ignore a line from now on; `is_input` if it is one all the same, that of a counter."""
        with self._lock:
            self._inputs.forget(line, is_input=is_input)
            self._chip_inputs.forget(line)
            self._drop_channels(line)

    def query_ports(self, *, suspicious: bool) -> list[int]:
        """Return the digital ports whose states to query; see inputs.py."""
        with self._lock:
            return self._inputs.query(suspicious=suspicious)

    def expect_firmata(self, is_firmata: bool, ranges: Mapping[int, int]) -> None:
        """Learn what the board that was connected can send; the rest was changed on the line.

        Args:
            is_firmata: Whether it reports only levels of inputs, and samples that were asked for.
            ranges: Channel → its highest sample.
        """
        with self._lock:
            self._inputs.is_strict = self._is_strict = is_firmata
            self._ranges = ranges

    def take_contradictions(self) -> tuple[int, set[int]]:
        """Return how many port reports have contradicted the one before, and lines with such edges.

        They are forgotten then.
        """
        with self._lock:
            found = self._inputs.contradictions, self._chip_inputs.contradicted
            self._inputs.contradictions, self._chip_inputs.contradicted = 0, set()
            return found

    def take_impossible(self) -> tuple[int, int]:
        """Return how many port reports and samples cannot be, and were not used; forget them."""
        with self._lock:
            found = self._inputs.impossible, self._impossible
            self._inputs.impossible = self._impossible = 0
            return found

    def expect_noise(self, is_noisy: bool) -> None:
        """Learn whether bytes change on the line: then changes of levels are confirmed first."""
        with self._lock:
            self._inputs.is_noisy = is_noisy

    def ask_again(self) -> None:
        """Ask again for changes that are not confirmed; submit those without an answer for long."""
        with self._lock:
            for line, value, time_ns in self._inputs.ask_again():
                if self._acquiring:
                    self._submit_counted([(line, value)], time_ns)
            ports = self._inputs.take_to_ask()
        for port in ports:
            self.ask_port(port)

    @property
    def unconfirmed(self) -> int:
        """Changes of levels that the next report has not confirmed, while bytes changed."""
        return self._inputs.unconfirmed

    def pass_lost_fences(self, now_ns: int, patience_ns: int) -> bool:
        """Pass the fences whose answers were lost; see inputs.py."""
        with self._lock:
            return self._inputs.pass_lost(now_ns, patience_ns)

    def overdue_lines(self, now_ns: int, patience_ns: int) -> tuple[dict[int, int], int]:
        """Return the lines whose first level was lost, and edges before late ones."""
        with self._lock:
            missed, self._chip_inputs.missed = self._chip_inputs.missed, 0
            return self._chip_inputs.overdue(now_ns, patience_ns), missed

    def correct_levels(self, before_ns: int) -> list[tuple[int, bool]]:
        """Submit the levels that were queried and differ from the last readings.

        Args:
            before_ns: Answers of the chip with later times wait (ns of CLOCK_MONOTONIC).

        Returns:
            Lines and levels, with those that port reports have corrected since the last call.
        """
        with self._lock:
            found, self._inputs.corrected = self._inputs.corrected, []
            for line, level, time_ns in self._chip_inputs.corrections(before_ns):
                self._submit_or_keep(line, level, time_ns)
                self.checked += self.is_checked and self._acquiring
                found.append((line, level))
            return found

    def query_sign(self, repeat: bool) -> bool:
        """Return whether to send a version query for a sign of life; see inputs.py."""
        with self._lock:
            return self._inputs.query_sign(repeat)

    def forget_all(self) -> None:
        """Forget all inputs: the board has restarted.

        Modes and reports have to be sent again afterwards.
        """
        with self._lock:
            self._inputs.forget_all()
            self._chip_inputs.forget_all()
            self._analog_lines.clear()

    def on_message(self, message: Message, arrival_ns: int) -> None:
        """Submit the readings of a message, or pass it to the callback for its kind.

        A Firmware message during a run means that the board has restarted.
        """
        if self.chip is not None and self.chip.take(message, arrival_ns):
            return
        if isinstance(message, DigitalPort):
            self._take_report(message, arrival_ns)
            return
        with self._lock:
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
            self._on_restarted(arrival_ns)
        else:
            self._on_other(message, arrival_ns)

    def take_level(self, line: int, level: bool, time_ns: int) -> None:
        """Submit the first reading of a line with edges from the chip.

        `time_ns` is ns of CLOCK_MONOTONIC. Before `start` the level is kept and sent then.
        """
        with self._lock:
            if self._chip_inputs.answered(line, level, time_ns):
                self._submit_or_keep(line, level, time_ns)
                self.checked += self.is_checked and self._acquiring

    def take_edge(self, line: int, level: bool, time_ns: int) -> None:
        """Submit an edge from the chip.

        `time_ns` is ns of CLOCK_MONOTONIC. Before `start` only the last level is kept.
        """
        with self._lock:
            if self._chip_inputs.is_news(line, level, time_ns):
                self._submit_or_keep(line, level, time_ns)
                self.checked += self.is_checked and self._acquiring

    def take_samples(self, samples: Iterable[tuple[int, int, int]]) -> None:
        """Submit samples from the chip as (channel, value, ns of CLOCK_MONOTONIC)."""
        with self._lock:
            before = self.sent
            for channel, value, time_ns in samples:
                self._take_sample(channel, value, time_ns)
            self.checked += self.is_checked and self.sent - before

    def note_lost(self, count: int) -> None:
        """Leave a gap in the stream for readings lost by the board or the line.

        Losses before `start` and after `halt` do not count.
        """
        with self._lock:
            if self._acquiring:
                self._note_lost(count)

    def note_away(self, duration_ns: int, interval_msec: int) -> None:
        """Leave a gap for the readings of a time in which the board was away; one at least.

        Args:
            duration_ns: How long it was away, since the last such call.
            interval_msec: Interval of analog samples.
        """
        with self._lock:
            scans = duration_ns / 1e6 / interval_msec
            samples = sum(scans / line.every for line in self._analog_lines.values())
            if self._acquiring and (
                samples or self._inputs.ports or not self._chip_inputs.is_empty
            ):
                self._note_lost(max(1, round(samples)))

    def on_loss(self, error: DeviceError) -> None:
        """Pass on the loss of the board."""
        self._on_lost(error)

    def on_fault(self, error: Exception) -> None:
        """Fail the run: a reading could not be sent."""
        self._fail(error)

    def _take_report(self, report: DigitalPort, arrival_ns: int) -> None:
        with self._lock:
            if not self._acquiring:
                return  # not evaluated, so that the first report after start() has a reading
            changes = self._inputs.changes(report.port, report.mask, arrival_ns)
            self._submit_counted(changes, self._inputs.time_ns)
            ports = self._inputs.take_to_ask()
        for port in ports:  # without the lock: the loss of the board may be found here
            self.ask_port(port)

    def _submit_counted(self, changes: list[tuple[int, int]], time_ns: int) -> None:
        """Submit changes of a report, but for those of lines that the host counts."""
        if self.host_counters is not None:
            changes = self.host_counters.take(changes, time_ns)
        for line, value in changes:
            self._submit(line, value, time_ns)

    def _drop_channels(self, line: int) -> None:
        for channel in [c for c, known in self._analog_lines.items() if known.line == line]:
            del self._analog_lines[channel]

    def _take_sample(self, channel: int, value: int, arrival_ns: int) -> None:
        known = self._analog_lines.get(channel)
        if known is None:
            if self._is_strict and channel not in self._known_channels:
                self._known_channels.add(channel)  # a board that sends it again is believed
                self._impossible += 1
            return
        self.samples += 1
        if not self._acquiring:
            return
        if known.waiting:
            known.waiting -= 1
            self.decimated += 1
            return
        known.waiting = known.every - 1
        was_doubted, known.doubted = known.doubted, value > self._ranges.get(channel, value)
        if known.doubted and not was_doubted:
            # Two in a row are used: then the board has a wider range than it reports.
            self._impossible += 1
            self._note_lost(1)
            return
        self._submit(known.line, value, arrival_ns)

    def _note_lost(self, count: int) -> None:
        self.lost += count
        self._output.note_lost(count)

    def _submit_or_keep(self, line: int, level: bool, time_ns: int) -> None:
        if self._acquiring:
            self._submit(line, int(level), time_ns)
        else:
            self._chip_inputs.keep(line, level)

    def _submit(self, line: int, value: int, time_ns: int) -> None:
        self._output.submit(LineReading(line, value, self.clock.from_monotonic_ns(time_ns)))
        self.sent += 1

    def _send(self, line: int, value: int, time_usec: int) -> None:
        self._output.submit(LineReading(line, value, time_usec))
        self.sent += 1
