"""Puts a tap into a bench: one more module, with one input for each stream."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.module import Connection, ModuleConfig
from mlink.errors import ModuleError
from mlink.module import VALUES_PORT, Category, ModuleType, PortSpec
from mlink.tap.catalog import TapSettings, TapStream, beside_port, tap_type
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
    commanded: Sequence[TapStream] = (),
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
        commanded: Inputs to which it sends, as `with_second_sources` has prepared them.

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
    settings = TapSettings(
        socket=str(socket), streams=tapped, driven=tuple(driven), commanded=tuple(commanded)
    )
    inputs, outputs = tap.ports_for(settings)
    connections = []
    for port in inputs:
        module, _, output = port.id.partition(".")  # a module's name holds no dot
        connections.append(Connection(port.id, module, output))
    config = ModuleConfig(tap.id, tap, settings, None, tuple(connections), inputs, outputs)
    return replace(bench, modules={**bench.modules, tap.id: config})


def commandable(bench: Bench, *, repeatable: bool = False) -> list[TapStream]:
    """Return the inputs that a person may command: those of line and control commands.

    Recorders take commands to record them, except for those that are controlled by them. A script
    has one for the values that it offers.

    Args:
        bench: The bench.
        repeatable: Only what a script's journal has, so that a replay has it, too: values.
    """
    values = [
        TapStream(f"{module.name}.{VALUES_PORT}", DataType.ControlCommand)
        for module in bench.modules.values()
        if module.type.category is Category.SCRIPT
    ]
    if repeatable:
        return values
    return values + [
        TapStream(f"{module.name}.{port.id}", port.data_type)
        for module in bench.modules.values()
        for port in module.inputs
        if port.data_type is DataType.ControlCommand
        or (port.data_type is DataType.LineCommand and module.type.category is Category.DEVICE)
        if not port.beside
    ]


def with_second_sources(bench: Bench, commanded: Sequence[TapStream], tap: ModuleType) -> Bench:
    """Return the bench in which inputs take what a tap sends beside what they have.

    Args:
        bench: The bench; it is not changed.
        commanded: The inputs.
        tap: The type of tap; `add_tap` adds it next.
    """
    modules = dict(bench.modules)
    for each in commanded:
        name, _, port = each.stream.partition(".")
        module, beside = modules[name], beside_port(port)
        connection = Connection(beside, tap.id, each.stream, order="never")
        modules[name] = replace(
            module,
            connections=(*module.connections, connection),
            inputs=(*module.inputs, PortSpec(beside, each.data_type, beside=port)),
            outputs=(*module.outputs, PortSpec(beside, DataType.TableRow, beside=port)),
        )
    return replace(bench, modules=modules)
