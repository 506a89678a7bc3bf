"""Writes recordings in the EDL layout: collection, groups and datasets, each with a manifest.

Several processes create groups and datasets in one collection at the same time. The process that
creates a folder's manifest decides what the folder is; the others use it or choose another name.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlink.errors import StorageError
from mlink.storage.dataset import Dataset, Unit
from mlink.storage.failures import storage_errors
from mlink.storage.manifest import (
    MANIFEST,
    now,
    plain_attributes,
    read_toml,
    unit_manifest,
    write_toml_once,
)
from mlink.storage.naming import numbered, slug, split_proposal

__all__ = [
    "UNCLOSED",
    "Author",
    "Collection",
    "Dataset",
    "Group",
    "create_collection",
    "create_dataset",
    "open_group",
]

UNCLOSED = "The run was not closed: it still goes on, or it was killed."
"""`failure_reason` of a collection until `Collection.save` is called."""

_MANIFEST_WAIT_S = 2.0
"""Longest time that another process may take between creating a folder and its manifest."""


@dataclass(frozen=True, slots=True)
class Author:
    """A person who made a recording; `email` may be empty.

    The manifest lists authors in the order in which they are given.
    """

    name: str
    email: str = ""

    def as_toml(self) -> dict[str, str]:
        """Return this person's table in a manifest."""
        table = {"name": self.name}
        if self.email:
            table["email"] = self.email
        return table


class Group(Unit):
    """A folder of datasets and further groups."""

    _time_created: datetime | None = None
    """Creation time noted in the units made in it; None: the time at which each is made."""

    def create_group(self, name: str) -> Group:
        """Return the group of this name, created if absent ("a/b" is group b in group a).

        Raises:
            StorageError: It cannot be created.
        """
        return _ensure_groups(self.path, name, self.collection_id, self._time_created) or self

    def create_dataset(self, name: str) -> Dataset:
        """Create a dataset in this group ("a/b" is dataset b in group a).

        Raises:
            StorageError: It cannot be created.
        """
        return create_dataset(
            self.path, name, collection_id=self.collection_id, time_created=self._time_created
        )

    def save(self) -> None:
        """Write the attributes; those that other processes wrote are kept.

        Raises:
            StorageError: They cannot be written, or those on disk are damaged.
        """
        self._merge_attributes_on_disk()
        self._save_attributes()


