"""Datasets and groups of the recording, as standalone scripts use them.

Thin wrappers of `mlink.storage.edl` with the method names of Syntalos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlink.errors import StorageError
from mlink.scripting.errors import SyntalosPyError

if TYPE_CHECKING:
    from mlink.storage.edl import Dataset, Group


@contextmanager
def _as_script_error(what: str) -> Iterator[None]:
    """Turn errors of the storage into SyntalosPyError; `what` begins the message."""
    try:
        yield
    except (StorageError, TypeError, ValueError) as error:
        raise SyntalosPyError(f"{what}: {error}") from error


class EdlDataset:
    """A dataset of the recording: a folder with a main data file and auxiliary files.

    The script writes the files itself, to the paths that these methods return. The manifest is
    saved when the run ends. Methods raise SyntalosPyError for names that cannot be used.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    @property
    def path(self) -> Path:
        """The dataset's folder."""
        return self._dataset.path

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self._dataset.name

    @property
    def is_empty(self) -> bool:
        """Whether no file has been registered yet."""
        return self._dataset.is_empty

    def set_data_file(self, file_name: str, summary: str = "", scan: bool = False) -> Path:
        """Register the main data file.

        Args:
            file_name: Name of the file, or with `scan` a glob pattern.
            summary: Description, noted in the manifest.
            scan: Whether to look for files that match `file_name` when the dataset is saved.

        Returns:
            The path to write to; with `scan` the dataset's folder.
        """
        with _as_script_error(f"dataset '{self.name}'"):
            return self._dataset.set_data_file(file_name, summary, scan)

    def add_aux_file(
        self, file_name: str, key: str = "", summary: str = "", scan: bool = False
    ) -> Path:
        """Register an auxiliary file.

        Args:
            file_name: Name of the file, or with `scan` a glob pattern.
            key: Key of the file in the manifest; empty for none.
            summary: Description, noted in the manifest.
            scan: As for `set_data_file`.

        Returns:
            The path to write to; with `scan` the dataset's folder.
        """
        with _as_script_error(f"dataset '{self.name}'"):
            return self._dataset.add_aux_file(file_name, key, summary, scan)

    def path_for_basename(self, basename: str) -> Path:
        """Return the path of a file of this name in the dataset, without registering it.

        Raises:
            SyntalosPyError: The name cannot be a file's.
        """
        with _as_script_error(f"dataset '{self.name}'"):
            return self._dataset.path_for_basename(basename)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute of the dataset; `value` is of a type that TOML has.

        Raises:
            SyntalosPyError: TOML has no such type.
        """
        with _as_script_error(f"dataset '{self.name}', attribute '{key}'"):
            self._dataset.set_attribute(key, value)

    def __repr__(self) -> str:
        return f"<EdlDataset '{self.name}'>"


class EdlGroup:
    """A group of datasets in the recording.

    `keep` is called with each dataset and group that is created, which the worker saves when the
    run ends. Methods raise SyntalosPyError for names that cannot be used.
    """

    def __init__(self, group: Group, keep: Callable[[Dataset | Group], None]) -> None:
        self._group = group
        self._keep = keep

    @property
    def path(self) -> Path:
        """The group's folder."""
        return self._group.path

    @property
    def name(self) -> str:
        """The group's name."""
        return self._group.name

    def create_group(self, name: str) -> EdlGroup:
        """Return the group of this name within this one; it is created when it does not exist.

        Raises:
            SyntalosPyError: The name cannot be a group's.
        """
        with _as_script_error(f"group '{name}'"):
            group = self._group.create_group(name)
        self._keep(group)
        return EdlGroup(group, self._keep)

    def create_dataset(self, name: str) -> EdlDataset:
        """Create a dataset in this group.

        Raises:
            SyntalosPyError: There is a dataset of this name.
        """
        from mlink.storage.naming import slug

        with _as_script_error(f"dataset '{name}'"):
            if (self.path / slug(name)).exists():
                raise SyntalosPyError(
                    f"there is a dataset '{name}' in group '{self.name}' already: "
                    "choose another name"
                )
            dataset = self._group.create_dataset(name)
        self._keep(dataset)
        return EdlDataset(dataset)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute of the group; `value` is of a type that TOML has.

        Raises:
            SyntalosPyError: TOML has no such type.
        """
        with _as_script_error(f"group '{self.name}', attribute '{key}'"):
            self._group.set_attribute(key, value)

    def __repr__(self) -> str:
        return f"<EdlGroup '{self.name}'>"
