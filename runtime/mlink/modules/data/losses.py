"""Counts what a recorder did not get, so that the recording itself says so."""

from __future__ import annotations

from typing import Any

from mlink.storage.edl import Dataset

_MAX_LISTED = 1000
"""Gaps listed one by one; a stream in trouble makes thousands, and then their sum is enough."""


class Losses:
    """The gaps of one input: how many items, and behind which recorded one."""

    def __init__(self) -> None:
        self.lost = 0
        self.gaps = 0
        self.unsaved = False
        """Whether a gap came in since the dataset was last saved."""
        self._listed: list[dict[str, Any]] = []

    def add(self, lost: int, *, after: int, time_usec: int) -> None:
        """Note that `lost` items are missing after the first `after` ones, found at this time."""
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
        self.unsaved = False
