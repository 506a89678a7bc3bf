"""The account of a led host's clock: a table in the recording, one row a second.

With it each time of this host can be checked, and converted again, after the run.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Final

from mlink.errors import MlinkError
from mlink.modules.data.csv_file import CsvFile
from mlink.steered_clock import SteeredClock
from mlink.storage.edl import Dataset, create_dataset

NAME: Final = "host-clock"
HEADER: Final = (
    "time_usec",
    "monotonic_ns",
    "rate_ppm",
    "uncertainty_usec",
    "state",
    "round_trip_usec",
    "exchanges",
    "lost",
    "steps",
)
"""Master time; the host's CLOCK_MONOTONIC at that time; how much faster master time runs now, with
what is being corrected; how wrong it may be; the quickest round trip; counts since the start of the
exchanges: done, not answered, jumps of one of both clocks."""
_PERIOD_NS: Final = 1_000_000_000


class HostClockAccount:
    """Writes the table; an error of the disk ends it, not the run.

    Args:
        clock: The host's clock.
        recording: Folder of the collection.
        collection_id: Its id, 16 bytes.
        time_created: Noted in the manifest.
    """

    def __init__(
        self, clock: SteeredClock, recording: Path, collection_id: bytes, time_created: datetime
    ) -> None:
        self._clock = clock
        self._next_ns = 0
        self._largest_usec = 0
        self._problem = ""
        self._csv: CsvFile | None = None
        self._dataset: Dataset | None = None
        try:
            self._dataset = create_dataset(
                recording, NAME, collection_id=collection_id, time_created=time_created
            )
            self._csv = CsvFile(self._dataset.path_for_basename(f"{NAME}.csv"))
            self._csv.write_header(HEADER)
            self._dataset.set_attribute("has_header", True)
            self._dataset.set_data_file(f"{NAME}.csv", summary="How sure this host's times are")
            self._dataset.save()
        except MlinkError as error:
            self._problem = error.message

    def look(self) -> None:
        """Write a row if the last one is a second old."""
        now_ns = time.monotonic_ns()
        segment = self._clock.segment_at(now_ns)
        if segment is None:
            return
        uncertain_usec = self._clock.uncertainty_usec(now_ns)
        self._largest_usec = max(self._largest_usec, uncertain_usec)
        if self._csv is None or self._problem or now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _PERIOD_NS
        notes = self._clock.notes
        cells = (
            segment.usec(now_ns), now_ns, f"{segment.rate_ppm:.4f}", uncertain_usec,
            self._clock.state.name.lower(), f"{notes.round_trip_ns / 1000:.1f}", notes.exchanges,
            notes.lost, notes.steps,
        )  # fmt: skip
        try:
            self._csv.write_row([str(cell) for cell in cells])
            self._csv.flush()
        except MlinkError as error:
            self._problem = error.message

    def close(self) -> dict[str, object]:
        """Close the table; return what the recording's manifest has of this clock."""
        self._next_ns = 0
        self.look()
        try:
            if self._csv is not None:
                self._csv.close()
            if self._dataset is not None:
                self._dataset.set_attribute("row_count", self._csv.rows if self._csv else 0)
                self._dataset.save()
        except MlinkError as error:
            self._problem = self._problem or error.message
        found: dict[str, object] = {
            "largest_uncertainty_usec": self._largest_usec,
            "steps": self._clock.notes.steps,
        }
        return {**found, "incomplete": self._problem} if self._problem else found
