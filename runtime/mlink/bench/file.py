"""Reading of bench files: TOML in, plain tables out, with every problem told by file and key.

Knows the syntax only; what modules, ports and devices mean is `mlink.bench`'s.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mlink.catalog import proposal
from mlink.errors import BenchError
from mlink.errors import Problem as Problem

MAX_BYTES = 1 << 20
"""Larger files are not benches; refusing them bounds time and memory."""

_MAX_DEPTH = 32
_MAX_LISTED = 20
_INT_RANGE = range(-(1 << 63), 1 << 63)
_FLAT_TABLES = (("bench",), ("devices",))
"""Tables of values; the others, as `[modules]`, hold a table for each name."""
_WHERE_IN_MESSAGE = re.compile(r" - at `(key in )?\$(?P<path>.*)`$", re.DOTALL)

COMMAND_LINE = "--set"

StructT = TypeVar("StructT", bound=msgspec.Struct)
Table = dict[str, Any]


class Problems:
    """Gathers what is wrong, so that a bench is corrected in one go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[Problem] = []

    def add(self, where: str, what: str, remedy: str = "") -> None:
        """Note a problem."""
        self._found.append(Problem(where, what, remedy))

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def raise_if_any(self) -> None:
        """Raise one BenchError that tells all problems."""
        if self._found:
            raise self.as_error()

    def as_error(self) -> BenchError:
        """Return one error that tells all problems."""
        if len(self._found) == 1:
            (only,) = self._found
            where = f"{self._path}: {only.where}".rstrip(": ")
            return BenchError(f"{where}: {only.what}", remedy=only.remedy, problems=self._found)
        lines = [f"{self._path} has {len(self._found)} problems:"]
        for problem in self._found[:_MAX_LISTED]:
            lines.append(f"  {problem.where}: {problem.what}")
            if problem.remedy:
                lines.append(f"    → {problem.remedy}")
        if len(self._found) > _MAX_LISTED:
            lines.append(f"  and {len(self._found) - _MAX_LISTED} more")
        return BenchError("\n".join(lines), problems=self._found)


class Places:
    """Names places in a bench as its author knows them: "[modules.cam] size", "--set cam.size".

    `overridden` tells which keys of modules, as (module, key), were given elsewhere: by
    COMMAND_LINE, or in a file of that name.
    """

    def __init__(
        self, overridden: Mapping[tuple[str, ...], str] = {}, prefix: tuple[str, ...] = ()
    ) -> None:
        self._overridden = overridden
        self._prefix = prefix

    def below(self, *keys: str) -> Places:
        """Return the same for keys under these keys."""
        return Places(self._overridden, (*self._prefix, *keys))

    def __call__(self, *keys: str) -> str:
        """Return the place of a path of keys."""
        path = (*self._prefix, *keys)
        source = self._overridden.get(path[1:3], "") if path[:1] == ("modules",) else ""
        if source == COMMAND_LINE:
            return f"{COMMAND_LINE} {key_path(*path[1:])}"
        if not path:
            return ""
        table = 1 if path[:1] in _FLAT_TABLES else 2
        place = f"[{key_path(*path[:table])}] {key_path(*path[table:])}".strip()
        return f"{place} of {source}" if source else place


