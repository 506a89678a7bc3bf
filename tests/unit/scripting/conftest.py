"""Fixtures of tests that run scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink.testing import ScriptRunner
from tests.support.scripts import MakeRunner, runners


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeRunner]:
    """Make runners of script texts, which are closed after the test."""
    with runners(tmp_path) as made:
        yield made


@pytest.fixture
def runner(make: MakeRunner) -> ScriptRunner:
    """A script that does nothing, running, with ports of all types."""
    made = make("def prepare(): pass")
    made.start()
    return made
