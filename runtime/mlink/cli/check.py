"""`mlink check`: find the errors of a bench without running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlink.bench.file import Problems, bench_path, read_toml
from mlink.bench.record_all import unrecorded
from mlink.bench.tables import provider_of, try_tables
from mlink.cli.options import AsJson, BenchHere, DevicesFile, KindOfTime, Overrides
from mlink.cli.terminal.output import ExitCode, counted, plain_table, print_json, table_console
from mlink.devices import DeviceTrial
from mlink.errors import Problem
from mlink.module import Category

if TYPE_CHECKING:
    from rich.table import Table

    from mlink.bench import Bench, ModuleConfig
    from mlink.cli.check_scripts import Handle
    from mlink.devices import TablePart


def check(
    bench: BenchHere = Path(),
    devices: DevicesFile = None,
    overrides: Overrides = None,
    time: KindOfTime = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="Ask other hosts without keys: agents with --open.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List the errors of a bench, or its modules and streams; load the code of its modules."""
    from mlink.errors import BenchError

    found = examine(bench, devices=devices, overrides=overrides or (), time=time)
    if found.bench is not None and found.bench.on_hosts and not found.problems:
        ask_hosts(found, found.bench, plain=is_open)
    if json:
        print_json(
            {
                "problems": found.problems,
                "warnings": [line for line, warns in found.lines if warns],
                "unrecorded": found.unrecorded,
            }
        )
    elif found.problems:
        listed = Problems(bench_path(bench))
        listed.add_all(found.problems)
        only = found.problems[0] if len(found.problems) == 1 else None
        if only is not None and not only.where:
            raise BenchError(only.what, remedy=only.remedy)
        raise listed.as_error()
    elif found.bench is not None:
        _print(found.bench, found.lines, found.unrecorded)
    if found.problems:
        raise typer.Exit(ExitCode.WRONG_INPUT)


@dataclass
class Examined:
    """What is wrong with a bench, and what may be."""

    bench: Bench | None = None
    """None where it cannot be loaded."""
    problems: list[Problem] = field(default_factory=list)
    lines: list[tuple[str, bool]] = field(default_factory=list)
    """Each with whether it is a warning."""
    unrecorded: list[str] = field(default_factory=list)


def examine(
    path: Path,
    *,
    devices: Path | None = None,
    overrides: Sequence[str] = (),
    time: Literal["real", "virtual"] | None = None,
) -> Examined:
    """Find all that is wrong with a bench at once, without a run; arguments as `load_bench`."""
    from mlink.bench import load_bench
    from mlink.cli.check_scripts import look_into, scripts_in, scripts_of
    from mlink.cli.check_videos import video_lines
    from mlink.engine.virtual_time.costs import costs_of
    from mlink.errors import BenchError, MlinkError

    found = Examined()
    try:
        bench = found.bench = load_bench(path, devices=devices, overrides=overrides, time=time)
        scripts = scripts_of(bench)
    except BenchError as error:
        found.problems += error.problems or [Problem("", error.message, error.remedy)]
        try:
            file = bench_path(path)
            scripts = scripts_in(read_toml(file), file.parent)
        except BenchError:
            return found
    looked = [look_into(script) for script in scripts]
    found.problems += [problem for each in looked for problem in each.problems]
    found.lines += [(line, True) for each in looked for line in each.warnings]
    if found.bench is None:
        return found
    for module in bench.modules.values():
        try:
            module.type.load()
        except MlinkError as error:
            place = f"[modules.{module.name}]"
            found.problems.append(Problem(place, error.message, error.remedy))
    try:
        if bench.time == "virtual":
            costs_of(bench)
    except BenchError as error:
        found.problems += error.problems or [Problem("", error.message, error.remedy)]
    found.problems += try_tables(bench)
    for script, each in zip(scripts, looked, strict=True):
        found.lines += line_lines(bench, script.module, each.handles)
    found.lines += [*device_lines(bench), *video_lines(bench)]
    found.unrecorded += [f"{name}.{port.id}" for name, port in unrecorded(bench.modules)]
    return found


def ask_hosts(found: Examined, bench: Bench, *, plain: bool) -> None:
    """Ask the hosts of a bench whether they can run their parts; one that is away is a warning.

    Args:
        found: Receives what is wrong.
        bench: The bench.
        plain: Whether they are reached without keys.
    """
    from mlink.errors import MlinkError
    from mlink.hosts.link.calls import Calls
    from mlink.hosts.run.start import check_hosts, controller_of

    try:
        session = controller_of(bench, plain=plain)
    except MlinkError as error:
        found.lines.append((f"hosts are not asked: {error.message} → {error.remedy}", True))
        return
    with session:
        try:
            found.lines += [(line, True) for line in check_hosts(bench, Calls(session))]
        except MlinkError as error:
            found.problems.append(Problem("[hosts]", error.message, error.remedy))


def line_lines(bench: Bench, script: str, handles: list[Handle]) -> list[tuple[str, bool]]:
    """Return a warning for each line that a script commands, and that its board has not."""
    lines: list[tuple[str, bool]] = []
    for handle in handles:
        for module in bench.modules.values():
            sources = {(each.source_module, each.source_port) for each in module.connections}
            if (script, handle.port) not in sources or module.device is None:
                continue
            spec = bench.device_spec(module.device)
            provider = provider_of(spec)
            servo = handle.line in getattr(module.settings, "servo_lines", ())
            if isinstance(provider, DeviceTrial) and (
                why := provider.wrong_line(
                    spec, handle.line, output=handle.output, analog=handle.analog and not servo
                )
            ):
                lines.append((f"{handle.place}: {why}", True))
    return lines


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
    """Return a warning for each device that is not there, or that two modules open."""
    users: dict[str, list[ModuleConfig]] = {}
    for module in bench.modules.values():
        here = module.device is not None and not module.host
        if here and module.device and module.type.category is Category.DEVICE:
            users.setdefault(bench.device_spec(module.device), []).append(module)
    lines: list[tuple[str, bool]] = []
    for spec, modules in users.items():
        absent = modules[0].type.absent_device
        if absent is not None and (why := absent(spec)):
            lines.append((f"{modules[0].name}: {why} (mlink devices lists them)", True))
        if len(modules) > 1 and spec.startswith("/"):
            names = " and ".join(module.name for module in modules)
            lines.append((f"{names} use the same device, {spec}", True))
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
