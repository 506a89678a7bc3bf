"""Tables of a bench that belong to other packages; the runtime does not know their content.

A table of a device provider, such as `[virtual]`, is checked with the bench and opened with the
run. Any other table, such as `[fuzz]`, is an entry point of the group `mlink.bench_tables`, which
has its name and is a `BenchTableCheck`; it is kept in `Bench.others` for its package.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mlink.bench.bench import Bench
from mlink.bench.file import Problem, Problems, Table, shown
from mlink.catalog import bench_table, bench_table_names, device_provider, device_schemes
from mlink.devices import (
    DeviceProvider,
    DeviceTrial,
    TableDescriber,
    TablePart,
    TableProvider,
)
from mlink.errors import DeviceError, MlinkError


class BenchTableCheck(Protocol):
    """Contract of a check of one package's table in a bench file."""

    def __call__(self, given: Any, bench: Bench) -> list[Problem]:
        """Return all problems in a table.

        Args:
            given: The table, as TOML gives it.
            bench: The bench, whose other parts are valid.
        """


def take_others(table: Table) -> dict[str, Any]:
    """Remove the tables of other packages from a bench file's table and return them by name."""
    return {name: table.pop(name) for name in bench_table_names() if name in table}


def check_others(bench: Bench, problems: Problems) -> None:
    """Add the problems that each package finds in its table, also if it cannot be loaded."""
    for name, given in bench.others.items():
        try:
            check: BenchTableCheck = bench_table(name)
            found = check(given, bench)
        except MlinkError as error:
            problems.add(f"[{name}]", error.message, error.remedy)
            continue
        problems.add_all(found)


def take_tables(table: Table) -> dict[str, Table]:
    """Remove providers' tables from a bench file's table and return them by scheme."""
    return {scheme: table.pop(scheme) for scheme in device_schemes() if scheme in table}


def check_tables(
    tables: Mapping[str, Table], devices: Mapping[str, str], bench_dir: Path, problems: Problems
) -> None:
    """Add the problems that each provider finds in its table.

    A table is checked also when no device of this run has its scheme.

    Args:
        tables: Tables by scheme.
        devices: The bench's devices: key → device string.
        bench_dir: Folder of the bench file; relative paths start there.
        problems: Receives what is wrong.
    """
    for scheme, table in tables.items():
        if not isinstance(table, dict):
            problems.add(f"[{scheme}]", f"{shown(table)} is not a table")
            continue
        try:
            provider = device_provider(scheme)
        except DeviceError as error:
            problems.add(f"[{scheme}]", error.message, error.remedy)
            continue
        if not isinstance(provider, TableProvider):
            problems.add(f"[{scheme}]", f"the provider of '{scheme}:…' devices accepts no table")
            continue
        for problem in provider.check_table(table, devices=devices, bench_dir=bench_dir):
            problems.add(*problem)


def try_tables(bench: Bench) -> list[Problem]:
    """Return what is wrong with the code that a checked bench's tables name; it is loaded."""
    problems: list[Problem] = []
    for scheme, table in bench.tables.items():
        provider = device_provider(scheme)
        if isinstance(provider, DeviceTrial):
            specs = of_scheme(bench.used_devices(), scheme)
            found = provider.try_table(table, specs=specs, bench_dir=bench.dir)
            problems += [Problem(*each) for each in found]
    return problems


def provider_of(spec: str) -> DeviceProvider | None:
    """Return the provider of a device string; None where it is its own address."""
    scheme = scheme_of(spec)
    return device_provider(scheme) if ":" in spec and scheme in device_schemes() else None


def describe_tables(bench: Bench) -> dict[str, list[TablePart]]:
    """Return the parts in a checked bench's tables, by scheme, where the provider can list them.

    Raises:
        DeviceError: A provider cannot be loaded.
    """
    described: dict[str, list[TablePart]] = {}
    for scheme, table in bench.tables.items():
        provider = device_provider(scheme)
        if isinstance(provider, TableDescriber):
            specs = of_scheme(bench.used_devices(), scheme)
            described[scheme] = provider.describe_table(table, specs=specs)
    return described


def of_scheme(specs: Mapping[str, str], scheme: str) -> dict[str, str]:
    """Return the devices, as name → spec, of one scheme."""
    return {name: spec for name, spec in specs.items() if scheme_of(spec) == scheme}


def scheme_of(spec: str) -> str:
    """Return the scheme of a device string: "virtual" of "virtual:uno"."""
    return spec.partition(":")[0]
