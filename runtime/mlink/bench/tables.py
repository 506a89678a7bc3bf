"""Tables of a bench that belong to a device provider: `[virtual]` to that of "virtual:…".

The runtime does not know their content. The provider checks a table with the bench and opens it
with the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlink.bench.bench import Bench
from mlink.bench.file import Problems, Table, shown
from mlink.catalog import device_provider, device_schemes
from mlink.devices import TableDescriber, TablePart, TableProvider
from mlink.errors import DeviceError


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
