"""Counts items that did not reach a recorder, for the attributes of its dataset."""

from __future__ import annotations

from typing import Any

from mlink.storage.account import UNLISTED, unlisted
from mlink.storage.edl import Dataset

_MAX_LISTED = 1000
"""Largest number of gaps listed one by one; those beyond are counted together."""


class Losses:
    """The gaps of one input: numbers of lost items, and where in the dataset.

    The attributes are `items_lost` (always), `gap_count` and `gaps` when there are gaps, and
    `items_lost_unlisted` when there are more gaps than are listed.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.gaps = 0
        self.unsaved = False
        """Whether gaps were added since the last `write_to`."""
        self._listed: list[dict[str, Any]] = []

    def add(self, lost: int, *, after: int, time_usec: int) -> None:
        """Add a gap.

        Args:
            lost: Number of lost items.
            after: Number of recorded items before the gap.
            time_usec: Master time at which the gap was found.
        """
        self.lost += lost
        self.gaps += 1
        self.unsaved = True
        if len(self._listed) < _MAX_LISTED:
            self._listed.append({"after": after, "lost": lost, "found_at_usec": time_usec})

    def write_to(self, dataset: Dataset) -> None:
        """Set the dataset's attributes about losses; the caller saves it then."""
        dataset.set_attribute("items_lost", self.lost)
        if self.gaps:
            dataset.set_attribute("gap_count", self.gaps)
            dataset.set_attribute("gaps", self._listed)
        if rest := unlisted(self.lost, self._listed):
            dataset.set_attribute(UNLISTED, rest)
        self.unsaved = False
