"""Recorded pairs of a device's and the master timer's times, as synchronisers write them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlink.recording.stream import RecordedStream
from mlink.storage.tsync_reader import read_tsync


class SyncPoints(RecordedStream):
    """Pairs of times of one moment."""

    @cached_property
    def pairs(self) -> NDArray[np.int64]:
        """(N, 2): the time on the device's clock, and on the master timer, in the file's units."""
        found = [
            read_tsync(self.path / name, salvage=True).times for name in self._unit.tsync_names
        ]
        return np.concatenate([np.empty((0, 2), np.int64), *found])

    @property
    def times_usec(self) -> NDArray[np.int64]:
        """The moments on the master timer."""
        return self.pairs[:, 1]

    def __len__(self) -> int:
        return len(self.pairs)
