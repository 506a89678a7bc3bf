"""A unit of a recording, and the dataset: a folder with a manifest, attributes and data files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlink.storage.manifest import (
    ATTRIBUTES,
    MANIFEST,
    DataEntry,
    make_entry,
    plain_value,
    read_toml,
    write_toml,
)
from mlink.storage.naming import check_file_name


class Unit:
    """A folder with a manifest and attributes: base class of dataset, group and collection.

    Args:
        path: The folder, which exists.
        collection_id: 16 bytes that identify the run.
        manifest: Content of its manifest so far.
    """

    def __init__(self, path: Path, collection_id: bytes, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.collection_id = collection_id
        self._manifest = dict(manifest)
        self._attributes: dict[str, Any] = {}
        self._removed: set[str] = set()
        """Attributes that were removed; they may still be on the disk."""

    @property
    def name(self) -> str:
        """The unit's name, which is that of its folder."""
        return self.path.name

    @property
    def attributes(self) -> dict[str, Any]:
        """Copy of the attributes set so far."""
        return dict(self._attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute, which the next `save()` writes; None removes it.

        Raises:
            StorageError: The value has no equivalent in TOML.
        """
        if value is None:
            self._attributes.pop(key, None)
            self._removed.add(key)
        else:
            self._attributes[key] = plain_value(key, value)
            self._removed.discard(key)

    def _merge_attributes_on_disk(self) -> None:
        # Groups are shared: keep what other processes wrote, unless this one set the same key.
        if (self.path / ATTRIBUTES).exists():
            found = read_toml(self.path / ATTRIBUTES) | self._attributes
            self._attributes = {key: found[key] for key in found if key not in self._removed}

    def _save_attributes(self) -> None:
        if self._attributes or (self.path / ATTRIBUTES).exists():
            write_toml(self.path / ATTRIBUTES, self._attributes)


class Dataset(Unit):
    """One recorder's data: a main data file, possibly in parts, and auxiliary files.

    Files are registered in the manifest by the methods below; the recorder writes them itself.
    """

    def __init__(self, path: Path, collection_id: bytes, manifest: Mapping[str, Any]) -> None:
        super().__init__(path, collection_id, manifest)
        self._data: DataEntry | None = None
        self._aux: dict[str, DataEntry] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no file is registered."""
        return self._data is None and not self._aux

    def set_data_file(self, file_name: str, summary: str = "", scan: bool = False) -> Path:
        """Register the main data file and return its path.

        Args:
            file_name: Plain file name.
            summary: Description for people.
            scan: The name is a glob for all parts, evaluated by `save()`; the folder is returned.

        Raises:
            StorageError: The name is not a plain file name.
        """
        self._data = make_entry(file_name, summary=summary, scan=scan)
        self._save_manifest()
        return self.path if scan else self.path / file_name

    def add_data_part(self, file_name: str) -> Path:
        """Register a further part of the main data, such as a video's next file.

        Returns:
            The path of the file.

        Raises:
            StorageError: The name is not a plain file name.
        """
        if self._data is None or self._data.pattern:
            return self.set_data_file(file_name)
        self._data.file_names.append(check_file_name(file_name))
        self._save_manifest()
        return self.path / file_name

    def add_aux_file(
        self, file_name: str, key: str = "", summary: str = "", scan: bool = False
    ) -> Path:
        """Register an auxiliary file and return its path.

        Args:
            file_name: Plain file name.
            key: Files of the same key are parts of the same data; without one, each is separate.
            summary: Description for people.
            scan: The name is a glob for all parts, evaluated by `save()`; the folder is returned.

        Raises:
            StorageError: The name is not a plain file name.
        """
        entry = make_entry(file_name, key=key, summary=summary, scan=scan)
        known = self._aux.get(key) if key else None
        if known is not None and not known.pattern and not scan:
            known.file_names.append(file_name)
        else:
            self._aux[key or file_name] = entry
        self._save_manifest()
        return self.path if scan else self.path / file_name

    def path_for_basename(self, basename: str) -> Path:
        """Return the path of a file of this name in the dataset, without registering it.

        Raises:
            StorageError: The name is not a plain file name.
        """
        return self.path / check_file_name(basename)

    def save(self) -> None:
        """Write manifest and attributes, each atomically.

        Raises:
            StorageError: They cannot be written.
        """
        self._save_attributes()
        self._save_manifest()

    def _save_manifest(self) -> None:
        manifest = dict(self._manifest)
        if self._data is not None:
            table = self._data.as_toml(self.path)
            if table is not None:
                manifest["data"] = table
        aux = [table for entry in self._aux.values() if (table := entry.as_toml(self.path))]
        if aux:
            manifest["data_aux"] = aux
        write_toml(self.path / MANIFEST, manifest)
