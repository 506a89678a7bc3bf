"""What settings mean, from their classes: for `mlink modules`, docs/modules.md, and editors."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from mlink.module import ModuleType

_REF: Final = "#/$defs/{name}"
_BOUNDS: Final = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}


class Setting(NamedTuple):
    """One key of a table in a bench file, in words.

    Keys inside it follow it: `stages[].order`, `trigger.line`.
    """

    key: str
    type: str
    required: bool
    default: Any
    range: str
    """Such as "1 to 20"; "" where the type says all, or the meaning does."""
    meaning: str

    @property
    def default_text(self) -> str:
        """The default as TOML; "required", or "(none)" where its absence is a value of its own."""
        if self.required:
            return "required"
        return "(none)" if self.default is None else toml_text(self.default)


def settings_of(kind: type, before: str = "") -> Iterator[Setting]:
    """Yield the settings of a class, each followed by those inside it."""
    texts = meanings(kind)
    for field in msgspec.structs.fields(kind):
        key, default = before + field.encode_name, field.default
        if default is msgspec.NODEFAULT:
            default = None if field.required else field.default_factory()
        yield Setting(
            key,
            type_text(field.type),
            field.required,
            default,
            range_text(field.type),
            texts.get(field.name, ""),
        )
        for inner, suffix in _structs_in(field.type):
            yield from settings_of(inner, f"{key}{suffix}.")


def _structs_in(annotation: Any, suffix: str = "") -> Iterator[tuple[type, str]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation, suffix
    origin = get_origin(annotation)
    suffix += {list: "[]", tuple: "[]", dict: ".NAME"}.get(origin, "")
    for each in get_args(annotation):
        yield from _structs_in(each, suffix)


def type_text(annotation: Any) -> str:
    """Return a type in the words of a bench file, such as `"a" | "b"` or `table`."""
    from types import NoneType, UnionType
    from typing import Annotated, Literal, Union

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
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)):
        return "table"
    return "any" if annotation is Any else str(getattr(annotation, "__name__", annotation))


def range_text(annotation: Any) -> str:
    """Return the range of a number in words, also of the numbers in a list or table."""
    found: dict[str, Any] = {}
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, msgspec.Meta):
            found |= {word: n for word in _BOUNDS if (n := getattr(each, word)) is not None}
    if set(found) == {"ge", "le"}:
        return f"{found['ge']} to {found['le']}"
    if found:
        return ", ".join(_BOUNDS[word].format(value) for word, value in found.items())
    inside = (range_text(each) for each in get_args(annotation) if each is not annotation)
    return next(filter(None, inside), "")


def toml_text(value: object) -> str:
    """Return a default as it would be written in a bench file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_text, value))}]"
    return str(value)


def meanings(settings: type) -> dict[str, str]:
    """Return the text below each field in the source of a class and its bases, on one line.

    A class without source, and a field without text, have none.
    """
    found: dict[str, str] = {}
    for each in reversed(settings.__mro__):
        if not issubclass(each, msgspec.Struct) or each is msgspec.Struct:
            continue
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                match text:
                    case ast.Expr(ast.Constant(str(value))):
                        found[field.target.id] = " ".join(value.split())
    return found


def bench_schema(types: list[ModuleType]) -> dict[str, Any]:
    """Return a JSON schema of bench files with these types of modules, for editors.

    It is wider than `mlink check`: other packages may add tables, and a script declares its ports.
    """
    from mlink.bench.hosts import Host
    from mlink.bench.load import Head, View
    from mlink.bench.subject import Subject
    from mlink.storage.place import Storage

    classes: list[type] = [Head, Host, Subject, Storage, View, *{type_.settings for type_ in types}]
    _, components = msgspec.json.schema_components(classes, ref_template=_REF)
    for kind in classes:
        _describe(components[kind.__name__], meanings(kind))
    modules = [_module(type_, components[type_.settings.__name__]) for type_ in types]
    host = {"anyOf": [{"type": "string"}, {"$ref": _REF.format(name="Host")}]}
    subject = {"$ref": _REF.format(name="Subject")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A bench of mlink",
        "type": "object",
        "properties": {
            "bench": {"$ref": _REF.format(name=Head.__name__)},
            "devices": {"type": "object", "additionalProperties": {"type": "string"}},
            "modules": {"type": "object", "additionalProperties": {"oneOf": modules}},
            "subject": {"anyOf": [subject, {"type": "array", "items": subject}]},
            "hosts": {"type": "object", "additionalProperties": host},
            "view": {"$ref": _REF.format(name=View.__name__)},
            "storage": {"$ref": _REF.format(name="Storage")},
        },
        "required": ["modules"],
        "$defs": components,
    }


def _describe(schema: dict[str, Any], texts: dict[str, str]) -> None:
    for key, text in texts.items():
        if key in schema.get("properties", {}):
            schema["properties"][key]["description"] = text


def _module(type_: ModuleType, settings: dict[str, Any]) -> dict[str, Any]:
    source = {"type": "string", "pattern": r"^[^.]+\..+$", "description": '"module.port"'}
    link = {
        "type": "object",
        "properties": {
            "from": source,
            "queue": {"type": "integer", "minimum": 1},
            "codec": {"enum": ["raw", "jpeg"], "description": "Of frames between hosts."},
            "policy": {"enum": ["all", "newest"], "description": "Of streams between hosts."},
        },
        "required": ["from"],
    }
    properties: dict[str, Any] = {
        "type": {"enum": [type_.id, *type_.aliases]},
        "host": {"type": "string", "description": "A key of [hosts]; this machine without."},
        "inputs": {"type": "object", "additionalProperties": {"anyOf": [source, link]}},
    }
    if type_.uses_device:
        properties["device"] = {"type": "string", "description": "A key of [devices]."}
    return {
        "title": type_.title,
        "description": type_.summary,
        "type": "object",
        "properties": properties | settings.get("properties", {}),
        "required": ["type", *settings.get("required", [])],
        "additionalProperties": False,
    }
