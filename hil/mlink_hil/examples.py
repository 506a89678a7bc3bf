"""Where the example benches are, which `mlink new` copies."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Return the folder of the example benches: in the package, or beside it in a work tree."""
    here = Path(__file__).resolve().parent
    installed = here / "benches"
    return installed if installed.is_dir() else here.parent / "benches"
