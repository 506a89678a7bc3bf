"""The dataset `faults` of a recording: each begin and end of a fault, with its master time."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from mlink.modules.data.csv_file import CsvFile
from mlink.storage.edl import Dataset, create_dataset
from mlink_hil.faults.kinds import Fault

HEADER = ("time_usec", "event", "kind", "target", "settings")


class FaultLog:
    """Writes the dataset, which is made with its first row; safe to use from several threads.

    Args:
        recording_dir: Folder of the recording; None for a run that is not recorded.
        run_uuid: The recording's id.
        time_created: Creation time that its files are given; None is now.
    """

    def __init__(
        self, recording_dir: Path | None, run_uuid: bytes, time_created: datetime | None
    ) -> None:
        self._recording_dir = recording_dir
        self._run_uuid = run_uuid
        self._time_created = time_created
        self._dataset: Dataset | None = None
        self._file: CsvFile | None = None
        self._closed = False
        self._lock = threading.Lock()

    def write(self, time_usec: int, event: str, fault: Fault) -> None:
        """Write a row.

        Args:
            time_usec: Master time.
            event: "begin", "once" (of a moment), "end", or "failed" (could not be made).
            fault: The fault.
        """
        settings = msgspec.json.encode(fault.settings()).decode() if fault.settings() else ""
        cells = (str(time_usec), event, fault.kind, fault.target, settings)
        with self._lock:
            if self._recording_dir is None or self._closed:
                return
            if self._file is None:
                self._open(self._recording_dir)
            assert self._file is not None
            self._file.write_row(cells)
            self._file.flush()

    def close(self) -> None:
        """Close the file, if there is one; later rows are dropped."""
        with self._lock:
            self._closed = True
            file, self._file = self._file, None
            if file is None or self._dataset is None:
                return
            file.close()
            self._dataset.set_attribute("row_count", file.rows)
            self._dataset.save()

    def _open(self, recording_dir: Path) -> None:
        self._dataset = create_dataset(
            recording_dir,
            "faults",
            collection_id=self._run_uuid,
            time_created=self._time_created,
        )
        file_name = f"{self._dataset.name}.csv"
        self._file = CsvFile(self._dataset.path_for_basename(file_name))
        self._file.write_header(HEADER)
        attributes: dict[str, Any] = {
            "has_header": True,
            "table_header": list(HEADER),
            "time_unit": "microseconds",
        }
        for key, value in attributes.items():
            self._dataset.set_attribute(key, value)
        self._dataset.set_data_file(file_name, summary="Faults made on purpose")
        self._dataset.save()
