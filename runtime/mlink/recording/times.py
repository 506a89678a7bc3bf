"""Times of rows and signals for `mlink info`, which lie in the data themselves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.storage.inspect import DatasetSummary

_KINDS = ("table", "json", "zarr")
_MAX_BYTES = 64 << 20
"""Larger data is not read for a summary."""


def add_times(datasets: Iterable[DatasetSummary], recording: Recording) -> None:
    """Fill in first and last time and rate where the data has times and is read quickly."""
    for dataset in datasets:
        if dataset.kind not in _KINDS or dataset.size > _MAX_BYTES or dataset.name not in recording:
            continue
        try:
            times = np.sort(recording[dataset.name].times_usec)
        except (StorageError, ValueError, KeyError):
            continue  # it has none, or is torn, which is told elsewhere
        if not len(times):
            continue
        dataset.first_usec, dataset.last_usec = int(times[0]), int(times[-1])
        if times[-1] > times[0]:
            dataset.rate_hz = (len(times) - 1) / float(times[-1] - times[0]) * 1e6
            dataset.interval_max_usec = int(np.diff(times).max())
