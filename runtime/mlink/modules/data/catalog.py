"""Module types of the writers for tables, JSON and Zarr; nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.types import DataType

_PORTS = {
    "SignalBlockF32": PortSpec("f32sig-in", DataType.SignalBlockF32, "Float Signals"),
    "SignalBlockI32": PortSpec("i32sig-in", DataType.SignalBlockI32, "Integer Signals"),
    "SignalBlockU16": PortSpec("u16sig-in", DataType.SignalBlockU16, "16-bit Signals"),
    "TableRow": PortSpec("rows-in", DataType.TableRow, "Rows"),
    "LineReading": PortSpec("lines-in", DataType.LineReading, "Line Readings"),
}


class TableSettings(ModuleSettings):
    """Settings of a `table` module."""

    use_name_from_source: bool = True
    """Name the dataset as the stream proposes, or after its source; if false, use `data_name`."""
    data_name: str = ""
    """Name of the dataset, without `use_name_from_source`."""
    save_data: bool = True
    """Whether to write the file at all."""
    display_data: bool = True
    """For compatibility with benches of Syntalos; has no effect."""


class JsonWriterSettings(ModuleSettings):
    """Settings of a `jsonwriter` module."""

    input_type: Literal[
        "SignalBlockF32", "SignalBlockI32", "SignalBlockU16", "TableRow", "LineReading"
    ] = "SignalBlockF32"
    """Type of the input stream; the module has the input of this type."""
    use_name_from_source: bool = True
    """Name the dataset as the stream proposes, or after its source; if false, use `data_name`."""
    data_name: str = ""
    """Name of the dataset, without `use_name_from_source`."""
    format: Literal["pandas-split", "extended-pandas"] = "pandas-split"
    """pandas and edlio read "pandas-split" by `orient="split"`. The extended format adds collection
    id, units and rate before the columns, which only edlio and mlink read."""
    record_all: bool = True
    """Record all channels; if false, only those in `recorded_entries`."""
    recorded_entries: list[str] = []
    """Names of the channels to record; they keep the order of the stream."""
    available_entries: list[str] = []
    """For compatibility with benches of Syntalos; has no effect."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Refuse an empty selection of channels.

        Returns:
            Each problem as "key: what".
        """
        if not self.record_all and not self.recorded_entries:
            return ["recorded_entries: name the channels to record, or set record_all = true"]
        return []


class ZarrWriterSettings(ModuleSettings):
    """Settings of a `zarrwriter` module."""

    input_type: Literal["SignalBlockF32", "SignalBlockI32", "SignalBlockU16", "LineReading"] = (
        "SignalBlockF32"
    )
    """Type of the input stream; the module has the input of this type."""
    use_name_from_source: bool = True
    """Name the dataset as the stream proposes, or after its source; if false, use `data_name`."""
    data_name: str = ""
    """Name of the dataset, without `use_name_from_source`."""


def writer_ports(settings: JsonWriterSettings | ZarrWriterSettings) -> Ports:
    """Return the single input that `input_type` selects."""
    return (_PORTS[settings.input_type],), ()


jsonwriter = ModuleType(
    id="jsonwriter",
    title="JSON Writer",
    summary="Writes signals, rows or line readings to a compressed JSON file that pandas reads.",
    category=Category.WRITER,
    settings=JsonWriterSettings,
    implementation="mlink.modules.data.jsonwriter:JsonWriterModule",
    ports=writer_ports,
    virtual_time=True,
)

zarrwriter = ModuleType(
    id="zarrwriter",
    title="Zarr Writer",
    summary="Writes signals or line readings to a Zarr v3 store (needs the extra `zarr`).",
    category=Category.WRITER,
    settings=ZarrWriterSettings,
    implementation="mlink.modules.data.zarrwriter:ZarrWriterModule",
    ports=writer_ports,
    virtual_time=True,
)

table = ModuleType(
    id="table",
    title="Table",
    summary="Writes table rows to a CSV file.",
    category=Category.WRITER,
    settings=TableSettings,
    implementation="mlink.modules.data.table:TableModule",
    inputs=(PortSpec("rows", DataType.TableRow, "Rows"),),
    virtual_time=True,
)
