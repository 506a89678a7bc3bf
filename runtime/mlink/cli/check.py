"""`mlink check`: find the errors of a bench without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlink.bench.record_all import unrecorded
from mlink.cli.options import AsJson, BenchHere, DevicesFile, KindOfTime, Overrides
from mlink.cli.terminal.output import ExitCode, counted, plain_table, print_json, table_console
from mlink.module import Category

if TYPE_CHECKING:
    from rich.table import Table

    from mlink.bench import Bench, ModuleConfig
    from mlink.devices import TablePart


def check(
    bench: BenchHere = Path(),
    devices: DevicesFile = None,
    overrides: Overrides = None,
    time: KindOfTime = None,
    json: AsJson = False,
) -> None:
    """List the errors of a bench, or its modules and streams; load the code of its modules."""
    from mlink.bench import load_bench
    from mlink.cli.check_scripts import script_lines
    from mlink.cli.check_videos import video_lines
    from mlink.engine.virtual_time.costs import costs_of
    from mlink.errors import BenchError, Problem

    problems: list[Problem] = []
    lines: list[tuple[str, bool]] = []
    missing: list[str] = []
    try:
        checked = load_bench(bench, devices=devices, overrides=overrides or (), time=time)
        for module in checked.modules.values():
            module.type.load()
        if checked.time == "virtual":
            costs_of(checked)
        lines += [*script_lines(checked), *device_lines(checked), *video_lines(checked)]
        missing += [f"{name}.{port.id}" for name, port in unrecorded(checked.modules)]
    except BenchError as error:
        if not json:
            raise
        problems += error.problems or [Problem("", error.message, error.remedy)]
    if json:
        warnings = [line for line, warns in lines if warns]
        found = {"problems": problems, "warnings": warnings, "unrecorded": missing}
        print_json(found)
        if problems:
            raise typer.Exit(ExitCode.WRONG_INPUT)
        return
    _print(checked, lines, missing)


def _print(bench: Bench, lines: list[tuple[str, bool]], missing: list[str]) -> None:
    from rich.text import Text

    from mlink.bench.tables import describe_tables

    console = table_console()
    streams = {
        (connection.source_module, connection.source_port)
        for module in bench.modules.values()
        for connection in module.connections
    }
    counts = (
        f": {counted(len(bench.modules), 'module')}, {counted(len(streams), 'connected stream')}"
    )
    if bench.time is not None:
        counts += f", {bench.time} time"
    console.print(Text("✔ ", style="green").append(bench.name, style="bold").append(counts))
    console.print(_table(bench))
    for line, warns in lines:
        console.print(Text("● " if warns else "  ", "yellow").append(line, "" if warns else "dim"))
    if missing:
        console.print(Text(f"  not recorded: {', '.join(missing)}", "dim"))
    for scheme, parts in describe_tables(bench).items():
        console.print()
        console.print(_parts(scheme, parts))


def device_lines(bench: Bench) -> list[tuple[str, bool]]:
    """Return a warning for each device file that is not there, or that two modules open."""
    users: dict[str, list[str]] = {}
    for module in bench.modules.values():
        if module.device is not None and module.type.category is Category.DEVICE:
            users.setdefault(bench.device_spec(module.device), []).append(module.name)
    lines: list[tuple[str, bool]] = []
    for spec, names in users.items():
        if not spec.startswith("/"):
            continue
        if not Path(spec.partition("?")[0]).exists():
            lines.append((f"{names[0]}: there is no {spec} now (mlink devices lists them)", True))
        if len(names) > 1:
            lines.append((f"{' and '.join(names)} use the same device, {spec}", True))
    return lines


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
