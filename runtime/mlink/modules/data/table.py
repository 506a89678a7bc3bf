"""The `table` module: writes rows to a CSV file of the recording."""

from __future__ import annotations

from mlink.modules.data.catalog import TableSettings
from mlink.modules.data.csv_file import CsvFile
from mlink.modules.data.writer import DataWriterModule
from mlink.storage.edl import Dataset
from mlink.types import TableRow


class TableModule(DataWriterModule[TableSettings]):
    """Writes each row when it arrives; rows are on the disk within a second.

    The file is created at the start, so that a run without rows has an empty table.
    """

    _csv: CsvFile | None = None
    _header: list[str]
    _warned_of_columns = False

    def prepare(self) -> None:
        """Check the name of the dataset before the run."""
        super().prepare()
        self.saves = self.settings.save_data

    def start(self) -> None:
        """Create the file, since the metadata is complete now; it exists even without rows."""
        header = self.port.metadata.get("table_header")
        self._header = [str(cell) for cell in header] if isinstance(header, list) else []
        super().start()
        if self._dataset is not None:
            self._open(self._dataset)

    def open_file(self, dataset: Dataset, item: TableRow | None = None) -> CsvFile:  # noqa: ARG002
        """Create the file, with a header if the stream has one."""
        name = f"{self.file_stem('table')}.csv"
        self._csv = CsvFile(dataset.path_for_basename(name))
        if self._header:
            self._csv.write_header(self._header)
        dataset.set_attribute("has_header", bool(self._header))
        dataset.set_data_file(name, summary=f"Table from {self.source}")
        dataset.save()
        return self._csv

    def write_item(self, item: TableRow) -> int:
        """Write a row; warn once if it does not have the width of the header."""
        if self._header and len(item) != len(self._header) and not self._warned_of_columns:
            self._warned_of_columns = True
            self.log.warning(
                "row %d has %d cells, the header has %d; such rows are written unchanged",
                self._rows + 1, len(item), len(self._header),
            )  # fmt: skip
        assert self._csv is not None
        self._csv.write_row(item)
        return 1
