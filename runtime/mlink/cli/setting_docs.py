"""What settings mean: the texts below the fields of settings classes, and a schema for editors."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from mlink.module import ModuleType

_REF: Final = "#/$defs/{name}"


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
    from mlink.bench.load import Head, View
    from mlink.bench.subject import Subject
    from mlink.storage.place import Storage

    classes: list[type] = [Head, Subject, Storage, View, *{type_.settings for type_ in types}]
    _, components = msgspec.json.schema_components(classes, ref_template=_REF)
    for kind in classes:
        _describe(components[kind.__name__], meanings(kind))
    modules = [_module(type_, components[type_.settings.__name__]) for type_ in types]
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
        "properties": {"from": source, "queue": {"type": "integer", "minimum": 1}},
        "required": ["from"],
    }
    properties: dict[str, Any] = {
        "type": {"enum": [type_.id, *type_.aliases]},
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
