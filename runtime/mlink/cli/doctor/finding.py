"""What a check of `mlink doctor` has found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

State = Literal["good", "better", "bad"]
"""Good; could be better; blocks devices or runs."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check."""

    check: str
    state: State
    found: str
    remedy: str = ""
    """A command, or what else to do; "" when no change is needed."""


def read_text(path: Path) -> str:
    """Return the text of a small file without blanks at its ends; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
