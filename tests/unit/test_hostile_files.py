"""Files changed at random: no traceback, no hang, 10 s, 500 MB, nothing outside changed.

A finding prints the seed of its case, which `python -m tests.support.fuzz KIND SEED 1` repeats.
When it is repaired it becomes a test of the reader.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.fuzz.__main__ import KINDS


def fuzz(kind: str, first: int, count: int, *limits: str) -> int:
    words = [sys.executable, "-m", "tests.support.fuzz", kind, str(first), str(count), *limits]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return int(result.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_changed_files(kind: str) -> None:
    assert fuzz(kind, 0, 200, "8") > 0


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 20_000, 2_000))
@pytest.mark.parametrize("kind", KINDS)
def test_many_changed_files(kind: str, first: int) -> None:
    assert fuzz(kind, first, 2_000) == 2_000
