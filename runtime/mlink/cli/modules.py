"""`mlink modules`: the installed module types with their ports and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlink.cli.options import AsJson
from mlink.cli.terminal.output import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from mlink.cli.setting_docs import Setting
    from mlink.module import ModuleType, PortSpec


def modules(
    name: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="Show this type only.", show_default="all")
    ] = None,
    install: Annotated[
        bool,
        typer.Option(
            "--install", help="Make the virtual environment that this type's module.toml asks for."
        ),
    ] = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print a JSON schema of bench files, for completion in editors."
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """List the module types with their ports and settings; of one type, what each setting means."""
    if install:
        _install(name)
        return
    from rich.console import Console

    from mlink.catalog import broken_types, module_type, module_types

    if name is None:
        types = list(dict.fromkeys(module_types().values()))
        broken = broken_types()
    else:
        types, broken = [module_type(name)], {}
    types.sort(key=lambda type_: type_.id)
    if schema:
        from mlink.cli.setting_docs import bench_schema

        print_json(bench_schema(types))
        return
    if json:
        print_json({"types": [as_plain(type_) for type_ in types], "broken": broken})
        return
    console = Console(highlight=False)
    for type_ in types:
        show(type_, console, explain=name is not None)
    for broken_name, reason in sorted(broken.items()):
        console.print(f"{broken_name}: cannot be loaded: {reason}", style="yellow", markup=False)


def _install(name: str | None) -> None:
    from mlink.errors import BenchError
    from mlink.modules.script.packages import make_environment

    if name is None:
        raise BenchError("--install needs a module type", remedy="mlink modules TYPE --install")
    made = make_environment(name)
    typer.echo("nothing to install" if made is None else f"made {made}")


def as_plain(type_: ModuleType) -> dict[str, Any]:
    """Return a module type as a value for JSON."""
    from mlink.cli.setting_docs import settings_of

    return {
        "id": type_.id,
        "title": type_.title,
        "summary": type_.summary,
        "category": type_.category.value,
        "aliases": list(type_.aliases),
        "uses_device": type_.uses_device,
        "ports_from_settings": type_.ports is not None,
        "inputs": [_port(port) for port in type_.inputs],
        "outputs": [_port(port) for port in type_.outputs],
        "settings": [each._asdict() for each in settings_of(type_.settings)],
    }


def show(type_: ModuleType, console: Console, *, explain: bool = False) -> None:
    """Print one module type as text; with `explain` also what its settings mean."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from mlink.cli.setting_docs import settings_of

    head = Text(type_.id, style="bold cyan").append(f"  {type_.title}", style="not bold")
    if type_.aliases:
        head.append(f" (also: {', '.join(type_.aliases)})", style="not bold dim")
    console.print(head)
    table = Table.grid(padding=(0, 2))
    for kind, ports in (("in", type_.inputs), ("out", type_.outputs)):
        for port in ports:
            table.add_row(Text(kind, "dim"), Text(port.id), Text(port.data_type.name, "green"))
    if type_.ports is not None:
        table.add_row(Text("ports", "dim"), Text("defined by its settings"))
    if type_.uses_device:
        table.add_row(Text("device", "dim"), Text("a key of [devices]"))
    if not explain:
        for each in settings_of(type_.settings):
            if "." not in each.key:
                text = f"{each.key} {_default(each)}"
                table.add_row(Text("setting", "dim"), Text(text), Text(each.type))
    console.print(Padding(Text(type_.summary), (0, 0, 0, 2), expand=False))
    console.print(Padding(table, (0, 0, 1, 2), expand=False))
    if explain:
        _explain(type_, console)


def _explain(type_: ModuleType, console: Console) -> None:
    """Print each setting with its type and range, and below it what it means."""
    from rich.padding import Padding
    from rich.text import Text

    from mlink.cli.setting_docs import settings_of

    for each in settings_of(type_.settings):
        depth = 2 + 2 * each.key.count(".")
        line = Text(each.key.rpartition(".")[2] if depth > 2 else each.key, "bold")
        line.append(f" {_default(each)}", "not bold")
        line.append(f"  {each.type}", "not bold green")
        line.append(f"  {each.range}" if each.range else "", "not bold")
        console.print(Padding(line, (0, 0, 0, depth), expand=False))
        console.print(Padding(Text(each.meaning), (0, 0, 0, depth + 4), expand=False))
    console.print()


def _default(setting: Setting) -> str:
    return f"{'' if setting.required else '= '}{setting.default_text}"


def _port(port: PortSpec) -> dict[str, str]:
    return {"id": port.id, "data_type": port.data_type.name, "title": port.title}
