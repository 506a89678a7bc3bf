"""Streams of a bench that nothing records, and the recorders of `record = "all"` for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mlink.bench.file import Table
from mlink.bench.module import ModuleConfig
from mlink.catalog import module_type
from mlink.module import Category, PortSpec
from mlink.types import DataType

RECORDERS: Final[Mapping[DataType, tuple[str, Table]]] = {
    DataType.Frame: ("videorecorder", {}),  # it makes a folder of its own for each source
    DataType.TableRow: ("table", {"use_name_from_source": False}),
    **{
        signals: ("jsonwriter", {"input_type": signals.name, "use_name_from_source": False})
        for signals in (
            DataType.LineReading,
            DataType.SignalBlockF32,
            DataType.SignalBlockI32,
            DataType.SignalBlockU16,
        )
    },
}
"""Recorder of each type of stream: module type and settings. Commands have none: what a board made
of them is among its readings and in the recording's attributes."""
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
        kind, settings = RECORDERS[port.data_type]
        stream = _UNSAFE.sub("-", f"{name}-{port.id}")
        recorder, number = f"record-{stream}"[:_LONGEST], 1
        while recorder in modules or recorder in tables:
            number += 1
            recorder = f"record-{number}-{stream}"[:_LONGEST]
        if "use_name_from_source" in settings:
            settings = {**settings, "data_name": stream}
        inputs = {_input(kind, settings, port.data_type): f"{name}.{port.id}"}
        host = {"host": modules[name].host} if modules[name].host else {}
        tables[recorder] = {"type": kind, "inputs": inputs, **host, **settings}
    return tables


def _input(kind: str, settings: Table, data_type: DataType) -> str:
    """Return the id of a recorder's input for a type of stream."""
    recorder = module_type(kind)
    inputs, _ = recorder.ports_for(recorder.settings(**settings))
    return next(port.id for port in inputs if port.data_type is data_type)
