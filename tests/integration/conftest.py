"""Fixtures of tests that run several processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench_runner import BenchRunner, nothing_left_behind


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[BenchRunner]:
    """A bench runner; after the test no process, shared memory or work folder may be left."""
    runner = BenchRunner(tmp_path)
    with nothing_left_behind(runner):
        yield runner
