"""Base class of the files that recorders append rows to: when they are flushed, how they close."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

from mlink.closing import ClosesOnExit

FLUSH_INTERVAL_S = 1.0
"""Longest time that a row waits for a flush, if `flush_if_due` is called as it asks."""


class DataFile(ClosesOnExit):
    """An open file that grows row by row.

    Subclasses call `_mark_changed` for each row, and set `_changed_s` to None in `flush`.
    """

    def __init__(self, path: Path) -> None:
        """Set up the counters; subclasses create the file at `path`."""
        self.path = path
        self.rows = 0
        """Rows written, without a header."""
        self._now_s: Callable[[], float] = time.monotonic
        self._changed_s: float | None = None
        """When the oldest row that is not flushed was written; None when all are flushed."""

    def follow(self, now_s: Callable[[], float]) -> None:
        """Time the flushes by another clock, in s: in virtual time by the virtual one."""
        self._now_s = now_s
        if self._changed_s is not None:
            self._changed_s = now_s()

    def flush_if_due(self) -> float:
        """Flush when the oldest row not flushed is `FLUSH_INTERVAL_S` old.

        Returns:
            Seconds until this is to be called again.
        """
        if self._changed_s is None:
            return FLUSH_INTERVAL_S
        left_s = self._changed_s + FLUSH_INTERVAL_S - self._now_s()
        if left_s > 0:
            return left_s
        self.flush()
        return FLUSH_INTERVAL_S

    @abstractmethod
    def flush(self) -> None:
        """Pass all rows to the operating system.

        Raises:
            StorageError: The disk is full or gone.
        """

    def _mark_changed(self) -> None:
        if self._changed_s is None:
            self._changed_s = self._now_s()
