"""Summaries of recordings whose times or manifests are unusual."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.storage.edl import create_collection
from mlink.storage.inspect import DatasetSummary, inspect_recording
from mlink.storage.tsync.writer import TsyncWriter


def summary_of(folder: Path, times: list[int]) -> DatasetSummary:
    """Record a dataset with these times, and return its summary."""
    collection = create_collection(folder / "run", collection_id=bytes(16), generator="mlink")
    dataset = collection.create_dataset("video")
    with TsyncWriter(dataset.add_aux_file("video.tsync"), collection_id=bytes(16)) as tsync:
        for number, time in enumerate(times):
            tsync.append(number, time)
    dataset.save()
    (summary,) = inspect_recording(folder / "run").datasets
    return summary


def test_times_that_increase_by_a_microsecond_are_no_problem(tmp_path: Path) -> None:
    assert summary_of(tmp_path, [5, 6, 7]).problems == []


@pytest.mark.parametrize(("times", "count"), [([5, 5, 6], 1), ([5, 6, 4, 4], 2), ([2, 1], 1)])
def test_times_that_do_not_increase_are_counted(
    tmp_path: Path, times: list[int], count: int
) -> None:
    assert summary_of(tmp_path, times).problems == [f"{count} times do not increase"]


@pytest.mark.parametrize(
    ("times", "first", "last", "rate"),
    [([], None, None, None), ([7], 7, 7, None), ([0, 10_000, 30_000], 0, 30_000, 2 / 0.03)],
)
def test_first_last_and_rate_come_from_the_times(
    tmp_path: Path, times: list[int], first: int | None, last: int | None, rate: float | None
) -> None:
    summary = summary_of(tmp_path, times)
    assert summary.entries == len(times)
    assert (summary.first_usec, summary.last_usec) == (first, last)
    assert summary.rate_hz == (None if rate is None else pytest.approx(rate))
