"""Writes the parts of the documentation that follow from the code.

    .venv/bin/python -m tests.support.reference

writes docs/script-api.md and docs/cli.md, and the tables of settings in docs/modules.md, whose
other text is written by hand. tests/unit/test_docs.py fails while a page is not what this writes.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import msgspec
import typer

import mlink.script
import mlink.testing
import mlink_hil.dut
import syntalos_mlink
from mlink.bench.load import Head, View
from mlink.bench.subject import Subject
from mlink.catalog import module_types
from mlink.cli import app
from mlink.cli.setting_docs import meanings, settings_of
from mlink.module import ModuleType, PortSpec
from mlink.storage.place import Storage
from tests.support import ROOT

TABLES = {"[bench]": Head, "[subject]": Subject, "[storage]": Storage, "[view]": View}
"""Tables of a bench file whose keys are fields of a class."""
_BLOCK = "<!-- written by tests.support.reference: {} -->"
_END = "<!-- end -->"
_OLD = re.compile(r"2\.x[;)]|standalone|Return a new 2\.x|2\.x command")
"""In the first lines of what is there for scripts of Syntalos 2.x."""
_WORDS = {"Args": "", "Attributes": "", "Returns": "Returns: ", "Raises": "Raises "}


def pages() -> dict[Path, str]:
    """Return what each page has to be."""
    docs = ROOT / "docs"
    return {
        docs / "modules.md": _modules((docs / "modules.md").read_text()),
        docs / "script-api.md": _script_api(),
        docs / "cli.md": _cli(),
    }


def _modules(page: str) -> str:
    types = {type_.id: type_ for type_ in module_types().values()}
    for name, type_ in sorted(types.items()):
        if _BLOCK.format(name) not in page:
            page += f"\n## {name}\n\n{_BLOCK.format(name)}\n{_END}\n"
        page = _filled(page, name, _module(type_))
    for name, kind in TABLES.items():
        page = _filled(page, name, _settings(kind))
    return page


def _filled(page: str, name: str, lines: Iterable[str]) -> str:
    head, begin, rest = page.partition(_BLOCK.format(name))
    _, end, rest = rest.partition(_END)
    assert end, f"docs/modules.md has no place for {name}"
    text = "\n".join(lines).strip()
    return f"{head}{begin}\n\n{text}\n\n{end}{rest}"


def _module(type_: ModuleType) -> Iterator[str]:
    yield f"{type_.summary.rstrip('.')}."
    yield ""
    for word, ports in (("Inputs", type_.inputs), ("Outputs", type_.outputs)):
        if ports:
            yield f"{word}: {', '.join(map(_port, ports))}."
            yield ""
    if type_.ports is not None:
        yield f"Its settings define {'further' if type_.inputs else 'its'} ports."
        yield ""
    if type_.uses_device:
        yield "It uses a `device`: a key of `[devices]`."
        yield ""
    yield from _settings(type_.settings)


def _port(port: PortSpec) -> str:
    return f"`{port.id}` ({port.data_type.name})"


def _settings(kind: type) -> Iterator[str]:
    rows = list(settings_of(kind))
    if not rows:
        return
    yield from ("", "| setting | type, range | default | meaning |", "| --- | --- | --- | --- |")
    for each in rows:
        type_ = "" if each.type == "any" else each.type.replace(" | ", ", ")
        values = ", ".join(filter(None, (type_, each.range)))
        default = "**required**" if each.required else _code(each.default_text)
        default = "" if each.default is None and not each.required else default
        meaning = each.meaning.replace("|", "\\|")
        yield f"| `{each.key}` | {values} | {default} | {meaning} |"


def _code(text: str) -> str:
    return f"`{text}`"


def _script_api() -> str:
    lines = [
        "# Names for scripts",
        "",
        "Written from the code by `tests/support/reference.py`. [Scripts](scripting.md) "
        "explains how they work together.",
        "",
        "## syntalos_mlink",
    ]
    names = {name: getattr(syntalos_mlink, name) for name in syntalos_mlink.__all__}
    old = {name for name, each in names.items() if _is_old(name, each)}
    for name, each in sorted(names.items(), key=lambda item: (isinstance(item[1], type), item[0])):
        if name not in old:
            lines += _entry(name, each)
    lines += ["", "### Names of Syntalos 2.x", ""]
    lines += [f"- `{name}`: {_first(names[name])}" for name in sorted(old)]
    for title, module, chosen in (
        ("mlink.script", mlink.script, mlink.script.__all__),
        ("mlink.testing", mlink.testing, ["ScriptRunner"]),
        ("mlink_hil.dut", mlink_hil.dut, ["Dut", "I2cDevice"]),
    ):
        lines += ["", f"## {title}", "", *_prose((module.__doc__ or "").partition("\n\n")[0])]
        for name in chosen:
            lines += _entry(name, getattr(module, name))
    return "\n".join(lines) + "\n"


def _is_old(name: str, each: Any) -> bool:
    return name != each.__name__ or bool(_OLD.search(_first(each)))


def _first(each: Any) -> str:
    return (inspect.getdoc(each) or "").partition("\n\n")[0].replace("\n", " ")


def _entry(name: str, each: Any, level: int = 3) -> Iterator[str]:
    """Yield the lines about a function or class."""
    yield from ("", f"{'#' * level} {name}", "")
    if isinstance(each, FunctionType):
        yield from (f"`{name}{_signature(each)}`", "", *_described(each))
        return
    if issubclass(each, enum.Enum):
        own = ", ".join(f"`{member}`" for member in each.__members__)
        yield from (*_described(each), "", f"Members: {own}.")
        return
    if issubclass(each, msgspec.Struct):
        fields = msgspec.structs.fields(each)
        shown = ", ".join(
            field.name + ("" if field.required else f"={_default(field)}") for field in fields
        )
        yield from (f"`{name}({shown})`", "", *_described(each))
        texts = meanings(each)
        yield from ([""] if any(field.name in texts for field in fields) else [])
        yield from (f"- `{f.name}`: {texts[f.name]}" for f in fields if f.name in texts)
    else:
        made = each.__dict__.get("__init__")
        yield from (f"`{name}{_signature(made)}`", "") if made else ()
        yield from _described(each)
    yield from _members(each)


def _default(field: msgspec.structs.FieldInfo) -> str:
    return "…" if field.default is msgspec.NODEFAULT else _plain(field.default)


def _plain(value: object) -> str:
    text = str(value) if isinstance(value, enum.Enum) else repr(value)
    return "…" if " at 0x" in text else text


def _members(each: type) -> Iterator[str]:
    for name, member in each.__dict__.items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield from ("", f"**`.{name}`**: {_first(member)}")
        elif isinstance(member, FunctionType | classmethod | staticmethod):
            function = member if isinstance(member, FunctionType) else member.__func__
            yield from ("", f"**`.{name}{_signature(function)}`**", "", *_described(function))


def _signature(function: Any) -> str:
    parameters = []
    starred = False
    for each in inspect.signature(function).parameters.values():
        if each.name in ("self", "cls"):
            continue
        if each.kind is each.KEYWORD_ONLY and not starred:
            starred = True
            parameters.append("*")
        prefix = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        default = "" if each.default is each.empty else f"={_plain(each.default)}"
        parameters.append(f"{prefix}{each.name}{default}")
    return f"({', '.join(parameters)})"


def _described(each: Any) -> Iterator[str]:
    """Yield a docstring of Google's style as Markdown."""
    text = inspect.getdoc(each) or ""
    parts = re.split(r"^(Args|Attributes|Returns|Raises):\n", text, flags=re.MULTILINE)
    yield from _prose(parts[0].strip())
    for word, body in zip(parts[1::2], parts[2::2], strict=True):
        yield ""
        yield from _items(_WORDS[word], inspect.cleandoc("\n" + body))


def _items(word: str, body: str) -> Iterator[str]:
    for item in re.split(r"\n(?! )", body):
        text = " ".join(item.split())
        key = re.match(r"(\*{0,2}\w+): ", text)
        if key and word != _WORDS["Returns"]:
            yield f"- {word}`{key[1]}`: {text[key.end() :]}"
        elif text:
            yield f"- {word}{text}"


def _prose(text: str) -> Iterator[str]:
    yield from text.split("\n")


def _cli() -> str:
    group: Any = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Written from the code by `tests/support/reference.py`; `--help` says the same.",
    ]
    for name, command in group.commands.items():
        lines += _command(f"mlink {name}", command)
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield from ("", f"## {name}", "", f"    {usage}", "", *_prose((command.help or "").strip()))
    rows = [
        (names, text)
        for each in command.params
        if not each.hidden and (record := each.get_help_record(context))
        for names, text in [record]
    ]
    if rows:
        yield from ("", "| | |", "| --- | --- |")
    for names, text in rows:
        shown = names.replace("|", " or ") if names[0] == "-" else names.partition(" ")[0]
        yield f"| `{shown}` | {' '.join(text.split()).replace('|', chr(92) + '|')} |"
    for sub, inner in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {sub}", inner)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
