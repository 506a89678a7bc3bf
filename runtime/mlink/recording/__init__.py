"""Recordings after the run: `mlink.recording.open(path)` gives its streams (docs/recordings.md).

What is heavy (PyAV, NumPy) is imported when a recording is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlink.recording.collection import Recording

__all__ = ["open"]


def open(path: str | os.PathLike[str]) -> Recording:  # noqa: A001 - mlink.recording.open(path)
    """Open the recording in this folder to read it; StorageError when there is none."""
    from mlink.recording.collection import Recording

    return Recording(Path(path))
