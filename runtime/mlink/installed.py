"""The entry points of the installed packages, read once.

Python's own function reads the files of all packages at each call, which takes milliseconds; the
load of a bench asks for a dozen groups.
"""

from __future__ import annotations

import functools
import sys
from importlib import metadata
from typing import Any


def entry_points(**wanted: Any) -> metadata.EntryPoints:
    """Return the entry points that match, as `importlib.metadata.entry_points` does.

    Args:
        wanted: Attributes of the entry points, such as `group` and `name`.
    """
    found: metadata.EntryPoints = _all(tuple(sys.path)).select(**wanted)
    return found


@functools.lru_cache(maxsize=1)
def _all(_path: tuple[str, ...]) -> Any:  # until Python 3.11 it has another type
    return metadata.entry_points()
