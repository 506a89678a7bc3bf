"""Reads bench files: TOML in, plain tables and typed structs out, problems named by file and key.

Knows the syntax only. The meaning of modules, ports and devices is checked by the other files of
`mlink.bench`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from mlink.errors import BenchError
from mlink.errors import Problem as Problem
from mlink.proposals import proposal
from mlink.storage.manifest import parse_toml

MAX_BYTES = 1 << 20
"""Largest bench file in bytes; the limit bounds time and memory."""

_MAX_DEPTH = 32
_MAX_LISTED = 20
_INT_RANGE = range(-(1 << 63), 1 << 63)
_FLAT_TABLES = (("bench",), ("devices",), ("storage",), ("subject",))
"""Tables that hold values; the others, such as `[modules]`, hold a table for each name."""
_WHERE_IN_MESSAGE = re.compile(r" - at `(key in )?\$(?P<path>.*)`$", re.DOTALL)

COMMAND_LINE = "--set"

StructT = TypeVar("StructT", bound=msgspec.Struct)
Table = dict[str, Any]


class Problems:
    """Collects the problems of a file, so that all are reported at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[Problem] = []

    def add(self, where: str, what: str, remedy: str = "") -> None:
        """Add a problem."""
        self._found.append(Problem(where, what, remedy))

    def add_all(self, found: Iterable[Problem]) -> None:
        """Add problems that a check has returned."""
        self._found += found

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def raise_if_any(self) -> None:
        """Raise one BenchError that lists all problems; return if there are none.

        Raises:
            BenchError: There is at least one problem.
        """
        if self._found:
            raise self.as_error()

    def as_error(self) -> BenchError:
        """Return one error that lists all problems (the first 20); there must be at least one."""
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
    """Names keys of a bench as their author wrote them: "[modules.cam] size", "--set cam.size".

    Args:
        overridden: Keys of modules, as (module, key), that were given elsewhere: COMMAND_LINE,
            or the path of another file.
        prefix: Keys above those that are named.
    """

    def __init__(
        self, overridden: Mapping[tuple[str, ...], str] = {}, prefix: tuple[str, ...] = ()
    ) -> None:
        self._overridden = overridden
        self._prefix = prefix

    def below(self, *keys: str) -> Places:
        """Return an object that names keys below these keys."""
        return Places(self._overridden, (*self._prefix, *keys))

    def __call__(self, *keys: str) -> str:
        """Return the name of a path of keys; "" for no key."""
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
    """Return a value for a message: quoted, at most 60 characters, on one line.

    A value of a bench file may hold anything: control characters are escaped.
    """
    text = value if isinstance(value, str) else repr(value)
    if len(text) > 60:
        text = text[:59] + "…"
    return f"'{text}'" if text.isprintable() else repr(text)


def key_path(*keys: str) -> str:
    """Join keys by dots; a key that TOML would quote is quoted."""
    return ".".join(key if re.fullmatch(r"[\w\[\]-]{1,60}", key) else shown(key) for key in keys)


