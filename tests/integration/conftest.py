"""Fixtures of tests that run several processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench_runner import BenchRunner, nothing_left_behind

HERE = Path(__file__).parent
AT_ANY_PACE = (HERE / "recordings", HERE / "virtual_time")
"""Tests that hold however slowly the processes run; all others here are real-time tests, except for
those that are marked `any_pace`."""
TIMEOUT_SEC = 600
"""Limit of a test of several processes: some take 100 s beside four busy loops."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of runs in real time, and give all here more time."""

    def is_of(item: pytest.Item, places: tuple[Path, ...]) -> bool:
        return any(place in (item.path, *item.path.parents) for place in places)

    for item in items:
        if HERE not in item.path.parents:
            continue
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SEC))
        if not is_of(item, AT_ANY_PACE) and item.get_closest_marker("any_pace") is None:
            item.add_marker("real_time")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[BenchRunner]:
    """A bench runner; after the test no process, shared memory or work folder may be left."""
    runner = BenchRunner(tmp_path)
    with nothing_left_behind(runner):
        yield runner
