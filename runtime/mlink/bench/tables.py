"""Tables of a bench that belong to a provider of devices: `[virtual]` to that of "virtual:…".

The runtime does not know what they say: they are checked, and later opened, by their provider.
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
    """Take those tables out of a bench file's, by their scheme."""
    return {scheme: table.pop(scheme) for scheme in device_schemes() if scheme in table}


def check_tables(
    tables: Mapping[str, Table], devices: Mapping[str, str], bench_dir: Path, problems: Problems
) -> None:
    """Let each provider check its table, also when this run's devices have no use for it."""
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
            problems.add(f"[{scheme}]", f"the provider of '{scheme}:…' devices takes no table")
            continue
        for problem in provider.check_table(table, devices=devices, bench_dir=bench_dir):
            problems.add(*problem)


def describe_tables(bench: Bench) -> dict[str, list[TablePart]]:
    """Return what a checked bench's tables hold, by scheme, as far as their providers tell it."""
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
