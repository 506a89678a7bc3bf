"""Streams of a bench that nothing records, and the recorders of `record = "all"` for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mlink.bench.file import Table
from mlink.bench.module import ModuleConfig
from mlink.module import Category, PortSpec
from mlink.types import DataType

_JSON_INPUTS: Final = {
    DataType.LineReading: "lines-in",
    DataType.SignalBlockF32: "f32sig-in",
    DataType.SignalBlockI32: "i32sig-in",
    DataType.SignalBlockU16: "u16sig-in",
}
RECORDERS: Final[Mapping[DataType, tuple[str, str, Table]]] = {
    DataType.Frame: ("videorecorder", "frames-in", {}),
    DataType.TableRow: ("table", "rows", {"use_name_from_source": False}),
    **{
        data_type: (
            "jsonwriter",
            port,
            {"input_type": data_type.name, "use_name_from_source": False},
        )
        for data_type, port in _JSON_INPUTS.items()
    },
}
"""Recorder of each type of stream: module type, its input, its settings. Commands have none: what a
board made of them is among its readings and in the recording's attributes."""


_UNSAFE: Final = re.compile("[^A-Za-z0-9_-]")
_LONGEST: Final = 64
"""Characters of a module's name."""


def unrecorded(modules: Mapping[str, ModuleConfig]) -> list[tuple[str, PortSpec]]:
    """Return the outputs that could be recorded and that no recorder subscribes to.

    Args:
        modules: The modules of a bench, with their connections.

    Returns:
        Module name and port of each, in the order of the bench.
    """
    recorded = {
        (connection.source_module, connection.source_port)
        for module in modules.values()
        if module.type.category is Category.WRITER
        for connection in module.connections
    }
    return [
        (name, port)
        for name, module in modules.items()
        for port in module.outputs
        if port.data_type in RECORDERS and (name, port.id) not in recorded
    ]


def recorder_tables(modules: Mapping[str, ModuleConfig]) -> dict[str, Table]:
    """Return a `[modules]` table with a recorder for each stream that nothing records.

    Args:
        modules: The modules of a bench, with their connections.
    """
    tables: dict[str, Table] = {}
    for name, port in unrecorded(modules):
        kind, own_port, settings = RECORDERS[port.data_type]
        stream = _UNSAFE.sub("-", f"{name}-{port.id}")
        recorder, number = f"record-{stream}"[:_LONGEST], 1
        while recorder in modules or recorder in tables:
            number += 1
            recorder = f"record-{number}-{stream}"[:_LONGEST]
        table: Table = {"type": kind, "inputs": {own_port: f"{name}.{port.id}"}, **settings}
        if kind != "videorecorder":  # which makes a folder of its own for each source
            table["data_name"] = stream
        tables[recorder] = table
    return tables
