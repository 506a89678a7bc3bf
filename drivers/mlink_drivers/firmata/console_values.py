"""The last reading of each line: an output port that keeps instead of sending."""

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
    """A line's last value, its master time in µs, and how many readings came so far."""

    line: int
    value: int
    time_usec: int
    count: int


class LatestValues:
    """Takes readings as an output port does; any thread may ask for the last ones."""

    id = "latest"
    data_type = DataType.LineReading
    connected = True
    frozen = False

    def __init__(self) -> None:
        self.metadata: Metadata = {}
        self._latest: dict[int, Latest] = {}
        self._changed = threading.Condition()

    def submit(self, item: Any) -> None:
        """Take a reading."""
        assert isinstance(item, LineReading)
        with self._changed:
            before = self._latest.get(item.line_id)
            count = before.count + 1 if before is not None else 1
            self._latest[item.line_id] = Latest(item.line_id, item.value, item.time_usec, count)
            self._changed.notify_all()

    def loan_frame(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> FrameLoan:
        """Refuse: lines have no pictures."""
        raise NotImplementedError

    def note_lost(self, count: int) -> None:
        """Do nothing: only the last readings are kept."""

    def get(self, line: int) -> Latest | None:
        """Return a line's last reading."""
        return self._latest.get(line)

    def all(self) -> list[Latest]:
        """Return the last reading of every line, in order of lines."""
        with self._changed:
            return [self._latest[line] for line in sorted(self._latest)]

    def forget(self, line: int) -> None:
        """Drop what a line told, since it is set up anew."""
        with self._changed:
            self._latest.pop(line, None)

    def wait_for(self, line: int, timeout_s: float) -> bool:
        """Wait until a line has told something."""
        with self._changed:
            return self._changed.wait_for(lambda: line in self._latest, timeout_s)
