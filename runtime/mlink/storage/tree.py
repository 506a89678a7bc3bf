"""The folders of a recording in whatever state they are, for verifying, repairing and reading.

Nothing here writes. A damaged folder is an object with a `problem`, not an exception.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlink.errors import StorageError
from mlink.storage.failures import storage_errors
from mlink.storage.manifest import ATTRIBUTES, MANIFEST, read_toml

DRAFT_SUFFIX = ".tmp"
"""Suffix of unfinished manifests, which remain after a kill."""
_KINDS_OF_FILE = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
JOURNAL_SUFFIX = ".journal.msgpack.zst"
"""Suffix of journals (mlink.recording.journal)."""


@dataclass(slots=True)
class UnitFolder:
    """One folder: a collection, group or dataset, or one whose manifest cannot be read."""

    path: Path
    name: str
    """Path below the collection, "" for the collection itself."""
    type: str = ""
    """"collection", "group" or "dataset"; "" when the manifest cannot be read."""
    manifest: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    """Why manifest or attributes cannot be read; "" when both were read."""

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

        Nothing may open these: a reader would wait for a pipe, or read a device without end.
        """
        names = sorted(self.registered)
        return [text for name in names if (text := not_a_file(self.path, name))]

    def refuse_not_files(self) -> None:
        """Refuse a dataset with a listed name that is not a file of its folder.

        Raises:
            StorageError: There is one.
        """
        for text in self.not_files:
            raise StorageError(
                f"{self.path}: {text}", remedy="Restore the file from a copy of the recording."
            )

    @property
    def strangers(self) -> list[str]:
        """The names of files in the folder that the manifest does not list, without drafts."""
        known = self.registered | {MANIFEST, ATTRIBUTES}
        known |= set(self.attributes.get("abandoned_files", []))
        return sorted(
            path.name
            for path in self.path.iterdir()
            if path.name not in known and not path.name.startswith(".")
        )

    @property
    def drafts(self) -> list[Path]:
        """Unfinished manifests."""
        return sorted(
            path for path in self.path.glob(f".*{DRAFT_SUFFIX}") if path.is_file()
        )  # fmt: skip


def not_a_file(folder: Path, name: str) -> str:
    """Describe a name that is neither a file nor a Zarr store of its folder; "" if it is or lacks.

    A store is a folder that contains only files and folders.

    Args:
        folder: The folder of the dataset.
        name: As listed in its manifest.
    """
    if name in {"", ".", ".."} or Path(name).name != name:
        return f"'{name}' is not the name of a file in the folder"
    path = folder / name
    is_store = name.endswith(".zarr") and path.is_dir()
    for each in path.rglob("*") if is_store else (path,):
        try:
            mode = each.stat().st_mode
        except FileNotFoundError:
            if each.is_symlink():
                return f"{each.relative_to(folder)} is a link to nothing, not a file"
            continue
        except OSError as error:  # a loop of links, or a folder that may not be entered
            return f"{each.relative_to(folder)} cannot be read: {error.strerror}"
        if not stat.S_ISREG(mode) and not (is_store and stat.S_ISDIR(mode)):
            kind = _KINDS_OF_FILE.get(stat.S_IFMT(mode), "of an unknown kind")
            return f"{each.relative_to(folder)} is {kind}, not a file"
    return ""


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
    if not (path / MANIFEST).is_file():
        what = "does not exist" if not path.exists() else "is not a recording: it has no manifest"
        raise StorageError(
            f"{path} {what}", remedy="Name the folder that `mlink run` printed at its end."
        )
    root = read_unit(path, "")
    if root.problem:
        damaged = ATTRIBUTES if root.manifest else MANIFEST
        raise StorageError(root.problem, remedy=f"Restore {damaged} from a copy.")
    if root.type != "collection":
        raise StorageError(
            f"{path} is a {root.type or 'folder'} of a recording, not the recording",
            remedy="Name the recording's own folder, above this one.",
        )
    return root


def units_below(root: Path) -> Iterator[UnitFolder]:
    """Yield every group and dataset, outer ones first, including those with a damaged manifest.

    Raises:
        StorageError: A folder cannot be listed.
    """
    yield from _below(root, root)


def read_unit(path: Path, name: str) -> UnitFolder:
    """Read one folder's manifest and attributes; errors are noted in its `problem`.

    Args:
        path: The folder.
        name: Its path below the collection.
    """
    unit = UnitFolder(path, name)
    if not (path / MANIFEST).is_file():
        unit.problem = f"{path} has no manifest"
        return unit
    try:
        unit.manifest = read_toml(path / MANIFEST)
        unit.type = str(unit.manifest.get("type", ""))
        if (path / ATTRIBUTES).exists():
            unit.attributes = read_toml(path / ATTRIBUTES)
    except StorageError as error:
        unit.problem = error.message
    return unit


def _below(root: Path, folder: Path) -> Iterator[UnitFolder]:
    with storage_errors(folder, "read"):
        children = sorted(child for child in folder.iterdir() if child.is_dir())
    for child in children:
        unit = read_unit(child, child.relative_to(root).as_posix())
        yield unit
        if unit.type == "group":
            yield from _below(root, child)
