"""A CSV file of events that any thread of a module may add to, and its main thread writes."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from mlink.closing import ClosesOnExit
from mlink.modules.data.csv_file import CsvFile
from mlink.storage.edl import Dataset


class EventTable(ClosesOnExit):
    """Events of a run, in the order in which they were added.

    Args:
        dataset: Where to record them; None where the run is not recorded.
        name: Name of the file.
        header: Titles of the cells.
        summary: What it is, for the dataset's manifest.

    Raises:
        StorageError: The file cannot be created.
    """

    def __init__(
        self, dataset: Dataset | None, name: str, header: Sequence[str], summary: str
    ) -> None:
        self._rows: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        self._file: CsvFile | None = None
        self._dataset = dataset
        if dataset is not None:
            self._file = CsvFile(dataset.path_for_basename(name))
            self._file.write_header(header)
            dataset.set_data_file(name, summary=summary)
            dataset.set_attribute("has_header", True)
            dataset.save()

    def add(self, *cells: str) -> None:
        """Add an event; may be called in any thread."""
        self._rows.put(cells)

    def write(self) -> None:
        """Write what was added.

        Raises:
            StorageError: The disk is full or gone.
        """
        while not self._rows.empty():
            row = self._rows.get()
            if self._file is not None:
                self._file.write_row(row)
                self._file.flush()

    def close(self) -> None:
        """Write what was added, and close the file."""
        self.write()
        file, self._file = self._file, None
        if file is not None and self._dataset is not None:
            file.close()
            self._dataset.set_attribute("row_count", file.rows)
            self._dataset.save()
