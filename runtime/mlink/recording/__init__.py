"""Reading recordings: `mlink.recording.open(path)` returns its streams (docs/recordings.md).

PyAV and NumPy are imported only when a recording is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlink.recording.collection import Recording

__all__ = ["open"]


def open(path: str | os.PathLike[str]) -> Recording:  # noqa: A001 - mlink.recording.open(path)
    """Open the recording in a folder for reading.

    Args:
        path: The folder that `mlink run` printed at its end.

    Returns:
        The recording: a mapping from names of streams to streams, and a context manager that
        closes its files.

    Raises:
        StorageError: The folder is not a recording.
    """
    from mlink.recording.collection import Recording

    return Recording(Path(path))
