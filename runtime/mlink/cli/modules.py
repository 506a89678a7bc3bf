"""`mlink modules`: the installed module types with their ports and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from mlink.cli.options import AsJson
from mlink.cli.terminal.output import print_json

if TYPE_CHECKING:
    from rich.console import Console

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
        "settings": settings_of(type_),
    }


def settings_of(type_: ModuleType) -> list[dict[str, Any]]:
    """Return the settings of a module type: key, type, and default or "required"."""
    import msgspec

    settings = []
    for field in msgspec.structs.fields(type_.settings):
        entry: dict[str, Any] = {"key": field.encode_name, "type": type_text(field.type)}
        if field.required:
            entry["required"] = True
        elif field.default is not msgspec.NODEFAULT:
            entry["default"] = field.default
        else:
            assert field.default_factory is not msgspec.NODEFAULT
            entry["default"] = field.default_factory()
        settings.append(entry)
    return settings


def type_text(annotation: Any) -> str:
    """Return a type in the words of a bench file, such as `"a" | "b"` or `table`."""
    from types import NoneType, UnionType
    from typing import Annotated, Literal, Union

    import msgspec

    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(args[0])
    if origin is Literal:
        return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in args)
    if origin in (Union, UnionType):
        return " | ".join(type_text(arg) for arg in args if arg is not NoneType)
    if origin in (list, tuple):
        inner = [type_text(arg) for arg in args if arg is not Ellipsis]
        return f"[{', '.join(inner)}{'' if len(inner) > 1 else ', …'}]"
    if origin is dict:
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return f"{{ {', '.join(annotation.__struct_encode_fields__)} }}"
    return str(getattr(annotation, "__name__", annotation))


def show(type_: ModuleType, console: Console, *, explain: bool = False) -> None:
    """Print one module type as text; with `explain` also what its settings mean."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

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
    for entry in settings_of(type_):
        default = "required" if "required" in entry else f"= {_toml(entry['default'])}"
        table.add_row(
            Text("setting", "dim"), Text(f"{entry['key']} {default}"), Text(entry["type"])
        )
    console.print(Padding(Text(type_.summary), (0, 0, 0, 2), expand=False))
    console.print(Padding(table, (0, 0, 1, 2), expand=False))
    if explain:
        _explain(type_, console)


def _explain(type_: ModuleType, console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from mlink.cli.setting_docs import meanings

    table = Table.grid(padding=(0, 2))
    for key, text in meanings(type_.settings).items():
        table.add_row(Text(key), Text(text))
    console.print(Padding(table, (0, 0, 1, 2), expand=False))


def _port(port: PortSpec) -> dict[str, str]:
    return {"id": port.id, "data_type": port.data_type.name, "title": port.title}


def _toml(value: object) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value)
