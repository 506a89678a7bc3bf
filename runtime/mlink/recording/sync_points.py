"""Recorded pairs of device time and master time, as clock synchronisers write them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlink.recording.stream import Columns, RecordedStream
from mlink.storage.tsync.reader import read_tsync


class SyncPoints(RecordedStream):
    """Pairs of times of the same moment on two clocks."""

    @cached_property
    def pairs(self) -> NDArray[np.int64]:
        """Shape (N, 2): time of the device's clock and of the master timer, in the file's units."""
        found = [
            read_tsync(self._unit.file(name), salvage=True).times for name in self._unit.tsync_names
        ]
        return found[0] if len(found) == 1 else np.concatenate([np.empty((0, 2), np.int64), *found])

    @property
    def times_usec(self) -> NDArray[np.int64]:
        """The master time of each pair."""
        return self.pairs[:, 1]

    def columns(self) -> Columns:
        """Return the columns `device_time` and `master_time`."""
        return {"device_time": self.pairs[:, 0], "master_time": self.pairs[:, 1]}

    def __len__(self) -> int:
        return len(self.pairs)
