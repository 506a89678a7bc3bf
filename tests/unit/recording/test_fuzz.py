"""Files of a recording changed at random: no traceback, no hang, 500 MB, nothing outside changed.

A finding prints the seed of its case; it becomes a change in test_hostile.py when it is repaired.
"""

from __future__ import annotations

import subprocess
import sys

import pytest


def fuzz(first: int, count: int, *limits: str) -> int:
    words = [sys.executable, "-m", "tests.support.recorded.fuzz", str(first), str(count), *limits]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return int(result.stdout)


def test_a_few_changed_recordings() -> None:
    assert fuzz(0, 25, "8") > 0


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 20_000, 2_000))
def test_many_changed_recordings(first: int) -> None:
    assert fuzz(first, 2_000) == 2_000
