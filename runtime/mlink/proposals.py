"""Proposals for misspelt names, in the remedies of errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_NAME = 80
"""Longest name that is compared with the known ones; longer names are no typing errors."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a misspelt one; None if none is similar.

    Upper and lower case are not distinguished.
    """
    if len(name) > _LONGEST_NAME:
        return None
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def proposal(name: str, known: Iterable[str], what: str) -> str:
    """Return a remedy for an unknown name: the most similar known name, else all of them.

    Args:
        name: The unknown name.
        known: All valid names.
        what: What they are, in the plural ("module types").
    """
    names = sorted(known)
    close = nearest(name, names)
    if close is not None:
        return f"Did you mean '{close}'?"
    return f"Known {what}: {', '.join(names)}." if names else f"There are no {what} here."
