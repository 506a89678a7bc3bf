"""Ends pulses on time: one thread, many lines at once.

All writes to lines that may pulse go through here, under one lock, so that a pulse's end and a
new command for the same line cannot overtake each other.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from mlink.realtime import IO_PRIORITY, request_priority
from mlink_drivers.firmata.chip.pulse_times import PulseTimes

_JOIN_S: Final = 5.0
_log = logging.getLogger(__name__)


class _Pulse(msgspec.Struct):
    deadline_ns: int
    rest_value: int
    commands: list[tuple[int, int, int]]
    """(asked µs, commanded ns, start sent ns) of each command that it came from."""


class PulseTimer:
    """Writes lines, and brings pulsing ones back to rest at their deadlines (CLOCK_MONOTONIC).

    `write` sends a value to a line at once; what it raises in the timer's thread goes to
    `on_error`. `on_ended`, when given, hears of each command's pulse when the line is at rest
    again, or was written to in between.
    """

    def __init__(
        self,
        write: Callable[[int, int], None],
        *,
        on_error: Callable[[Exception], None],
        on_ended: Callable[[PulseTimes], None] | None = None,
        name: str = "",
    ) -> None:
        self._write = write
        self._on_error = on_error
        self._on_ended = on_ended
        self._changed = threading.Condition()
        self._pulses: dict[int, _Pulse] = {}
        self._deadlines: list[tuple[int, int]] = []  # heap; entries that no pulse matches are old
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"pulses {name}", daemon=True)
        self._thread.start()

    def write(self, line: int, value: int) -> None:
        """Set a line for good: a pulse that runs on it is forgotten."""
        with self._changed:
            pulse = self._pulses.pop(line, None)
            self._write(line, value)
            if pulse is not None:
                self._tell(line, pulse)

    def is_active(self, line: int) -> bool:
        """Whether a line pulses."""
        return line in self._pulses

    def forget(self, line: int) -> None:
        """Let a pulse never end, since its line is no output any more."""
        with self._changed:
            pulse = self._pulses.pop(line, None)
            if pulse is not None:
                self._tell(line, pulse)

    def pulse(
        self,
        line: int,
        value: int,
        duration_usec: int,
        rest_value: int = 0,
        *,
        commanded_ns: int = 0,
    ) -> None:
        """Set a line now and back to rest after `duration_usec`.

        On a line that pulses already the end moves out, never in.
        """
        with self._changed:
            self._write(line, value)
            started_ns = time.monotonic_ns()
            deadline_ns = started_ns + duration_usec * 1000
            commands = [(duration_usec, commanded_ns or started_ns, started_ns)]
            running = self._pulses.get(line)
            if running is not None:
                deadline_ns = max(deadline_ns, running.deadline_ns)
                commands = running.commands + commands
            self._pulses[line] = _Pulse(deadline_ns, rest_value, commands)
            heapq.heappush(self._deadlines, (deadline_ns, line))
            if self._deadlines[0] == (deadline_ns, line):
                self._changed.notify()

    def tell_running(self) -> None:
        """Tell of the pulses that have not ended, with an end of 0; they are not told again."""
        with self._changed:
            for line, pulse in self._pulses.items():
                self._tell(line, pulse, ended_ns=0)
                pulse.commands = []

    def end_all(self) -> None:
        """Bring every pulsing line to rest now."""
        with self._changed:
            for line in list(self._pulses):
                self._end(line)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no pulse begin or end meanwhile; one that is due ends afterwards."""
        with self._changed:
            yield

    def close(self) -> None:
        """End the thread; pulses that run are left as they are."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.error("%s did not end within %g s", self._thread.name, _JOIN_S)

    def _run(self) -> None:
        request_priority(IO_PRIORITY)
        with self._changed:
            while not self._stopping:
                if not self._deadlines:
                    self._changed.wait()
                    continue
                deadline_ns, line = self._deadlines[0]
                pulse = self._pulses.get(line)
                if pulse is None or pulse.deadline_ns != deadline_ns:
                    heapq.heappop(self._deadlines)
                    continue
                remaining_ns = deadline_ns - time.monotonic_ns()
                if remaining_ns > 0:
                    self._changed.wait(remaining_ns / 1e9)
                    continue
                heapq.heappop(self._deadlines)
                self._end(line)

    def _end(self, line: int) -> None:
        pulse = self._pulses.pop(line)
        try:
            self._write(line, pulse.rest_value)
            self._tell(line, pulse)
        except Exception as error:  # noqa: BLE001 - one lost line must not leave the others high
            self._on_error(error)

    def _tell(self, line: int, pulse: _Pulse, ended_ns: int | None = None) -> None:
        if self._on_ended is not None:
            ended_ns = time.monotonic_ns() if ended_ns is None else ended_ns
            for asked_usec, commanded_ns, started_ns in pulse.commands:
                self._on_ended(PulseTimes(line, asked_usec, commanded_ns, started_ns, ended_ns))
