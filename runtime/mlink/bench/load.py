"""Loads a bench file (TOML) into a checked `Bench`.

All problems of a file are reported at once, each with its key and a remedy. A part that depends on
an invalid one is not checked, so that one mistake gives one message.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlink.bench.bench import Bench, Compat, Time
from mlink.bench.companions import check_companions, take_companions
from mlink.bench.connections import Connections
from mlink.bench.file import (
    COMMAND_LINE,
    Places,
    Problems,
    Table,
    bench_path,
    check_values,
    convert,
    merge,
    parse_value,
    read_toml,
    set_value,
    shown,
)
from mlink.bench.hosts import check_hosts, read_hosts
from mlink.bench.lab import Lab, read_lab
from mlink.bench.limits import check_sizes, too_many_modules
from mlink.bench.module import ModuleConfig, ModuleLoader
from mlink.bench.partners import join_partners
from mlink.bench.record_all import recorder_tables
from mlink.bench.subject import Subject, check_subject, check_subjects
from mlink.bench.tables import check_others, check_tables, take_others, take_tables
from mlink.bench.virtual_time import needs_real_time, wrong_times
from mlink.catalog import bench_table_names, companion_names, device_schemes
from mlink.errors import BenchError, StorageError
from mlink.module import ModuleType
from mlink.proposals import proposal
from mlink.storage.place import Storage


class Head(msgspec.Struct):
    """The keys of a bench file's table `[bench]`."""

    name: str = ""
    """Name of the bench, and of its recordings; "" is that of its folder."""
    keep_awake: bool = True
    """Keep the processors from deep sleep during a run: less latency, more power."""
    strict: bool = False
    """Whether any loss of data fails a run."""
    warn_nondeterminism: bool = True
    """In virtual time: warn of what differs between two runs, such as a clock read."""
    compat: Compat = ""
    """"syntalos": pulses have the lengths that Syntalos gives them."""
    time: Any = None
    """"real" or "virtual"; without it real, and virtual for tests of simulated benches."""
    seed: Any = None
    """Of all that is random in virtual time, 0 or more."""
    speed: Any = None
    """Longest advance of virtual time, as a multiple of real time; without it as fast as it can."""
    record: Literal["", "all"] = ""
    """"all": add a recorder for each stream without one."""


class View(msgspec.Struct):
    """The keys of a bench file's table `[view]`."""

    control: bool = False
    """Whether the page of a run (`mlink run --view`) may command lines and modules."""


class _File(msgspec.Struct):
    bench: dict[str, Any] = {}
    devices: dict[str, Any] = {}
    modules: dict[str, Any] = {}
    subject: dict[str, Any] | list[dict[str, Any]] = {}
    storage: dict[str, Any] = {}
    view: dict[str, Any] = {}
    hosts: dict[str, Any] = {}


