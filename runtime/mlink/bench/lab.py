"""Devices files: the devices of one laboratory, which replace a bench's `[devices]` table.

Tables `[modules.NAME]` in it change settings of the bench's modules. Beside `[devices]` a file may
hold tables of other packages. An entry point of the group `mlink.lab_tables` has the name of its
table and is a `LabTableCheck`; the runtime knows none by name. The tables are kept in `Bench.lab`
for those packages, so that one file serves all commands.
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
    """Contract of a check of one table in a devices file."""

    def __call__(self, given: Any, devices: Mapping[str, str]) -> list[Problem]:
        """Return all problems in a table.

        Args:
            given: The table, as TOML gives it.
            devices: The file's devices: key → device string.
        """


class Lab(NamedTuple):
    """A checked devices file.

    Its `[devices]` table replaces that of the bench.
    """

    path: Path
    devices: dict[str, str]
    modules: dict[str, Table]
    """Keys that replace those of the bench's modules."""
    tables: dict[str, Any]
    """Tables of other packages by name, as in the file."""


class _File(msgspec.Struct):
    devices: dict[str, Any]
    modules: dict[str, dict[str, Any]] = {}


def read_lab(path: Path) -> Lab:
    """Read and check a devices file.

    Raises:
        BenchError: The file cannot be read or is invalid; the message lists all problems.
    """
    problems, places = Problems(path), Places()
    table = read_toml(path)
    tables = {name: table.pop(name) for name in lab_table_names() if name in table}
    file = convert(table, _File, problems, places, reserved=lab_table_names())
    if file is None:
        raise problems.as_error()
    ModuleLoader(path.parent, file.devices, {}, places, problems).check_device_table()
    for name, given in tables.items():
        try:
            check: LabTableCheck = lab_table(name)
            found = check(given, file.devices)
        except MlinkError as error:
            problems.add(f"[{name}]", error.message, error.remedy)
            continue
        problems.add_all(found)
    problems.raise_if_any()
    return Lab(path, file.devices, file.modules, tables)
