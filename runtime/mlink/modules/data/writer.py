"""Base class of the recorders of rows, signals and readings: dataset, losses, flushes."""

from __future__ import annotations

from typing import Any, TypeVar

from mlink.module import Module
from mlink.modules.data.catalog import JsonWriterSettings, TableSettings, ZarrWriterSettings
from mlink.modules.data.data_file import FLUSH_INTERVAL_S, DataFile
from mlink.modules.data.dataset_name import dataset_name, file_stem
from mlink.modules.data.losses import Losses
from mlink.modules.data.stream_metadata import keep_stream_metadata
from mlink.storage.account import note_subscription
from mlink.storage.edl import Dataset
from mlink.storage.runs import Runs
from mlink.transport.codec import SIGNAL_BLOCKS
from mlink.types import SignalBlock

SettingsT = TypeVar("SettingsT", JsonWriterSettings, ZarrWriterSettings, TableSettings)


class DataWriterModule(Module[SettingsT]):
    """Opens its file at the first item; without items the dataset stays empty.

    Subclasses implement `open_file` and `write_item`. Lost items are counted at once, and
    written into the dataset with the next flush.
    """

    count_key = "row_count"
    """Name of the attribute with the number of rows."""

    saves = True
    """Whether the data is written, by the settings; items are counted in any case."""

    _dataset: Dataset | None = None
    _file: DataFile | None = None
    _rows = 0

    def open_file(self, dataset: Dataset, item: Any) -> DataFile:
        """Create the file for the first item, and register it in the dataset.

        Raises:
            ModuleError: The item or the metadata of the stream does not fit the file.
            StorageError: The file cannot be created.
        """
        raise NotImplementedError

    def write_item(self, item: Any) -> int:
        """Write an item to the file; return its number of rows.

        Raises:
            ModuleError: The item does not fit the file.
            StorageError: The disk is full or gone.
        """
        raise NotImplementedError

    def closing_attributes(self) -> dict[str, Any]:
        """Return additional attributes when the file is closed; None removes a key.

        Subclasses override it for counts that are known at the end.
        """
        return {}

    def prepare(self) -> None:
        """Check the name of the dataset before the run."""
        (self.port,) = self.context.inputs.values()
        self._losses = Losses()
        self._block_starts = Runs()
        self._dataset_name()

    def start(self) -> None:
        """Create the dataset, since the metadata of the source is complete now.

        There is none without a connection, with `save_data = false`, or in a run without recording.
        """
        self.port.on_item = self._on_item
        self.port.on_gap = self._on_gap
        if self.port.connected and self.saves:
            self._dataset = self.context.create_dataset(self._dataset_name())
        if self._dataset is not None:
            self._dataset.set_attribute("source_module", self.source)
            note_subscription(
                self._dataset, self.context.name, self.port.id, self.port.data_type.name
            )
            keep_stream_metadata(self._dataset, self.port.metadata)
            self._dataset.save()

    def run(self) -> None:
        """Write items, and flush the file when no items arrive."""
        while self.context.running:
            self.context.serve(int(self._flush() * 1e6) + 1)

    def stop(self) -> None:
        """Close the file; all items that were sent have been written."""
        self._finish()
        self.context.report("rows_written", self._rows)
        if self.port.data_type not in SIGNAL_BLOCKS:
            self.context.report("rows_lost", self._losses.lost)
            return
        # The rows of a block that did not arrive are not known.
        self.context.report("blocks_written", self._block_starts.count)
        self.context.report("blocks_lost", self._losses.lost)

    def close(self) -> None:
        """Close the file if `stop` was not called or failed."""
        self._finish()

    @property
    def source(self) -> str:
        """Name of the module that sends the stream."""
        return str(self.port.metadata.get("src_mod_name") or self.port.id)

    def file_stem(self, default: str) -> str:
        """Return the name of the file without extension: of the stream's proposal, or a default."""
        from_source = self.settings.use_name_from_source
        return file_stem(self.port.metadata, default, from_source=from_source)

    def _on_item(self, item: Any) -> None:
        self._block_starts.add(self._rows)
        if self._dataset is None:
            self._rows += item.rows if isinstance(item, SignalBlock) else 1
            return
        if self._file is None:
            self._open(self._dataset, item)
        self._rows += self.write_item(item)
        self._flush()

    def _open(self, dataset: Dataset, item: Any = None) -> None:
        """Create the file; its flushes follow the module's time."""
        waiting = self.context.waiting
        self._file = self.open_file(dataset, item)
        self._file.follow(lambda: waiting.now_ns() / 1e9)

    def _on_gap(self, lost: int) -> None:
        self._losses.add(lost, after=self._rows, time_usec=self.context.clock.now_usec())

    def _flush(self) -> float:
        if self._file is None or self._dataset is None:
            return FLUSH_INTERVAL_S
        left = self._file.flush_if_due()
        if self._losses.unsaved and left >= FLUSH_INTERVAL_S:
            self._save(self._dataset)
        return left

    def _save(self, dataset: Dataset) -> None:
        self._losses.write_to(dataset)
        dataset.save()

    def _finish(self) -> None:
        dataset, self._dataset = self._dataset, None
        if dataset is None:
            return
        try:
            if self._file is not None:
                self._file.close()
        finally:
            for key, value in self.closing_attributes().items():
                dataset.set_attribute(key, value)
            dataset.set_attribute(self.count_key, self._rows)
            if self.port.data_type in SIGNAL_BLOCKS:
                dataset.set_attribute("block_count", self._block_starts.count)
                dataset.set_attribute("block_start_runs", self._block_starts.attribute())
            self._save(dataset)

    def _dataset_name(self) -> str:
        return dataset_name(
            self.port.metadata,
            from_source=self.settings.use_name_from_source,
            own_name=self.settings.data_name,
            module_name=self.context.name,
            setting="data_name",
        )
