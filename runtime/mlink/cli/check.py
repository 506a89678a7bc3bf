"""`mlink check`: find the errors of a bench without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlink.cli.options import BenchHere, DevicesFile, KindOfTime, Overrides
from mlink.cli.output import counted, plain_table, table_console

if TYPE_CHECKING:
    from rich.table import Table

    from mlink.bench import Bench, ModuleConfig
    from mlink.devices import TablePart


def check(
    bench: BenchHere = Path(),
    devices: DevicesFile = None,
    overrides: Overrides = None,
    time: KindOfTime = None,
) -> None:
    """List the errors of a bench, or its modules and streams; load the code of its modules."""
    from rich.text import Text

    from mlink.bench import load_bench
    from mlink.bench.record_all import unrecorded
    from mlink.bench.tables import describe_tables
    from mlink.cli.check_scripts import script_lines
    from mlink.cli.check_videos import video_lines

    checked = load_bench(bench, devices=devices, overrides=overrides or (), time=time)
    for module in checked.modules.values():
        module.type.load()
    streams = {
        (connection.source_module, connection.source_port)
        for module in checked.modules.values()
        for connection in module.connections
    }
    scripts = script_lines(checked)
    console = table_console()
    counts = (
        f": {counted(len(checked.modules), 'module')}, {counted(len(streams), 'connected stream')}"
    )
    if checked.time is not None:
        counts += f", {checked.time} time"
    console.print(Text("✔ ", style="green").append(checked.name, style="bold").append(counts))
    console.print(_table(checked))
    for line, warns in (*scripts, *video_lines(checked)):
        console.print(Text("● " if warns else "  ", "yellow").append(line, "" if warns else "dim"))
    if missing := [f"{name}.{port.id}" for name, port in unrecorded(checked.modules)]:
        console.print(Text(f"  not recorded: {', '.join(missing)}", "dim"))
    for scheme, parts in describe_tables(checked).items():
        console.print()
        console.print(_parts(scheme, parts))


def _table(bench: Bench) -> Table:
    from rich.text import Text

    table = plain_table("module", "type", "device", "inputs", "outputs")
    for module in bench.modules.values():
        device = "" if module.device is None else bench.device_spec(module.device)
        outputs = "\n".join(f"{port.id} ({port.data_type.name})" for port in module.outputs)
        cells = (module.name, module.type.id, device, _inputs(module), outputs)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _parts(scheme: str, parts: list[TablePart]) -> Table:
    from rich.text import Text

    table = plain_table(f"{scheme} part", "type", "wired to", "details")
    for part in parts:
        details = f"not used: {part.left_out}" if part.left_out else part.detail
        cells = (part.name, part.kind, "\n".join(part.wired), details)
        table.add_row(*(Text(cell) for cell in cells), style="dim" if part.left_out else "")
    return table


def _inputs(module: ModuleConfig) -> str:
    sources = {
        connection.port: f"{connection.source_module}.{connection.source_port}"
        for connection in module.connections
    }
    return "\n".join(
        f"{port.id} ← {sources[port.id]}" if port.id in sources else f"{port.id} (not connected)"
        for port in module.inputs
    )