class Collection(Group):
    """A recording: the root of its tree."""

    def save(  # type: ignore[override]  # a collection cannot be closed without its outcome
        self,
        success: bool,
        failure_reason: str = "",
        *,
        recording_length_msec: int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Close the recording: write how the run ended, and further attributes.

        Args:
            success: Whether the run succeeded.
            failure_reason: Why it failed; ignored after a success.
            recording_length_msec: Length of the run in ms.
            attributes: Attributes to add.

        Raises:
            StorageError: They cannot be written, or a value has no equivalent in TOML.
        """
        self._merge_attributes_on_disk()
        self._attributes.update(plain_attributes(attributes or {}))
        if recording_length_msec is not None:
            self.set_attribute("recording_length_msec", recording_length_msec)
        self.set_attribute("success", success)
        self.set_attribute("failure_reason", None if success else failure_reason or "unknown")
        self._save_attributes()


def create_collection(
    path: Path,
    *,
    collection_id: bytes,
    generator: str,
    time_created: datetime | None = None,
    authors: Iterable[Author] = (),
    attributes: Mapping[str, Any] | None = None,
    moniker: str = "",
) -> Collection:
    """Make a folder the root of a recording.

    Its attributes contain `success = false` until `Collection.save` is called, so that a killed
    run can be recognised.

    Args:
        path: A new or empty folder (see `place.recording_path`).
        collection_id: 16 bytes that identify the run.
        generator: Program that makes the recording.
        time_created: Local time with its offset, by default now.
        authors: Who makes the recording.
        attributes: Attributes known already. `machine_node` is this computer's name unless given;
            None leaves it out.
        moniker: A nickname; "" for none.

    Raises:
        StorageError: The folder contains a recording, or cannot be written.
    """
    manifest = unit_manifest("collection", collection_id, time_created or now())
    manifest["generator"] = generator
    if moniker:
        manifest["collection_moniker"] = moniker
    people = [author.as_toml() for author in authors]
    if people:
        manifest["authors"] = people
    with storage_errors(path, "create"):
        path.mkdir(parents=True, exist_ok=True)
    collection = Collection(path, collection_id, manifest)
    collection.set_attribute("collection_name", path.name)
    given = attributes or {}
    if "machine_node" not in given:
        collection.set_attribute("machine_node", socket.gethostname())
    collection._attributes.update(plain_attributes(given))
    if not write_toml_once(path / MANIFEST, manifest):
        raise StorageError(
            f"{path} holds a recording already",
            remedy="Choose another folder; recordings are never overwritten.",
        )
    collection.set_attribute("success", False)
    collection.set_attribute("failure_reason", UNCLOSED)
    try:
        collection._save_attributes()
    except StorageError:
        # A manifest alone would look like a run that was killed.
        with contextlib.suppress(OSError):
            (path / MANIFEST).unlink()
        raise
    return collection


def open_group(path: Path, collection_id: bytes, *, time_created: datetime | None = None) -> Group:
    """Return the group or collection in the folder `path`, to create further units in it.

    Args:
        path: Its folder.
        collection_id: 16 bytes that identify the run.
        time_created: Creation time noted in the units made in it, by default that of each.

    Raises:
        StorageError: It has no manifest, or a damaged one.
    """
    return _group(path, collection_id, read_toml(path / MANIFEST), time_created)


def create_dataset(
    collection_dir: Path,
    preferred_name: str,
    *,
    group: str = "",
    collection_id: bytes,
    time_created: datetime | None = None,
) -> Dataset:
    """Create a dataset in the folder of a collection or group.

    Args:
        collection_dir: Folder of the collection or group.
        preferred_name: Its name, which gets a number if it is taken; "events/table" is the dataset
            "table" in a group "events".
        group: Group around that one; groups are created if absent.
        collection_id: 16 bytes that identify the run.
        time_created: Creation time noted in its manifest, by default now.

    Raises:
        StorageError: It cannot be created.
    """
    proposed_group, name = split_proposal(preferred_name)
    parent = collection_dir
    groups = _ensure_groups(
        collection_dir, f"{group}/{proposed_group}", collection_id, time_created
    )
    if groups is not None:
        parent = groups.path
    manifest = unit_manifest("dataset", collection_id, time_created or now())
    for candidate in numbered(name or slug("")):
        path = parent / candidate
        with storage_errors(path, "create"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir()
            except FileExistsError:
                continue
        if write_toml_once(path / MANIFEST, manifest):
            return Dataset(path, collection_id, manifest)
    raise StorageError(f"there are too many datasets named {name} in {parent}")


def _ensure_groups(
    folder: Path, names: str, collection_id: bytes, time_created: datetime | None
) -> Group | None:
    """Return the innermost of the groups "a/b/c", created if absent; None if none is named."""
    found: Group | None = None
    for part in names.split("/"):
        name = slug(part, "")
        if name:
            found = _ensure_group(folder, name, collection_id, time_created)
            folder = found.path
    return found


def _ensure_group(
    folder: Path, name: str, collection_id: bytes, time_created: datetime | None
) -> Group:
    manifest = unit_manifest("group", collection_id, time_created or now())
    for candidate in numbered(name):
        path = folder / candidate
        with storage_errors(path, "create"):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except FileExistsError:  # a file has this name
                continue
        if write_toml_once(path / MANIFEST, manifest):
            return _group(path, collection_id, manifest, time_created)
        if _unit_type(path) == "group":
            return _group(path, collection_id, read_toml(path / MANIFEST), time_created)
    raise StorageError(f"no group named {name} can be created in {folder}")


def _group(
    path: Path, collection_id: bytes, manifest: Mapping[str, Any], time_created: datetime | None
) -> Group:
    group = Group(path, collection_id, manifest)
    group._time_created = time_created
    return group


def _unit_type(path: Path) -> str:
    # On file systems without hard links, another process may be writing the manifest right now.
    deadline = time.monotonic() + _MANIFEST_WAIT_S
    while True:
        try:
            return str(read_toml(path / MANIFEST).get("type", ""))
        except StorageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
