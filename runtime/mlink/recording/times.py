"""Times of tables, signals and journals for `mlink info`, read from the data itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.recording.journal.state import examine_journal
from mlink.storage.failures import UNEXPECTED, damage_of
from mlink.storage.inspect import DatasetSummary

_KINDS = ("table", "json", "zarr", "journal")
_MAX_BYTES = 64 << 20
"""Size up to which data is read for a summary."""


def add_times(datasets: Iterable[DatasetSummary], recording: Recording) -> None:
    """Add the first and last time and the rate of datasets that have times and are small."""
    for dataset in datasets:
        if dataset.kind not in _KINDS or dataset.size > _MAX_BYTES or dataset.name not in recording:
            continue
        try:
            if dataset.kind == "journal":
                _add_journal(dataset, recording)
                continue
            times = np.sort(recording[dataset.name].times_usec)
        except StorageError:
            continue  # it has no times, or is torn, which the summary reports
        except UNEXPECTED as error:
            dataset.problems.append(damage_of(error))
            continue
        if not len(times):
            continue
        dataset.first_usec, dataset.last_usec = int(times[0]), int(times[-1])
        if times[-1] > times[0]:
            dataset.rate_hz = (len(times) - 1) / float(times[-1] - times[0]) * 1e6
            dataset.interval_max_usec = int(np.diff(times).max())


def _add_journal(dataset: DatasetSummary, recording: Recording) -> None:
    stream = recording[dataset.name]
    for name in stream.part_names:
        file = stream.file(name)
        if not file.exists():
            continue  # reported by the summary
        state = examine_journal(file)
        dataset.entries = (dataset.entries or 0) + state.records
        dataset.first_usec, dataset.last_usec = state.first_usec, state.last_usec
        dataset.problems += state.damage
        if state.torn_bytes and not state.damage:
            dataset.problems.append(f"{name} ends with an incomplete record: its writer was killed")
