"""The newest status and the log lines of a run, for the program that started it.

The engine's thread writes them, any other may read them. Nothing here waits for a reader: a new
status replaces the one before, and the oldest lines are dropped from a log that is not read.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace

from mlink.engine.status import Phase, RunStatus

_MOST_LINES = 10_000
"""Log lines that are kept for a program that does not take them."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a run's log.

    Attributes:
        module: Name of the module; empty for the engine.
        level: As in `logging`, for example `logging.WARNING`.
        text: The message, without a line break at its end.
        printed: Whether a script printed it; else it was logged.
    """

    module: str
    level: int
    text: str
    printed: bool = False


class Watcher:
    """Implements `mlink.engine.status.RunObserver`."""

    def __init__(self) -> None:
        self.status = RunStatus()
        """The newest snapshot, never changed once it is here."""
        self.has_run = False
        """Whether every module has started."""
        self.moved = threading.Event()
        """Set when that is so, or when the run has ended before."""
        self._lines: deque[LogLine] = deque()
        self._dropped = 0
        self._lock = threading.Lock()

    def on_status(self, status: RunStatus) -> None:
        """Keep a snapshot."""
        self.status = replace(status)  # the engine goes on with its own
        if status.phase is Phase.RUN:
            self.has_run = True
            self.moved.set()

    def on_log(self, module: str, level: int, message: str) -> None:
        """Keep a line that was logged."""
        self._add(LogLine(module, level, message.rstrip("\n")))

    def on_output(self, module: str, text: str) -> None:
        """Keep a line that a script printed."""
        self._add(LogLine(module, logging.INFO, text.rstrip("\n"), printed=True))

    def take_log(self) -> list[LogLine]:
        """Return the lines since the last call."""
        with self._lock:
            lines, dropped = list(self._lines), self._dropped
            self._lines.clear()
            self._dropped = 0
        if dropped:
            text = f"{dropped} lines before this one were dropped: they were not taken in time"
            lines.insert(0, LogLine("", logging.WARNING, text))
        return lines

    def _add(self, line: LogLine) -> None:
        with self._lock:
            if len(self._lines) == _MOST_LINES:
                self._lines.popleft()
                self._dropped += 1
            self._lines.append(line)
