"""Opens recordings with edlio 0.3.4, which lives in a venv of its own.

    def test_it(edlio_summary): edlio_summary(recording_dir)["datasets"]["video"]["frames"]

A test file takes a fixture over: `edlio_summary = edlio_reader.edlio_summary`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

PYTHON = ROOT / ".venv-edlio" / "bin" / "python"
FORMER = ROOT / ".venv-edlio" / "edlio-0.2.1"
SCRIPT = Path(__file__).with_name("edlio_script.py")


def read_with_edlio(what: str, *paths: Path, former: bool = False) -> Any:
    """Run edlio on a "collection" or on "tsync" files and return what it found.

    `former` takes edlio 0.2.1.
    """
    if not PYTHON.exists() or (former and not FORMER.exists()):
        pytest.fail(
            "edlio is not installed; make its venv with: sh tests/support/setup_edlio.sh",
            pytrace=False,
        )
    done = subprocess.run(
        [str(PYTHON), str(SCRIPT), what, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(FORMER)} if former else None,
    )
    how = f"edlio ended with {done.returncode} on {paths}:\n{done.stderr}"
    assert done.returncode == 0, how
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def edlio_summary() -> Callable[[Path], dict[str, Any]]:
    """What edlio finds in a recording: its attributes, and `datasets` by path."""
    return lambda path: read_with_edlio("collection", path)


@pytest.fixture(scope="session")
def edlio_tsync() -> Callable[[list[Path]], list[dict[str, Any]]]:
    """What edlio finds in tsync files (all read in one start of its Python)."""
    return lambda paths: read_with_edlio("tsync", *paths)


@pytest.fixture(scope="session")
def former_edlio_tsync() -> Callable[[list[Path]], list[dict[str, Any]]]:
    """What edlio 0.2.1 finds in tsync files of the 2.x form."""
    return lambda paths: read_with_edlio("tsync", *paths, former=True)
