"""The HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_report(path: Path, tests: list[dict[str, Any]]) -> None:
    """Write the report of a session's tests."""
    raise NotImplementedError
