"""The host's pulse timer: ends the pulses of all lines in calls of the board's `Waiting`.

All writes to outputs pass through the timer's lock, so that the end of a pulse and a new command
for the same line cannot overtake each other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from mlink.waiting import Waiting
from mlink_drivers.firmata.chip.pulse_times import PulseTimes

_COMMANDS_KEPT: Final = 1000
"""Commands of one pulse that wait for its end; a pulse that is renewed for ever has more."""


class _Pulse(msgspec.Struct):
    began_ns: int
    deadline_ns: int
    rest_value: int
    commands: deque[tuple[int, int, int]]
    """(asked µs, commanded ns, start sent ns) of each command that is part of the pulse."""


class PulseTimer:
    """Writes values to lines, and the rest value of a pulse at its deadline.

    Args:
        write: Sends a value to a line at once.
        waiting: Makes the calls that end pulses.
        on_error: Called with an exception of `write` at the end of a pulse.
        on_ended: Called for each command's pulse when it has ended or was replaced by a write.
        on_due: Called after the end of a pulse: line, its width as asked for,
            and the width that it had, in ns.
    """

    def __init__(
        self,
        write: Callable[[int, int], None],
        waiting: Waiting,
        *,
        on_error: Callable[[Exception], None],
        on_ended: Callable[[PulseTimes], None] | None = None,
        on_due: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self._write = write
        self._waiting = waiting
        self._on_error = on_error
        self._on_ended = on_ended
        self._on_due = on_due
        self._lock = threading.RLock()
        self._pulses: dict[int, _Pulse] = {}
        self._closed = False

    def write(self, line: int, value: int) -> None:
        """Write a value that stays: a pulse on the line ends with it."""
        with self._lock:
            pulse = self._pulses.pop(line, None)
            self._write(line, value)
            if pulse is not None:
                self._report(line, pulse)

    def is_active(self, line: int) -> bool:
        """Whether a pulse is running on a line."""
        return line in self._pulses

    def forget(self, line: int) -> None:
        """Cancel the end of a pulse: its line is no longer an output."""
        with self._lock:
            pulse = self._pulses.pop(line, None)
            if pulse is not None:
                self._report(line, pulse)

    def pulse(
        self,
        line: int,
        value: int,
        duration_usec: int,
        rest_value: int = 0,
        *,
        commanded_ns: int = 0,
    ) -> None:
        """Write `value` now and `rest_value` after `duration_usec`.

        On a line with a running pulse the end is moved later, never earlier. When more than
        1,000 commands have renewed a pulse, the oldest one is reported with an end of 0.

        Args:
            line: The output.
            value: Value during the pulse.
            duration_usec: Width of the pulse.
            rest_value: Value after the pulse.
            commanded_ns: When it was commanded, for the table of pulses; by default now.
        """
        with self._lock:
            self._write(line, value)
            started_ns = self._waiting.now_ns()
            deadline_ns = started_ns + duration_usec * 1000
            command = (duration_usec, commanded_ns or started_ns, started_ns)
            running = self._pulses.get(line)
            if running is None:
                pulse = _Pulse(started_ns, deadline_ns, rest_value, deque([command]))
                self._pulses[line] = pulse
                self._end_later(line, pulse)
                return
            # The call for the present end is there already: it looks again at the later one.
            running.deadline_ns = max(deadline_ns, running.deadline_ns)
            running.rest_value = rest_value
            running.commands.append(command)
            if len(running.commands) > _COMMANDS_KEPT:
                oldest = running.commands.popleft()
                if self._on_ended is not None:
                    self._on_ended(PulseTimes(line, *oldest, 0))

    def report_running(self) -> None:
        """Report the pulses that have not ended, with an end of 0; each is reported once."""
        with self._lock:
            for line, pulse in self._pulses.items():
                self._report(line, pulse, ended_ns=0)
                pulse.commands.clear()

    def end_all(self) -> None:
        """End every pulse now."""
        with self._lock:
            for line in list(self._pulses):
                self._end(line)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay the begin and end of pulses until the block is left."""
        with self._lock:
            yield

    def close(self) -> None:
        """Let pulses go on for ever: running ones are not ended."""
        with self._lock:
            self._closed = True

    def _end_later(self, line: int, pulse: _Pulse) -> None:
        deadline_ns = pulse.deadline_ns
        self._waiting.at(deadline_ns, lambda: self._end_due(line, pulse, deadline_ns))

    def _end_due(self, line: int, pulse: _Pulse, deadline_ns: int) -> None:
        """End a pulse at its deadline, unless it was ended, replaced or moved meanwhile."""
        with self._lock:
            if self._closed or self._pulses.get(line) is not pulse:
                return
            if pulse.deadline_ns > deadline_ns:
                self._end_later(line, pulse)
                return
            self._end(line)
            if self._on_due is not None:
                began_ns = pulse.began_ns
                self._on_due(line, deadline_ns - began_ns, self._waiting.now_ns() - began_ns)

    def _end(self, line: int) -> None:
        pulse = self._pulses.pop(line)
        try:
            self._write(line, pulse.rest_value)
            self._report(line, pulse)
        except Exception as error:  # noqa: BLE001 - the pulses of other lines must still end
            self._on_error(error)

    def _report(self, line: int, pulse: _Pulse, ended_ns: int | None = None) -> None:
        if self._on_ended is not None:
            ended_ns = self._waiting.now_ns() if ended_ns is None else ended_ns
            for asked_usec, commanded_ns, started_ns in pulse.commands:
                self._on_ended(PulseTimes(line, asked_usec, commanded_ns, started_ns, ended_ns))
