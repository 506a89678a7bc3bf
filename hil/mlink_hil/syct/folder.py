"""Makes a bench folder of a Syntalos project: bench, scripts, a file of virtual devices."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import tomli_w

from mlink import check_bench
from mlink.errors import BenchError, StorageError
from mlink.storage.place import DEFAULT_ORDER, Storage
from mlink_hil.syct.archive import Project, ProjectModule, read_project
from mlink_hil.syct.modules import NEED_INPUT, SOURCES, Made, converted, could_stand_in, port_of

VIRTUAL_FILE: Final = "virtual.toml"
_INPUT: Final = re.compile(r"\[modules\.(?P<module>[^\]]+)\] inputs\.(?P<port>.+)")
_LONGEST_KEY: Final = 40
_LONGEST_LINE: Final = 400
_LONGEST_NAME: Final = 100


@dataclass(slots=True)
class Imported:
    """A bench folder that was made of a project.

    Attributes:
        folder: The folder.
        modules: Number of modules of the bench.
        left_out: One sentence for each module that is not in it.
        notes: One sentence for each thing that is not as in the project.
        problems: What `mlink check` finds in the bench; empty if it can run.
        has_devices: Whether it stands on devices, so that there is a file of virtual ones.
    """

    folder: Path
    modules: int = 0
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    has_devices: bool = False


def import_project(path: Path, folder: Path) -> Imported:
    """Make a bench folder of a project file.

    Args:
        path: The `.syct` file.
        folder: The folder to make; it may exist if it is empty.

    Raises:
        BenchError: The file is no project, or is damaged.
        StorageError: The folder has files already, or cannot be written.
    """
    project = read_project(path)
    _make_empty(folder)
    return _Writer(project, folder).write()


def import_for_run(path: Path, folder: Path) -> Path:
    """Make a bench folder of a project file, and return its bench file; `mlink run` calls it.

    Raises:
        BenchError: As for `import_project`; or the bench has problems.
    """
    return import_project(path, folder).folder / "bench.toml"


class _Writer:
    """Writes the bench folder of one project.

    Args:
        project: The project.
        folder: The folder, which is empty.
    """

    def __init__(self, project: Project, folder: Path) -> None:
        self._project = project
        self._keys = _keys(project.modules)
        self._made: dict[str, Made] = {}
        self._inputs: dict[str, dict[str, str]] = {}
        self._files: dict[str, bytes] = {}
        self._result = Imported(folder)

    def write(self) -> Imported:
        result, folder = self._result, self._result.folder
        result.notes += [f"'{name}' in the archive is no part of a project" for name in
                         self._project.ignored[:10]]  # fmt: skip
        for module in self._project.modules:
            self._add(module)
        dormant = self._dormant()
        for module in self._project.modules:
            if self._keys[module.name] in self._made:
                self._connect(module, dormant)
        self._note_people_and_times()
        result.modules = len(self._made)
        result.left_out = [_line(each) for each in result.left_out]
        if not self._made:
            raise BenchError(
                f"{self._project.path}: mlink has none of the project's modules",
                remedy="\n    ".join(["It has:", *result.left_out]),
            )
        try:
            for made in self._made.values():
                self._files |= made.files
            for name, content in self._files.items():
                (folder / name).write_bytes(content)
            if result.has_devices:
                stand_ins = {
                    key: made.stand_in or made.device
                    for key, made in self._made.items()
                    if made.device
                }
                text = f"# Virtual devices: mlink run . --devices {VIRTUAL_FILE}\n\n"
                table: dict[str, Any] = {"devices": stand_ins}
                if off := {key: made.off for key, made in self._made.items() if made.off}:
                    table["modules"] = off
                (folder / VIRTUAL_FILE).write_text(text + tomli_w.dumps(table))
            self._write_bench()
            self._check()
        except OSError as error:
            raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
        result.notes = [_line(each) for each in result.notes]
        result.problems = [_line(each) for each in result.problems]
        return result

    def _add(self, module: ProjectModule) -> None:
        shown = f"'{module.name}' ({module.id})"
        if not module.enabled:
            self._result.left_out.append(f"{shown} is switched off in the project")
            return
        key = self._keys[module.name]
        try:
            made = converted(module, key)
        except (TypeError, ValueError, OverflowError) as error:  # settings of other types
            self._result.left_out.append(f"{shown}: its settings cannot be used: {error}")
            return
        if made is None:
            self._leave_out(module, key, shown)
            return
        self._made[key] = made
        self._result.has_devices |= bool(made.device or made.off)
        self._result.notes += [f"{shown}: {note}" for note in made.notes]
        if not module.stop_on_failure:
            made.settings = {"stop_on_failure": False} | made.settings

    def _leave_out(self, module: ProjectModule, key: str, shown: str) -> None:
        words = [f"{shown}: mlink has no such module"]
        if takes := ", ".join(f"{source}.{port}" for source, port in module.inputs.values()):
            words.append(f"it took {takes}")
        users = [
            f"{other.name}.{port}"
            for other in self._project.modules
            for port, (source, _) in other.inputs.items()
            if source == module.name
        ]
        if users:
            words.append(f"it sent to {', '.join(users)}")
        if instead := could_stand_in(module.id):
            words.append(f"could stand in: {instead}")
            if module.data and module.id in SOURCES:
                name = f"{key}.{SOURCES[module.id]}"
                self._files[name] = module.data
                words.append(f"its program or settings are in {name}")
        elif module.data:
            name = f"{key}.settings"
            self._files[name] = module.data
            words.append(
                f'if it is a Python module, add it with type = "python" and settings_file = '
                f'"{name}", which has its settings'
            )
        self._result.left_out.append("; ".join(words))

    def _dormant(self) -> set[str]:
        """Return the names of modules that have no live input, and therefore send nothing."""
        modules = self._project.modules
        live = {each.name: each for each in modules if self._keys[each.name] in self._made}
        dormant: set[str] = set()
        while more := {name for name, each in live.items() if _lacks_input(each, live)}:
            dormant |= more
            for name in more:
                del live[name]
        return dormant

    def _connect(self, module: ProjectModule, dormant: set[str]) -> None:
        key = self._keys[module.name]
        inputs = self._inputs[key] = {}
        for port in module.broken:
            self._result.notes.append(f"'{module.name}.{port}': its connection is not readable")
        for port, (source, source_port) in module.inputs.items():
            source_key = self._keys.get(source, "")
            if source in dormant:
                what = f"'{module.name}.{port}': '{source}' has no live input; not connected"
                self._result.notes.append(what)
            elif source_key in self._made:
                inputs[port_of(module, port)] = f"{source_key}.{source_port}"
            elif not source_key:
                what = f"'{module.name}.{port}': there is no module '{source}'; not connected"
                self._result.notes.append(what)

    def _note_people_and_times(self) -> None:
        project, notes = self._project, self._result.notes
        if subjects := [each["id"] for each in self._subjects() if each["active"]]:
            notes.append(f"subjects: {', '.join(subjects)} (mlink run --subject NAME)")
        if people := [each.name for each in project.experimenters if each.name]:
            notes.append(f"experimenters: {', '.join(people)} (mlink run --experimenter NAME)")
        if (network := project.main.network).controller_enabled:
            notes.append(
                f"leads other machines: mlink run . --net-lead {network.expected_listener_count} "
                f"--net-host 0.0.0.0 --net-timeout {network.timeout_ms / 1000:g}"
            )
        if network.listener_enabled:
            notes.append("is led by another machine: mlink listen . --net-host ADDRESS")
        if (interval := project.main.interval_run) is not None:
            every = interval.duration_min + interval.delay_min
            notes.append(
                f"interval runs: mlink run . --repeat {interval.count} --every {every:g}min "
                f"--for {interval.duration_min * 60:g}"
            )
        if not project.main.storage.simple_names:
            notes.append("names of datasets are simple ones, though the project has them as typed")

    def _subjects(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for each in self._project.subjects:
            facts = {key: _one_line(getattr(each, key)) for key in ("id", "group", "comment")}
            if facts["id"]:
                found.setdefault(facts["id"], facts | {"active": each.active})
        return list(found.values())

    def _storage(self) -> dict[str, Any]:
        main = self._project.main
        order = [word for word in dict.fromkeys(main.storage.order) if word in DEFAULT_ORDER]
        name = _one_line(main.experiment_id)[:_LONGEST_NAME]
        wanted = Storage(
            tuple(order) or DEFAULT_ORDER,
            name if "{" in name else "",  # else it is the name of the bench
            main.storage.clock_time_in_dir,
            main.storage.flat_root,
            main.storage.add_moniker,
        )
        usual = msgspec.to_builtins(Storage())
        return {k: v for k, v in msgspec.to_builtins(wanted).items() if v != usual[k]}

    def _write_bench(self) -> None:
        project = self._project
        bench: dict[str, Any] = {
            "bench": {
                "name": _plain(project.main.experiment_id) or _plain(project.path.stem) or "bench"
            }
        }
        if devices := {key: made.device for key, made in self._made.items() if made.device}:
            bench["devices"] = devices
        if storage := self._storage():
            bench["storage"] = storage
        if subjects := self._subjects():
            bench["subject"] = subjects
        modules = bench["modules"] = {}
        for key, made in self._made.items():
            table: dict[str, Any] = {"type": made.type}
            if made.device:
                table["device"] = key
            table |= made.settings
            if self._inputs.get(key):
                table["inputs"] = self._inputs[key]
            modules[key] = table
        version = ascii(project.main.version_app)[1:-1]
        head = f"# Imported from {ascii(project.path.name)[1:-1]}, saved by Syntalos {version}.\n"
        if self._result.has_devices:
            head += f"# Without its devices: mlink run . --devices {VIRTUAL_FILE}\n"
        path = self._result.folder / "bench.toml"
        path.write_text(f"{head}\n{tomli_w.dumps(bench, multiline_strings=False)}", "utf-8")

    def _check(self) -> None:
        """Cut connections that do not fit, each with a note, and keep what else is wrong."""
        path = self._result.folder / "bench.toml"
        problems = check_bench(path)
        wrong = [(each, found) for each in problems if (found := _INPUT.fullmatch(each.where))]
        for each, found in wrong:
            self._inputs[found["module"]].pop(found["port"].strip('"'), None)
            self._result.notes.append(f"{each.where} is not connected: {each.what}")
        if wrong:
            self._write_bench()
            problems = check_bench(path)
        self._result.problems = [f"{each.where}: {each.what}" for each in problems]


def _lacks_input(module: ProjectModule, live: Container[str]) -> bool:
    """Return whether a module needs an input, and no live module sends to it."""
    needed = NEED_INPUT.get(module.id)
    return needed is not None and not any(
        source in live
        for port, (source, _) in module.inputs.items()
        if port in needed or not needed
    )


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:2000].strip()


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = next(folder.iterdir(), None)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made: {error.strerror}", remedy="Give another folder by --out."
        ) from error
    if taken is not None:
        raise StorageError(
            f"{folder} has files already, such as {taken.name}",
            remedy="Give a new folder by --out, or remove it.",
        )


def _keys(modules: list[ProjectModule]) -> dict[str, str]:
    """Return a name that a bench can have for each module, by its name in the project."""
    keys: dict[str, str] = {}
    for module in modules:
        base = _plain(module.name) or _plain(module.id) or "module"
        key, number = base, 1
        while key in keys.values():
            number += 1
            key = f"{base}-{number}"
        keys[module.name] = key
    return keys


def _line(text: str) -> str:
    """Return a text for the terminal: a project's names may have control characters."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_LONGEST_LINE])
    return line if len(text) <= _LONGEST_LINE else f"{line} …"


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", letters)[:_LONGEST_KEY].strip("-")
