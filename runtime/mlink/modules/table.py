"""The `table` module: rows in, a CSV file of the recording out."""

from __future__ import annotations

from mlink.module import Module
from mlink.modules.catalog import TableSettings
from mlink.modules.csv_file import CsvFile
from mlink.modules.dataset_name import dataset_name
from mlink.modules.losses import Losses
from mlink.modules.stream_metadata import keep_stream_metadata
from mlink.storage.edl import Dataset
from mlink.types import TableRow


class TableModule(Module[TableSettings]):
    """Writes each row as it comes; rows are on disk within a second."""

    _dataset: Dataset | None = None
    _file: CsvFile | None = None
    _columns = 0
    _rows = 0
    _warned_of_columns = False

    def prepare(self) -> None:
        """Refuse a name that would only be missed when the run starts."""
        self._port = self.context.inputs["rows"]
        self._losses = Losses()
        self._dataset_name()

    def start(self) -> None:
        """Create the file, now that the source's metadata is complete."""
        self._port.on_item = self._on_row
        self._port.on_gap = self._on_gap
        header = self._port.metadata.get("table_header")
        cells = [str(cell) for cell in header] if isinstance(header, list) else []
        self._columns = len(cells)
        if not self.settings.save_data or not self._port.connected:
            return
        self._dataset = self.context.create_dataset(self._dataset_name())
        if self._dataset is None:
            return
        source = self._port.metadata.get("src_mod_name") or self.context.name
        file_name = f"{self._dataset.name}.csv"
        self._file = CsvFile(self._dataset.path_for_basename(file_name))
        if cells:
            self._file.write_header(cells)
        self._dataset.set_attribute("has_header", bool(cells))
        self._dataset.set_attribute("source_module", str(source))
        keep_stream_metadata(self._dataset, self._port.metadata)
        self._dataset.set_data_file(file_name, summary=f"Table from {source}")
        self._dataset.save()

    def run(self) -> None:
        """Serve rows, and flush them when the stream pauses."""
        while self.context.running:
            self.context.serve(int(self._flush() * 1e6) + 1)

    def stop(self) -> None:
        """Close the file; every row that was sent has been drained into it."""
        self._finish()
        self.context.report("rows_written", self._rows)
        self.context.report("rows_lost", self._losses.lost)

    def close(self) -> None:
        """Close the file if a failure kept `stop` from it."""
        self._finish()

    def _on_row(self, row: TableRow) -> None:
        self._rows += 1
        if self._columns and len(row) != self._columns and not self._warned_of_columns:
            self._warned_of_columns = True
            self.log.warning(
                "row %d has %d cells, the header has %d; such rows are written as they are",
                self._rows, len(row), self._columns,
            )  # fmt: skip
        if self._file is not None:
            self._file.write_row(row)
            self._flush()

    def _on_gap(self, lost: int) -> None:
        self._losses.add(lost, after=self._rows, time_usec=self.context.clock.now_usec())
        self.log.warning(
            "%d rows were lost after row %d: the queue was full, or their source lost them",
            lost,
            self._rows,
        )

    def _flush(self) -> float:
        """Flush what is due; return s until the next flush."""
        if self._file is None or self._dataset is None:
            return 1.0
        left = self._file.flush_if_due()
        if self._losses.unsaved and left >= 1.0:
            self._save_losses(self._dataset)
        return left

    def _save_losses(self, dataset: Dataset) -> None:
        for key, value in self._losses.attributes().items():
            dataset.set_attribute(key, value)
        dataset.save()
        self._losses.unsaved = False

    def _finish(self) -> None:
        file, self._file = self._file, None
        if file is None or self._dataset is None:
            return
        try:
            file.close()
        finally:
            self._dataset.set_attribute("row_count", file.rows)
            self._save_losses(self._dataset)

    def _dataset_name(self) -> str:
        return dataset_name(
            self._port.metadata,
            from_source=self.settings.use_name_from_source,
            own_name=self.settings.data_name,
            module_name=self.context.name,
            setting="data_name",
        )