def load_bench(
    path: Path,
    *,
    devices: Path | None = None,
    overrides: Sequence[str] | Mapping[str, object] = (),
    catalog: Mapping[str, ModuleType] | None = None,
    time: Time | None = None,
    record_all: bool = False,
) -> Bench:
    """Load and check a bench file (or the `bench.toml` of a folder).

    Args:
        path: The file.
        devices: A file whose `[devices]` table replaces the bench's own, and whose `[modules]`
            change settings of the bench's modules (`mlink.bench.lab`).
        overrides: Settings that replace those of both files: "module.key=value" as on the command
            line, or a mapping of "module.key" to values.
        catalog: Module types by name; the installed ones when None.
        time: Kind of time that replaces the file's `[bench] time`; None keeps that.
        record_all: Add a recorder for each stream without one, as `[bench] record = "all"` does.

    Raises:
        BenchError: The file is invalid, or cannot run in virtual time and shall; the message
            lists all problems.
    """
    path = bench_path(path)
    table = read_toml(path)
    problems = Problems(path)
    tables, companions, others = take_tables(table), take_companions(table), take_others(table)
    lab = None if devices is None else read_lab(devices)
    overridden = {} if lab is None else _take_lab(table, lab, problems)
    overridden |= _override(table, tables, overrides, problems)
    places = Places(overridden)
    reserved = [*device_schemes(), *companion_names(), *bench_table_names()]
    file = convert(table, _File, problems, places, reserved=reserved)
    if file is None:
        raise problems.as_error()
    head = convert(file.bench, Head, problems, places.below("bench")) or Head()
    name = _name(head, path, places, problems)
    for wrong in wrong_times(head.time, head.seed, head.speed):
        problems.add(places("bench", wrong.where), wrong.what, wrong.remedy)
    device_table = file.devices if lab is None else lab.devices
    loader = ModuleLoader(path.resolve().parent, device_table, catalog, places, problems)
    if lab is None:
        loader.check_device_table()
    described = file.modules
    modules = load_modules(described, loader, places, problems)
    if (record_all or head.record) and not len(problems):
        described = described | recorder_tables(modules)
        modules = load_modules(described, loader, places, problems)
    hosts = read_hosts(file.hosts, places.below("hosts"), problems)
    needs_one = {f"[{name}]": tables[name] for name in tables} | {
        f"[[{name}]]": companions[name] for name in companions
    }
    check_hosts(modules, hosts, needs_one, places, problems)
    check_tables(tables, device_table, path.resolve().parent, problems)
    subject, subjects = _subjects(file.subject, problems, places.below("subject"))
    bench = Bench(
        name,
        path.resolve(),
        path.resolve().parent,
        device_table,
        modules,
        companions,
        tables,
        head.keep_awake,
        {} if lab is None else lab.tables,
        head.strict,
        head.warn_nondeterminism,
        time or head.time,
        head.seed,
        head.speed,
        head.compat,
        others,
        subject,
        storage=_storage(file.storage, places.below("storage"), problems),
        view_control=(convert(file.view, View, problems, places.below("view")) or View()).control,
        hosts=hosts,
        described=described,
        subjects=subjects,
    )
    if not len(problems):
        check_others(bench, problems)
        check_companions(companions, bench, problems)
    if not len(problems) and bench.time == "virtual":
        problems.add_all(needs_real_time(bench))
        if bench.on_hosts:
            what = "modules of this bench are on other hosts, which run in real time only"
            problems.add(places("hosts"), what, "Run in real time (--time real).")
    problems.raise_if_any()
    return bench


def load_modules(
    described: dict[str, Any], loader: ModuleLoader, places: Places, problems: Problems
) -> dict[str, ModuleConfig]:
    """Load each module by itself, then the connections between them.

    Args:
        described: The table `[modules]`.
        loader: Loads one module.
        places: Names the keys of the file in messages.
        problems: Receives what is wrong.
    """
    if too_many_modules(len(described), problems):
        return {}
    tables = _module_tables(described, places, problems)
    loaded = {name: loader.load(name, table) for name, table in tables.items()}
    modules = {name: module for name, module in loaded.items() if module is not None}
    loader.check_sharing(modules.values())
    modules, joined = join_partners(modules, described, places, problems)
    connections = Connections(described, modules, places, problems)
    for name, table in tables.items():
        found = connections.read(name, table.get("inputs", {}))
        for taken in {each.port for each in found} & {each.port for each in joined.get(name, ())}:
            what = "another setting of the bench connects this input"
            problems.add(places("modules", name, "inputs", taken), what, "Remove it here.")
        if name in modules:
            found += joined.get(name, [])
            modules[name] = replace(modules[name], connections=tuple(found))
    check_sizes(modules, places, problems)
    return modules


def _subjects(
    given: Table | list[Table], problems: Problems, places: Places
) -> tuple[Subject, tuple[Subject, ...]]:
    """Return the subject of all runs, and those of which a run takes one."""
    if isinstance(given, list):
        return Subject(), check_subjects(given, problems, places)
    return check_subject(given, problems, places), ()


