"""Devices files: what a bench stands on in one laboratory, in the place of its own `[devices]`.

What that laboratory sets differently stands in tables `[modules.NAME]`, as in the bench. Beside
`[devices]` a file may hold tables of other packages; the runtime knows none by name. An entry point
of the group `mlink.lab_tables` is named like its table and is a `LabTableCheck`. What stands there
is then in `Bench.lab` for whoever wants it, so that one file serves all commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from mlink.bench.file import Places, Problem, Problems, Table, convert, read_toml
from mlink.bench.module import ModuleLoader
from mlink.catalog import lab_table, lab_table_names
from mlink.errors import MlinkError


class LabTableCheck(Protocol):
    """Returns what is wrong in a table of a devices file; `devices` are those of the file."""

    def __call__(self, given: Any, devices: Mapping[str, str]) -> list[Problem]:
        """Return all that is wrong."""
        ...


class Lab(NamedTuple):
    """A devices file: its tables, those of other packages as the file has them."""

    path: Path
    devices: dict[str, str]
    modules: dict[str, Table]
    """Keys that replace those of the bench's modules."""
    tables: dict[str, Any]


class _File(msgspec.Struct):
    devices: dict[str, Any]
    modules: dict[str, dict[str, Any]] = {}


def read_lab(path: Path) -> Lab:
    """Read and check a devices file; one BenchError tells all that is wrong with it."""
    problems, places = Problems(path), Places()
    table = read_toml(path)
    tables = {name: table.pop(name) for name in lab_table_names() if name in table}
    file = convert(table, _File, problems, places, reserved=lab_table_names())
    if file is None:
        raise problems.as_error()
    ModuleLoader(path.parent, file.devices, {}, places, problems).check_device_table()
    for name, given in tables.items():
        try:
            found = lab_table(name)(given, file.devices)
        except MlinkError as error:
            problems.add(f"[{name}]", error.message, error.remedy)
            continue
        for problem in found:
            problems.add(problem.where, problem.what, problem.remedy)
    problems.raise_if_any()
    return Lab(path, file.devices, file.modules, tables)
