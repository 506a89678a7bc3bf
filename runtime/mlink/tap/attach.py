"""Puts a tap into a bench: one more module, with one input for each stream."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.module import Connection, ModuleConfig
from mlink.errors import ModuleError
from mlink.module import ModuleType
from mlink.tap.catalog import TapSettings, TapStream, tap_type
from mlink.types import DataType

_TAPPED = (DataType.LineReading, DataType.LineCommand, DataType.TableRow, DataType.Frame)


def add_tap(
    bench: Bench,
    socket: Path,
    driven: Sequence[str] = (),
    *,
    streams: bool = True,
    tap: ModuleType = tap_type,
    types: Collection[DataType] = _TAPPED,
) -> Bench:
    """Return the bench with a tap on its streams, by default of readings, commands, rows, frames.

    Args:
        bench: The bench; it is not changed.
        socket: Path at which a `TapLink` listens before the run starts.
        driven: Boards whose lines the subscriber drives; each gets an output of the tap named
            `drive_port(board)`, which the caller connects.
        streams: Whether it subscribes to anything; without, modules send as if there was no tap.
        tap: The type of tap; its id is the module's name, too.
        types: Types of the streams to which it subscribes.

    Raises:
        ModuleError: The bench has a module with the tap's name already.
    """
    if tap.id in bench.modules:
        raise ModuleError(f"{bench.path} has a module '{tap.id}' of its own", remedy="Rename it.")
    tapped = tuple(
        TapStream(f"{module.name}.{port.id}", port.data_type)
        for module in bench.modules.values()
        for port in module.outputs
        if streams and port.data_type in types
    )
    settings = TapSettings(socket=str(socket), streams=tapped, driven=tuple(driven))
    inputs, outputs = tap.ports_for(settings)
    connections = []
    for port in inputs:
        module, _, output = port.id.partition(".")  # a module's name holds no dot
        connections.append(Connection(port.id, module, output))
    config = ModuleConfig(tap.id, tap, settings, None, tuple(connections), inputs, outputs)
    return replace(bench, modules={**bench.modules, tap.id: config})