def _storage(table: Table, places: Places, problems: Problems) -> Storage:
    storage = convert(table, Storage, problems, places, remedy="Keys: docs/recordings.md.")
    if storage is None:
        return Storage()
    try:
        storage.refuse_wrong_order()
    except StorageError as error:
        problems.add(places("order"), error.message, error.remedy)
    _check_name(storage.experiment_id, places("experiment_id"), problems)
    return storage


def _name(head: Head, path: Path, places: Places, problems: Problems) -> str:
    _check_name(head.name, places("bench", "name"), problems)
    return head.name or (path.resolve().parent.name if path.stem == "bench" else path.stem)


def _check_name(name: str, where: str, problems: Problems) -> None:
    if len(name) > 100 or not name.isprintable():
        problems.add(where, "must be one line of at most 100 characters")


def _module_tables(
    described: dict[str, Any], places: Places, problems: Problems
) -> dict[str, Table]:
    if not described:
        problems.add("[modules]", "there are no modules", "Add a table [modules.NAME].")
    tables = {}
    for name, table in described.items():
        if isinstance(table, dict):
            tables[name] = table
        else:
            what = f"{shown(table)} is not a table"
            remedy = "Describe each module in a table [modules.NAME]."
            problems.add(places("modules", name), what, remedy)
    return tables


def _modules_of(table: Table) -> Table:
    """Return the unchecked `[modules]` table; empty when it is no table."""
    modules = table.get("modules")
    return modules if isinstance(modules, dict) else {}


def _take_lab(table: Table, lab: Lab, problems: Problems) -> dict[tuple[str, ...], str]:
    """Apply a devices file's `[modules]`; return (module, key) → path of that file."""
    done: dict[tuple[str, ...], str] = {}
    known = _modules_of(table)
    for module, keys in lab.modules.items():
        if isinstance(known.get(module), dict):
            merge(known[module], keys)
            done |= {(module, key): str(lab.path) for key in keys}
        else:
            what = f"there is no module {shown(module)} in the bench"
            problems.add(f"{lab.path}: [modules]", what, proposal(module, known, "modules"))
    return done


def _override(
    table: Table,
    tables: Mapping[str, Table],
    overrides: Sequence[str] | Mapping[str, object],
    problems: Problems,
) -> dict[tuple[str, ...], str]:
    """Apply overrides to modules and tables; return (module, key) → COMMAND_LINE."""
    done: dict[tuple[str, ...], str] = {}
    known = {**tables, **_modules_of(table)}
    for text, target, value in _settings(overrides):
        module, *keys = target.split(".")
        if not keys or not all([module, *keys]):
            raise BenchError(
                f"--set {shown(text)} is not of the form module.key=value",
                remedy="For example --set cam.framerate=60.",
            )
        if not isinstance(known.get(module), dict):
            what = f"there is no module {shown(module)}"
            problems.add(f"--set {target}", what, proposal(module, known, "modules"))
        elif not set_value(known[module], keys, value):
            problems.add(f"--set {target}", "a part of the key is not a table")
        done[module, keys[0]] = COMMAND_LINE
    return done


def _settings(
    overrides: Sequence[str] | Mapping[str, object],
) -> Iterator[tuple[str, str, object]]:
    """Yield each override as given, its "module.key" (empty when there is none), and its value."""
    if isinstance(overrides, Mapping):
        for target, value in overrides.items():
            if not isinstance(target, str):
                raise BenchError(f"a setting is named by a text like 'cam.size', not {target!r}")
            yield target, target, _plain(target, value)
        return
    for text in overrides:
        target, equals, value = text.partition("=")
        yield text, target.strip() if equals else "", parse_value(value.strip())


def _plain(target: str, value: object) -> object:
    """Return a Python value as a TOML file would have given it."""
    try:
        plain = msgspec.to_builtins(value, enc_hook=os.fspath)
    except (TypeError, RecursionError) as error:
        raise BenchError(
            f"the value of '{target}' cannot be a setting: {error}",
            remedy="Give a number, a text, a path, a truth value, a list or a mapping of these.",
        ) from error
    check_values(Path("--set"), plain)
    return plain
