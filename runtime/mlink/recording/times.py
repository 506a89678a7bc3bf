"""Times of rows and signals for `mlink info`, which lie in the data themselves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.recording.journal_state import examine_journal
from mlink.storage.inspect import DatasetSummary

_KINDS = ("table", "json", "zarr", "journal")
_MAX_BYTES = 64 << 20
"""Larger data is not read for a summary."""


def add_times(datasets: Iterable[DatasetSummary], recording: Recording) -> None:
    """Fill in first and last time and rate where the data has times and is read quickly."""
    for dataset in datasets:
        if dataset.kind not in _KINDS or dataset.size > _MAX_BYTES or dataset.name not in recording:
            continue
        if dataset.kind == "journal":
            _look_into_journal(dataset, recording)
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


def _look_into_journal(dataset: DatasetSummary, recording: Recording) -> None:
    stream = recording[dataset.name]
    for name in stream.part_names:
        if not (stream.path / name).is_file():
            continue  # told by the summary
        state = examine_journal(stream.path / name)
        dataset.entries = (dataset.entries or 0) + state.records
        dataset.first_usec, dataset.last_usec = state.first_usec, state.last_usec
        dataset.problems += state.damage
        if state.torn_bytes and not state.damage:
            dataset.problems.append(f"{name} ends within its records: its writer was killed")
