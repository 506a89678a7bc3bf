"""The folders of a recording in whatever state they are, for verifying, repairing and reading.

Nothing here writes. A damaged folder is an object with a `problem`, not an exception.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlink.errors import StorageError
from mlink.storage.failures import printable
from mlink.storage.inside import REMEDY, RecordingFile, RecordingFolder, all_below, stored
from mlink.storage.manifest import ATTRIBUTES, MANIFEST, read_toml
from mlink.storage.wellformed import wellformed_attributes, wellformed_manifest

DRAFT_SUFFIX = ".tmp"
"""Suffix of unfinished manifests, which remain after a kill."""
KEPT_SUFFIX = ".damaged"
"""Suffix of a damaged manifest, or of times, that a repair has replaced."""
JOURNAL_SUFFIX = ".journal.msgpack.zst"
"""Suffix of journals (mlink.recording.journal.reading)."""
_DEPTH = 32
"""Deepest group that is looked into; the names of a bench make a few."""


@dataclass(slots=True)
class UnitFolder:
    """One folder: a collection, group or dataset, or one whose manifest cannot be read."""

    path: Path
    name: str
    """Path below the collection, "" for the collection itself."""
    type: str = ""
    """"collection", "group" or "dataset"; "" when the manifest cannot be read."""
    manifest: dict[str, Any] = field(default_factory=dict)
    """Its content, without what has another form than a manifest may have."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """The content of its attributes, without known ones of a wrong type."""
    written: dict[str, Any] = field(default_factory=dict)
    """The content of its attributes as it is in the file."""
    problem: str = ""
    """Why manifest or attributes cannot be read, or what is wrong with them."""
    refused: bool = False
    """Whether nothing in it may be opened: it is a link, or belongs to somebody else."""

    @property
    def folder(self) -> RecordingFolder:
        """The folder, from which its files are opened."""
        root = self.path
        for _ in Path(self.name).parts:
            root = root.parent
        return RecordingFolder(root, self.name)

    def file(self, name: str) -> RecordingFile:
        """Return the file of this name in it."""
        return self.folder.file(name)

    def part_names(self, role: str) -> list[str]:
        """Return the names of its files of role "data" or "data_aux", in order of their parts."""
        tables = self.manifest.get(role, [])
        names: list[str] = []
        for table in [tables] if isinstance(tables, dict) else tables:
            parts = sorted(table.get("parts", []), key=lambda part: part.get("index", -1))
            names += [str(part.get("fname", "")) for part in parts]
        return names

    @property
    def tsync_names(self) -> list[str]:
        """The tsync files, in order of their parts."""
        names = self.part_names("data_aux") + self.part_names("data")
        return [name for name in names if name.endswith(".tsync")]

    @property
    def kind(self) -> str:
        """Its kind of data: video, table, json, zarr, tsync, journal, other, or empty."""
        return data_kind(self.manifest.get("data", {}))

    @property
    def registered(self) -> set[str]:
        """The names of all files that are listed in the manifest."""
        return {*self.part_names("data"), *self.part_names("data_aux")}

    @property
    def not_files(self) -> list[str]:
        """Describe each listed name that is not a file of this folder, e.g. a named pipe.

        Nothing may open these: a reader would wait for a pipe, or read the file of somebody else.
        """
        names = sorted(self.registered)
        return [text for name in names if (text := not_a_file(self.file(name)))]

    def refuse_not_files(self) -> None:
        """Refuse a dataset with a listed name that is not a file of its folder.

        Raises:
            StorageError: There is one.
        """
        for text in self.not_files:
            raise StorageError(f"{self.path}: {text}", remedy=REMEDY)

    @property
    def entries(self) -> list[str]:
        """The names of all files and folders in it.

        Raises:
            StorageError: It cannot be listed.
        """
        with self.folder.opened() as fd:
            return sorted(os.listdir(fd))  # noqa: PTH208 - of a descriptor

    @property
    def strangers(self) -> list[str]:
        """The names of files in the folder that the manifest does not list, without drafts."""
        known = self.registered | {MANIFEST, ATTRIBUTES}
        known |= set(self.attributes.get("abandoned_files", []))
        return [name for name in self.entries if name not in known and not name.startswith(".")]

    @property
    def drafts(self) -> list[str]:
        """The names of unfinished manifests."""
        return [
            name
            for name in self.entries
            if name.startswith(".") and name.endswith(DRAFT_SUFFIX) and self.file(name).exists()
        ]


def not_a_file(file: RecordingFile) -> str:
    """Describe what is neither a file nor a Zarr store of its folder; "" if it is or lacks.

    A store is a folder that contains only files and folders.

    Args:
        file: As listed in its manifest.
    """
    problem = file.problem()
    if not problem or not file.name.endswith(".zarr"):
        return problem
    try:
        with file.folder.folder(file.name).opened() as fd:
            return _not_a_store(file.name, fd)
    except StorageError as error:
        return error.message


def _not_a_store(name: str, fd: int) -> str:
    owner = os.fstat(fd).st_uid
    for path, found, _ in all_below(fd):
        mode = found.st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) or found.st_uid != owner:
            return f"{name}/{path} is a link, not a file of this recording, or of another user"
    return ""


def store_size(store: RecordingFile, *, on_disk: bool = False) -> int:
    """Return the bytes of all files of a Zarr store; -1 when it is missing.

    Args:
        store: The store.
        on_disk: Count the bytes that its disk gives to it.
    """
    try:
        with store.folder.folder(store.name).opened() as fd:
            return sum(
                stored(found) if on_disk else found.st_size
                for _, found, _ in all_below(fd)
                if stat.S_ISREG(found.st_mode)
            )
    except StorageError:
        return -1


def data_kind(data: dict[str, Any]) -> str:
    """Return the kind of a manifest's `data` table, as in `UnitFolder.kind`."""
    if not data:
        return "empty"
    media_type, file_type = str(data.get("media_type", "")), str(data.get("file_type", ""))
    parts = data.get("parts", [])
    if parts and all(str(part.get("fname", "")).endswith(JOURNAL_SUFFIX) for part in parts):
        return "journal"
    if media_type.startswith("video/"):
        return "video"
    if media_type.startswith("text/csv"):
        return "table"
    if "json" in media_type or file_type.startswith("json"):
        return "json"
    return file_type if file_type in {"tsync", "zarr"} else "other"