def shown(value: object) -> str:
    """Return a value of the file as a message can hold it: quoted, short, on one line."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > 60:
        text = text[:59] + "…"
    return f"'{text}'" if text.isprintable() else repr(text)


def key_path(*keys: str) -> str:
    """Join keys as TOML writes them, within reason."""
    return ".".join(key if re.fullmatch(r"[\w\[\]-]{1,60}", key) else shown(key) for key in keys)


def read_toml(path: Path) -> Table:
    """Read a TOML file; BenchError when it is absent, too large, or not TOML."""
    text = _read_text(path)
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise BenchError(f"{path}: tables or lists are nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and int() of thousands of digits
        raise BenchError(f"{path} is not valid TOML: {error}", remedy=_syntax_help(error)) from None
    check_values(path, table)
    return table


def bench_path(path: Path) -> Path:
    """Return the bench file that a path means: itself, or the `bench.toml` of a folder."""
    try:
        return path / "bench.toml" if path.is_dir() else path
    except (OSError, ValueError):  # what is wrong is told when it is read
        return path


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise BenchError(
                f"there is no file {path}", remedy="Give the path of a bench file (TOML)."
            )
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BenchError(
                f"{path} is larger than {MAX_BYTES >> 20} MiB", remedy="Is this a bench file?"
            )
        # tomllib counts lines by "\n"; it takes "\r\n" but not a byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(
            f"{path} is not UTF-8 text (byte {error.start})", remedy="Save it as UTF-8."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise BenchError(f"{shown(str(path))} cannot be read: {error}") from error


def _syntax_help(error: ValueError) -> str:
    text = str(error)
    if "overwrite" in text or "twice" in text or "mutate" in text:
        return "A key or table stands there twice; keep one of them."
    if "Invalid value" in text:
        return "Text values stand in double quotes; see https://toml.io."
    return "Correct the line; see https://toml.io."


def check_values(path: Path, table: Table) -> None:
    """Refuse depths and numbers that later code, which may recurse or pack, cannot hold."""
    todo: list[tuple[object, int]] = [(table, 0)]
    while todo:
        value, depth = todo.pop()
        if depth > _MAX_DEPTH:
            raise BenchError(f"{path}: tables or lists are nested too deeply")
        if isinstance(value, dict):
            todo.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            todo.extend((item, depth + 1) for item in value)
        elif isinstance(value, int) and value not in _INT_RANGE:
            raise BenchError(f"{path}: the number {shown(value)} does not fit into 64 bits")


def parse_value(text: str) -> object:
    """Parse a value given on the command line: as TOML, a bare word as a string."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    if set(table) != {"value"}:  # a line break smuggled in more keys
        return text
    check_values(Path("--set"), table)
    return table["value"]


def set_value(table: Table, keys: list[str], value: object) -> bool:
    """Set a value under nested keys; False when a key on the way holds no table."""
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            return False
    table[keys[-1]] = value
    return True


def merge(table: Table, over: Mapping[str, Any]) -> None:
    """Set what `over` has; tables in it are merged as well."""
    for key, value in over.items():
        into = table.get(key)
        if isinstance(into, dict) and isinstance(value, dict):
            merge(into, value)
        else:
            table[key] = value


def convert(
    table: Table,
    struct: type[StructT],
    problems: Problems,
    where: Places,
    reserved: Iterable[str] = (),
) -> StructT | None:
    """Make a typed struct of a table; None when something was wrong, with all of it noted.

    `where` names places in the table. `reserved` keys may stand beside the
    struct's own; here they only serve as proposals.
    """
    before = len(problems)
    known = {field.encode_name for field in msgspec.structs.fields(struct)}
    for key in [key for key in table if key not in known]:
        problems.add(where(key), "unknown key", proposal(key, known.union(reserved), "keys"))
    left = {key: value for key, value in table.items() if key in known}
    while True:
        try:
            converted = msgspec.convert(left, struct)
            return converted if len(problems) == before else None
        except msgspec.ValidationError as error:
            keys, what = _explain(error)
            if keys or len(problems) == before:  # else: misses what was removed below
                problems.add(where(*keys), what, "`mlink modules` shows what fits.")
            top = keys[0].partition("[")[0] if keys else ""
            if top not in left:
                return None
            del left[top]  # look for what else is wrong


def _explain(error: msgspec.ValidationError) -> tuple[list[str], str]:
    """Return (path of keys, what is wrong) of msgspec's message."""
    text = str(error)
    match = _WHERE_IN_MESSAGE.search(text)
    # A key of a free table is "[...]" in msgspec's words, which tells nothing.
    path = match["path"].replace("[...]", "").strip(".") if match else ""
    keys = path.split(".") if path else []
    what = _WHERE_IN_MESSAGE.sub("", text).replace("`", "'")
    missing = re.fullmatch(r"Object missing required field '(.*)'", what)
    if missing:
        return keys, f"'{missing[1]}' is missing"
    return keys, what[:1].lower() + what[1:]
