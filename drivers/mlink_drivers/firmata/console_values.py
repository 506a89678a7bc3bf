"""An output port that keeps the last reading of each line instead of sending it."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import numpy as np
from numpy.typing import DTypeLike

from mlink.metadata import Metadata
from mlink.module import FrameLoan
from mlink.types import DataType, LineReading


class Latest(msgspec.Struct, frozen=True):
    """A line's last value, its master time in µs, and the number of readings so far."""

    line: int
    value: int
    time_usec: int
    count: int


class LatestValues:
    """Stores submitted readings; any thread may read the last ones."""

    id = "latest"
    data_type = DataType.LineReading
    connected = True
    frozen = False

    def __init__(self) -> None:
        self.metadata: Metadata = {}
        self._latest: dict[int, Latest] = {}
        self._changed = threading.Condition()

    def submit(self, item: Any) -> None:
        """Store a reading."""
        assert isinstance(item, LineReading)
        with self._changed:
            before = self._latest.get(item.line_id)
            count = before.count + 1 if before is not None else 1
            self._latest[item.line_id] = Latest(item.line_id, item.value, item.time_usec, count)
            self._changed.notify_all()

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> FrameLoan:
        """Raise NotImplementedError: lines have no frames."""
        raise NotImplementedError

    def note_lost(self, count: int) -> None:
        """Do nothing: the console does not count losses."""

    def get(self, line: int) -> Latest | None:
        """Return a line's last reading; None before its first one."""
        return self._latest.get(line)

    def all(self) -> list[Latest]:
        """Return the last reading of every line, sorted by line."""
        with self._changed:
            return [self._latest[line] for line in sorted(self._latest)]

    def forget(self, line: int) -> None:
        """Forget a line's reading, because its mode is set again."""
        with self._changed:
            self._latest.pop(line, None)

    def wait_for(self, line: int, timeout_s: float) -> bool:
        """Wait for a line's first reading; return False after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: line in self._latest, timeout_s)
