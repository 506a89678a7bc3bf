"""Ends pulses on time: one thread, many lines at once.

All writes to lines that may pulse go through here, under one lock, so that a pulse's end and a
new command for the same line cannot overtake each other.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Self

import msgspec

_JOIN_S: Final = 5.0
_log = logging.getLogger(__name__)


class _Pulse(msgspec.Struct, gc=False):
    deadline_ns: int
    rest_value: int


class PulseTimer:
    """Writes lines, and brings pulsing ones back to rest at their deadlines (CLOCK_MONOTONIC).

    `write` sends a value to a line at once; what it raises in the timer's thread goes to
    `on_error`.
    """

    def __init__(
        self,
        write: Callable[[int, int], None],
        *,
        on_error: Callable[[Exception], None],
        name: str = "",
    ) -> None:
        self._write = write
        self._on_error = on_error
        self._changed = threading.Condition()
        self._pulses: dict[int, _Pulse] = {}
        self._deadlines: list[tuple[int, int]] = []  # heap; entries that no pulse matches are old
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"pulses {name}", daemon=True)
        self._thread.start()

    @property
    def active(self) -> int:
        """Number of pulses that have not ended."""
        return len(self._pulses)

    def write(self, line: int, value: int) -> None:
        """Set a line for good: a pulse that runs on it is forgotten."""
        with self._changed:
            self._pulses.pop(line, None)
            self._write(line, value)

    def pulse(self, line: int, value: int, duration_usec: int, rest_value: int = 0) -> None:
        """Set a line now and back to rest after `duration_usec`.

        On a line that pulses already the end moves out, never in.
        """
        with self._changed:
            self._write(line, value)
            deadline_ns = time.monotonic_ns() + duration_usec * 1000
            running = self._pulses.get(line)
            if running is not None:
                deadline_ns = max(deadline_ns, running.deadline_ns)
            self._pulses[line] = _Pulse(deadline_ns, rest_value)
            heapq.heappush(self._deadlines, (deadline_ns, line))
            if self._deadlines[0] == (deadline_ns, line):
                self._changed.notify()

    def end_all(self) -> None:
        """Bring every pulsing line to rest now."""
        with self._changed:
            for line in list(self._pulses):
                self._end(line)

    def close(self) -> None:
        """End the thread; pulses that run are left as they are."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.error("%s did not end within %g s", self._thread.name, _JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()
        self.close()

    def _run(self) -> None:
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
        rest_value = self._pulses.pop(line).rest_value
        try:
            self._write(line, rest_value)
        except Exception as error:  # noqa: BLE001 - one lost line must not leave the others high
            self._on_error(error)
