"""Installed module types, device providers, discoverers and companions, found by entry points.

A package that cannot be imported affects only benches that use it: the reason is kept
(`broken_types`) and reported when a bench uses the type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, cast

from mlink.devices import DeviceProvider, FoundDevice
from mlink.errors import BenchError, DeviceError
from mlink.installed import entry_points
from mlink.module import ModuleType
from mlink.proposals import proposal
from mlink.refusals import import_remedy, text_of

MODULES_GROUP = "mlink.modules"
FOLDERS_GROUP = "mlink.module_folders"
DEVICES_GROUP = "mlink.devices"
DISCOVERY_GROUP = "mlink.discovery"
COMPANIONS_GROUP = "mlink.companions"
LAB_TABLES_GROUP = "mlink.lab_tables"
BENCH_TABLES_GROUP = "mlink.bench_tables"
PROJECTS_GROUP = "mlink.projects"
EXAMPLES_GROUP = "mlink.examples"

Discoverer = Callable[[], list[FoundDevice]]


@dataclass(frozen=True, slots=True)
class _Installed:
    types: dict[str, ModuleType]
    broken: dict[str, str]


def module_types() -> dict[str, ModuleType]:
    """Return the installed module types by id and by alias; their code is not imported."""
    return dict(_installed().types)


def broken_types() -> dict[str, str]:
    """Return the module types that are installed but cannot be loaded: name → reason.

    The reason is the exception of the import, or that another type has the same name.
    """
    return dict(_installed().broken)


def module_type(name: str) -> ModuleType:
    """Return a module type by its id or alias.

    Raises:
        BenchError: The type is unknown, or its package cannot be imported.
    """
    installed = _installed()
    found = installed.types.get(name)
    if found is not None:
        return found
    if name in installed.broken:
        raise BenchError(
            f"module type '{name}' is installed but broken: {installed.broken[name]}",
            remedy=import_remedy(installed.broken[name]),
        )
    raise BenchError(
        f"unknown module type '{name}'", remedy=proposal(name, installed.types, "module types")
    )


def device_schemes() -> list[str]:
    """Return the schemes that have a provider, such as "virtual"."""
    return sorted(entry_points(group=DEVICES_GROUP).names)


@functools.cache
def device_provider(scheme: str) -> DeviceProvider | None:
    """Return the provider of a scheme; None when device strings of it are their own addresses.

    Raises:
        DeviceError: The provider is installed but cannot be loaded.
    """
    for entry in entry_points(group=DEVICES_GROUP, name=scheme):
        loaded, reason = _load(entry)
        if reason:
            raise DeviceError(
                f"devices '{scheme}:…' cannot be provided: {reason}",
                remedy=import_remedy(reason),
            )
        return cast("DeviceProvider", loaded() if isinstance(loaded, type) else loaded)
    return None


def discoverers() -> dict[str, Discoverer]:
    """Return the functions that list the devices of this machine, by name.

    A function that cannot be loaded raises DeviceError when it is called, so that the others can
    still be used.
    """
    return {entry.name: _discoverer(entry) for entry in entry_points(group=DISCOVERY_GROUP)}


def _discoverer(entry: EntryPoint) -> Discoverer:
    def discover() -> list[FoundDevice]:
        loaded, reason = _load(entry)
        if reason:
            raise DeviceError(f"'{entry.name}' cannot look for devices: {reason}")
        return cast("Discoverer", loaded)()

    return discover


def project_reader(suffix: str) -> Callable[[Path, Path], Path] | None:
    """Return what makes a bench of a project file of another program.

    Args:
        suffix: Ending of the file's name, without its dot.

    Returns:
        A function (file, new folder) → bench file; None where nothing reads such files.
    """
    for entry in entry_points(group=PROJECTS_GROUP, name=suffix):
        read: Callable[[Path, Path], Path] = entry.load()
        return read
    return None


def example_benches() -> dict[str, Path]:
    """Return the folders of the installed example benches by name; broken packages have none."""
    found: dict[str, Path] = {}
    for entry in entry_points(group=EXAMPLES_GROUP):
        loaded, reason = _load(entry)
        if not reason:
            folder = cast("Callable[[], Path]", loaded)()
            found |= {path.parent.name: path.parent for path in folder.glob("*/bench.toml")}
    return dict(sorted(found.items()))


def companion_names() -> list[str]:
    """Return the top-level keys of a bench file that belong to companions."""
    return sorted(entry_points(group=COMPANIONS_GROUP).names)


@functools.cache
def companion(name: str) -> Any:
    """Return the companion of a key of bench files (`mlink.bench.companions.Companion`).

    Raises:
        DeviceError: It is installed but cannot be loaded.
    """
    loaded = _only(COMPANIONS_GROUP, name)
    return loaded() if isinstance(loaded, type) else loaded


def lab_table_names() -> list[str]:
    """Return the names of tables that a devices file may have beside `[devices]`."""
    return sorted(entry_points(group=LAB_TABLES_GROUP).names)


def lab_table(name: str) -> Any:
    """Return the check of a table in devices files (`mlink.bench.lab.LabTableCheck`).

    Raises:
        DeviceError: It is installed but cannot be loaded.
    """
    return _only(LAB_TABLES_GROUP, name)


def bench_table_names() -> list[str]:
    """Return the names of tables of other packages that a bench file may have."""
    return sorted(entry_points(group=BENCH_TABLES_GROUP).names)


def bench_table(name: str) -> Any:
    """Return the check of such a table (`mlink.bench.tables.BenchTableCheck`).

    Raises:
        DeviceError: It is installed but cannot be loaded.
    """
    return _only(BENCH_TABLES_GROUP, name)


def _only(group: str, name: str) -> object:
    (entry, *_) = entry_points(group=group, name=name)
    loaded, reason = _load(entry)
    if reason:
        raise DeviceError(
            f"'{name}' cannot be used: {reason}",
            remedy=import_remedy(reason),
        )
    return loaded


@functools.cache
def _installed() -> _Installed:
    types: dict[str, ModuleType] = {}
    broken: dict[str, str] = {}
    for entry in entry_points(group=MODULES_GROUP):
        loaded, reason = _load(entry)
        if not reason and not isinstance(loaded, ModuleType):
            reason = f"{entry.value} is not a ModuleType"
        if reason:
            broken[entry.name] = reason
            continue
        type_ = cast("ModuleType", loaded)
        for name in (type_.id, *type_.aliases):
            if types.setdefault(name, type_) is not type_:
                broken[f"{name} ({entry.value})"] = f"'{name}' is already provided by another type"
    for entry in entry_points(group=FOLDERS_GROUP):
        found, reason = _load(entry)
        if reason:
            broken[entry.name] = reason
            continue
        others, wrong = cast("Callable[[], tuple[list[ModuleType], dict[str, str]]]", found)()
        types = {each.id: each for each in others} | types
        broken = wrong | broken
    return _Installed(types, {name: why for name, why in broken.items() if name not in types})


def _load(entry: EntryPoint) -> tuple[object, str]:
    """Return (object, "") of an entry point, or (None, reason) when it cannot be loaded."""
    try:
        return entry.load(), ""
    except Exception as error:  # noqa: BLE001 - third-party code may raise anything at import
        return None, f"{entry.value}: {type(error).__name__}: {text_of(error)}"
