"""Progress of a command that works on a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

Progress: TypeAlias = Callable[[str, int, int], Any]
"""Called before each part with what is done to it ("verify video"), its number, and the count."""
_T = TypeVar("_T")


def quiet(_text: str, _number: int, _count: int) -> None:
    """Report no progress."""


def with_progress(
    progress: Progress, what: str, parts: Iterable[_T], name_of: Callable[[_T], str] = str
) -> Iterator[_T]:
    """Yield the parts of a work, and report each before.

    Args:
        progress: Called before each part.
        what: What is done: "verify".
        parts: What it is done to.
        name_of: Returns the name of a part; "" for the recording itself.
    """
    known = list(parts)
    for number, part in enumerate(known, 1):
        name = name_of(part)
        progress(f"{what} {name}" if name else what, number, len(known))
        yield part
