"""Lists what docs/api.md calls public: names with signatures, settings, commands, entry points.

    .venv/bin/python -m tests.support.public_surface > tests/unit/public_api.txt

writes the list of a release; between releases tests/unit/test_public_api.py compares with it.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import tomllib
import typing
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType, ModuleType

import msgspec
import typer

from mlink.bench import connections, lab, load, module
from mlink.catalog import module_types
from mlink.cli import app
from mlink.cli.terminal.output import ExitCode
from mlink_hil import board_choice, plugin
from mlink_hil.faults import check, kinds
from mlink_hil.scene import camera
from mlink_hil.wiring import table
from tests.support import ROOT
from tests.support.public_json import json_keys

MODULES = (
    "mlink.errors",
    "mlink.recording",
    "mlink.replay",
    "mlink.testing",
    "mlink.script",
    "syntalos_mlink",
    "mlink.module",
    "mlink.devices",
    "mlink.types",
    "mlink.metadata",
    "mlink.clock",
    "mlink.bench.companions",
    "mlink_drivers.camera.backend",
    "mlink_drivers.camera.contract",
    "mlink_drivers.firmata.extra",
    "mlink_hil.testing",
    "mlink_hil.dut",
    "mlink",  # last: what it only passes on is listed with the module that documents it
)
OURS = ("mlink", "mlink_drivers", "mlink_hil", "syntalos_mlink")


def surface() -> list[str]:
    """Return one line for each public thing, sorted."""
    parts = (_names, _settings, _tables, _devices, _commands, _exits, _fixtures, _entry_points)
    return sorted({line for part in parts for line in part()})


def _names() -> Iterator[str]:
    homes: dict[object, str] = {}
    for module_name in MODULES:
        module = import_module(module_name)
        for name in _public(module):
            value, path = getattr(module, name), f"{module_name}.{name}"
            defined = inspect.isclass(value) or inspect.isfunction(value)
            if defined and homes.setdefault(value, path) != path:
                yield f"{path} = {homes[value]}"
            else:
                yield from _described(path, value)


def _public(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _described(path: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"{path}{_constructor(value)}"
        yield from _members(path, value)
    elif inspect.isfunction(value):
        yield f"{path}{_signature(value)}"
    else:
        yield path


def _constructor(cls: type) -> str:
    if issubclass(cls, enum.Enum) or getattr(cls, "_is_protocol", False):
        return ""
    try:
        return _signature(cls)
    except ValueError:
        return ""


def _members(path: str, cls: type) -> Iterator[str]:
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] not in OURS:
            continue
        for name, annotation in inspect.get_annotations(base).items():
            found[name] = f": {_annotation(annotation)}"
        for name, value in vars(base).items():
            if text := _member(value):
                found[name] = text
    if issubclass(cls, enum.Enum):
        found |= {member.name: f" = {member.value!r}" for member in cls}
    yield from (f"{path}.{name}{text}" for name, text in found.items() if name[0] != "_")


def _member(value: object) -> str:
    if isinstance(value, property):
        returns = getattr(value.fget, "__annotations__", {}).get("return", "")
        return f": {_annotation(returns)}"
    if isinstance(value, staticmethod | classmethod):
        return _signature(value.__func__)
    return _signature(value) if isinstance(value, FunctionType) else ""


def _signature(value: typing.Any) -> str:
    signature = inspect.signature(value)
    parts, kinds = [], inspect.Parameter
    starred = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is kinds.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred |= parameter.kind in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL)
        stars = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        text = stars + parameter.name
        if parameter.annotation is not kinds.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not kinds.empty:
            text += f" = {_default(parameter.default)}"
        parts.append(text)
    returns = signature.return_annotation
    arrow = "" if returns is signature.empty else f" -> {_annotation(returns)}"
    return f"({', '.join(parts)}){arrow}"


def _annotation(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.replace("typing.Annotated[", "Annotated[")  # as from Python 3.13 on


def _default(value: object) -> str:
    if isinstance(value, enum.Enum):
        return str(value)
    return getattr(value, "__name__", None) or re.sub(r" at 0x\w+", "", repr(value))


def _settings() -> Iterator[str]:
    for kind in set(module_types().values()):
        if kind.implementation.partition(".")[0] not in OURS:
            continue
        yield from _fields(kind.id, kind.settings)
        for way, ports in (("input", kind.inputs), ("output", kind.outputs)):
            for port in ports:
                yield f"{way} {kind.id} {port.id}: {port.data_type.name}"


def _tables() -> Iterator[str]:
    """Yield the keys of a bench's tables other than the settings of modules."""
    yield from _fields("[bench-file]", load._File)
    yield from _fields("[devices-file]", lab._File)
    yield from _fields("[bench]", load.Head)
    yield from (f"setting [modules] {key}" for key in module._RESERVED)
    yield from _fields("inputs", connections._Input)
    for name, part in table.KINDS.items():
        yield f"setting [virtual] {name}"
        yield from _fields(f"[virtual] {name}", part)
    yield from _fields("[[faults]]", check._When)
    for name, fault in kinds.KINDS.items():
        yield f"setting [[faults]] {name}"
        yield from _fields(f"[[faults]] {name}", fault)


def _fields(where: str, struct: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        for kind in (field.type, *typing.get_args(field.type)):
            if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
                yield from _fields(f"{where} {field.encode_name}", kind)
        if inspect.isclass(field.type) and issubclass(field.type, msgspec.Struct):
            continue
        text = f"setting {where} {field.encode_name}: {_annotation(field.type)}"
        if not field.required:
            made = field.default_factory
            value = field.default if made is msgspec.NODEFAULT else made()
            text += f" = {_default(value)}"
        yield text


def _devices() -> Iterator[str]:
    """Yield the options that a device string has as a query."""
    yield from _fields("virtual:uno?", board_choice.BoardOptions)
    for option in (*camera.OPTIONS, *board_choice.LIGHT_OPTIONS):
        yield f"setting virtual:scene? {option}"


def _exits() -> Iterator[str]:
    yield from (f"exit code {code.name}: {code.value}" for code in ExitCode)


def _commands() -> Iterator[str]:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if any("--json" in parameter.opts for parameter in command.params):
            yield from (f"json mlink {name} {key}" for key in json_keys(name))
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                yield f"argument mlink {name} {parameter.name}"
            else:
                for option in (*parameter.opts, *parameter.secondary_opts):
                    yield f"option mlink {name} {option}"


def _fixtures() -> Iterator[str]:
    source = inspect.getsource(plugin)
    for name, value in vars(plugin).items():
        function = getattr(value, "__wrapped__", None)  # of a fixture's definition
        if name.startswith("_") or function is None:
            continue
        yield f"fixture {name}"
        returned = typing.get_type_hints(function, localns=_type_names(source))["return"]
        for given in (returned, *typing.get_args(returned)):
            if inspect.isclass(given) and given.__module__.partition(".")[0] in OURS:
                yield from (f"fixture {line}" for line in _members(name, given))
    for option in re.findall(r'"(--mlink-[a-z-]+)"', source):
        yield f"option pytest {option}"


def _type_names(source: str) -> dict[str, object]:
    """Return what a file imports from us for its annotations only."""
    return {
        alias.name: getattr(import_module(node.module), alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mlink")
        for alias in node.names
    }


def _entry_points() -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group, entries in project["entry-points"].items():
        yield from (f"entry point {group} {name}" for name in entries)


if __name__ == "__main__":
    print(*surface(), sep="\n")