def written_in(unit: UnitFolder, key: str) -> int | None:
    """Return how many items were written into the file of a dataset that was closed, else None."""
    count = unit.attributes.get(key)
    return count if isinstance(count, int) and len(unit.part_names("data")) == 1 else None


def collection_folder(path: Path) -> UnitFolder:
    """Return the root folder of the recording at `path`.

    Raises:
        StorageError: There is no recording, or its manifest is damaged.
    """
    if not (path / MANIFEST).exists():
        what = "does not exist" if not path.exists() else "is not a recording: it has no manifest"
        raise StorageError(
            f"{path} {what}", remedy="Name the folder that `mlink run` printed at its end."
        )
    root = read_unit(path, "")
    if not root.manifest:
        raise StorageError(root.problem, remedy=f"Restore {MANIFEST} from a copy.")
    if root.type != "collection":
        raise StorageError(
            f"{path} is a {root.type or 'folder'} of a recording, not the recording",
            remedy=f"Name the recording's own folder: {_collection_above(path) or path.parent}",
        )
    return root


def units_below(root: Path) -> Iterator[UnitFolder]:
    """Yield every group and dataset, outer ones first, including those with a damaged manifest.

    Raises:
        StorageError: The recording's folder cannot be listed.
    """
    yield from _below(root, "")


def read_unit(path: Path, name: str) -> UnitFolder:
    """Read one folder's manifest and attributes; errors are noted in its `problem`.

    Args:
        path: The folder.
        name: Its path below the collection.
    """
    unit = UnitFolder(path, name)
    problems: list[str] = []
    try:
        with unit.folder.opened():
            pass
    except StorageError as error:
        unit.problem, unit.refused = f"{path}: {error.message}", True
        return unit
    if unit.file(MANIFEST).size() < 0 and not unit.file(MANIFEST).problem():
        unit.problem = f"{path} has no manifest"
        return unit
    try:
        unit.manifest, problems = wellformed_manifest(read_toml(unit.file(MANIFEST)))
        unit.type = str(unit.manifest.get("type", ""))
        if ATTRIBUTES in unit.entries:
            unit.written = read_toml(unit.file(ATTRIBUTES))
            unit.attributes, wrong = wellformed_attributes(unit.written)
            problems += wrong
    except StorageError as error:
        problems.append(error.message)
    unit.problem = "; ".join(problems)
    return unit


def _below(root: Path, above: str) -> Iterator[UnitFolder]:
    with RecordingFolder(root, above).opened() as fd, os.scandir(fd) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.is_symlink() or entry.is_dir(follow_symlinks=False)
        )
    for each in names:
        name = f"{above}/{each}" if above else each
        if not each.isprintable():
            what = "its name has control characters, which no recorder gives"
            yield UnitFolder(root / name, printable(name), problem=what, refused=True)
            continue
        unit = read_unit(root / name, name)
        if unit.type == "group" and name.count("/") >= _DEPTH:
            unit.problem, unit.refused = f"{unit.path} is in more than {_DEPTH} groups", True
        yield unit
        if unit.type == "group" and not unit.refused:
            yield from _below(root, name)


def _collection_above(path: Path) -> Path | None:
    for folder in path.resolve().parents[:16]:
        try:
            if read_toml(folder / MANIFEST).get("type") == "collection":
                return folder
        except StorageError:
            continue
    return None
