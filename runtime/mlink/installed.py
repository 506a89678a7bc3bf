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
    return _found(tuple(sys.path), tuple(wanted.items()))


@functools.lru_cache(maxsize=64)
def _found(path: tuple[str, ...], wanted: tuple[tuple[str, Any], ...]) -> metadata.EntryPoints:
    found: metadata.EntryPoints = _all(path).select(**dict(wanted))
    return found


@functools.lru_cache(maxsize=1)
def _all(_path: tuple[str, ...]) -> Any:  # until Python 3.11 it has another type
    return metadata.entry_points()