def read_toml(path: Path) -> Table:
    """Read a TOML file.

    Raises:
        BenchError: The file is absent, larger than 1 MiB, not TOML, or nested too deeply.
    """
    text = _read_text(path)
    try:
        table = parse_toml(text)
    except RecursionError as error:
        raise BenchError(f"{path}: tables or lists are nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and int() of thousands of digits
        what = f"{path} is not valid TOML: {error}{_quoted(text, error)}"
        raise BenchError(what, remedy=_syntax_help(error)) from None
    check_values(path, table)
    return table


def bench_path(path: Path) -> Path:
    """Return the bench file of a path.

    Args:
        path: A bench file; or a folder, or a script, with a `bench.toml` in it or beside it.

    Returns:
        The path of the file, which need not exist: `read_toml` reports that.
    """
    try:
        if path.suffix == ".py" and path.is_file():
            return _bench_of_script(path)
        return path / "bench.toml" if path.is_dir() else path
    except (OSError, ValueError):  # reported when the file is read
        return path


def _bench_of_script(script: Path) -> Path:
    beside = script.parent / "bench.toml"
    if beside.is_file() and script.name in _read_text(beside):
        return beside
    raise BenchError(
        f"{script} is a script, and no bench.toml beside it names it",
        remedy="Give the bench that runs it, or make one: mlink new script NAME.",
    )


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise BenchError(
                f"there is no file {path}",
                remedy=_there_is(path),
            )
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BenchError(
                f"{path} is larger than {MAX_BYTES >> 20} MiB", remedy="Is this a bench file?"
            )
        # tomllib counts lines by "\n"; it accepts "\r\n" but no byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(
            f"{path} is not UTF-8 text (byte {error.start})", remedy="Save it as UTF-8."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise BenchError(f"{shown(str(path))} cannot be read: {error}") from error


def _there_is(path: Path) -> str:
    """Return a remedy that names the benches beside a path that does not exist."""
    folder = path.parent
    files = [each.name for each in islice(folder.glob("*.toml"), _MAX_LISTED)]
    folders = [each.parent.name for each in islice(folder.glob("*/bench.toml"), _MAX_LISTED)]
    known = [str(folder / name) for name in (*files, *folders) if name != "pyproject.toml"]
    if known:
        return proposal(str(path), known, "benches")
    return "Give the path of a bench (TOML), or make one: mlink new led-follows-button NAME."


def _quoted(text: str, error: ValueError) -> str:
    """Return the line that a message of the TOML parser is about, to show after it."""
    place = re.search(r"at line (\d+)", str(error))
    lines = text.split("\n")
    if place is None or not 0 < int(place[1]) <= len(lines):
        return ""
    return f": {shown(lines[int(place[1]) - 1].strip())}"


def _syntax_help(error: ValueError) -> str:
    text = str(error)
    if "overwrite" in text or "twice" in text or "mutate" in text:
        return "A key or table is given twice; keep one of them."
    if "Invalid value" in text:
        return "Put text values in double quotes; see https://toml.io."
    if "Unclosed" in text:
        return "Put commas between the values, and close the bracket; see https://toml.io."
    return "Correct the line; see https://toml.io."


def check_values(path: Path, table: Table) -> None:
    """Reject nesting that later code cannot recurse into, and numbers it cannot pack (64 bits).

    Raises:
        BenchError: A value is nested too deeply, or a number exceeds 64 bits.
    """
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
    """Parse a value of the command line as TOML; text that is no TOML value is a string.

    Numbers, booleans, lists and quoted strings keep their type; `60` is a number, `mono8` a string.

    Raises:
        BenchError: The value is nested too deeply, or a number exceeds 64 bits.
    """
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    if set(table) != {"value"}:  # the text holds a line break and more keys
        return text
    check_values(Path("--set"), table)
    return table["value"]


def set_value(table: Table, keys: list[str], value: object) -> bool:
    """Set a value under nested keys; return False when a key on the way holds no table."""
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            return False
    table[keys[-1]] = value
    return True


def merge(table: Table, over: Mapping[str, Any]) -> None:
    """Set the keys of `over` in `table`, table by table.

    A table in both is merged in the same way; any other value of `over` replaces that of `table`.
    """
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
    remedy: str = "`mlink modules` shows what fits.",
) -> StructT | None:
    """Convert a table to a typed struct.

    Args:
        table: The table, as TOML gives it.
        struct: The msgspec struct to make.
        problems: Receives everything that is wrong in the table.
        where: Names the keys of the table in messages.
        reserved: Keys that other code reads; proposed for a misspelt key.
        remedy: Where the user finds which values are valid.

    Returns:
        The struct; None when something is wrong.
    """
    before = len(problems)
    known = struct.__struct_encode_fields__
    for key in [key for key in table if key not in known]:
        problems.add(where(key), "unknown key", proposal(key, {*known, *reserved}, "keys"))
    left = {key: value for key, value in table.items() if key in known}
    while True:
        try:
            converted = msgspec.convert(left, struct)
            return converted if len(problems) == before else None
        except msgspec.ValidationError as error:
            keys, what = _explain(error)
            if keys or len(problems) == before:  # else: a required key that was removed below
                choices = _choices(struct, keys)
                valid = proposal(str(left[keys[0]]), choices, "values") if choices else remedy
                problems.add(where(*keys), what, valid)
            top = keys[0].partition("[")[0] if keys else ""
            if top not in left:
                return None
            del left[top]  # msgspec stops at the first problem: look for others


def _choices(struct: type[msgspec.Struct], keys: list[str]) -> list[str]:
    """Return the texts that a key of the table itself may have; empty where any may fit."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    texts = get_args(types.get(keys[0])) if len(keys) == 1 else ()
    return [each for each in texts if isinstance(each, str)]


def _explain(error: msgspec.ValidationError) -> tuple[list[str], str]:
    """Return (path of keys, what is wrong) from msgspec's message."""
    text = str(error)
    match = _WHERE_IN_MESSAGE.search(text)
    # msgspec writes "[...]" for a key of a free table.
    path = match["path"].replace("[...]", "").strip(".") if match else ""
    keys = path.split(".") if path else []
    what = _WHERE_IN_MESSAGE.sub("", text).replace("`", "'")
    what = what.replace(" | null", "")
    if re.fullmatch(r"Expected '(int|float)', got 'str'", what):
        what += ": a number has no quotes"
    missing = re.fullmatch(r"Object missing required field '(.*)'", what)
    if missing:
        return keys, f"'{missing[1]}' is missing"
    return keys, what[:1].lower() + what[1:]
