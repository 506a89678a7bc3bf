"""Datasets and groups of the run's recording, as scripts see them."""

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
def _told(what: str) -> Iterator[None]:
    """Raise what storage refuses as the script interface's error."""
    try:
        yield
    except (StorageError, TypeError, ValueError) as error:
        raise SyntalosPyError(f"{what}: {error}") from error


class EdlDataset:
    """A dataset of the recording: a folder with a main data file and auxiliary files."""

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
        """Whether no file has been registered."""
        return self._dataset.is_empty

    def set_data_file(self, file_name: str, summary: str = "", scan: bool = False) -> Path:
        """Register the main data file and return its path, to be written by the script.

        With `scan` the name is a glob that is evaluated when the dataset is saved, and the
        dataset's folder is returned.
        """
        with _told(f"dataset '{self.name}'"):
            return self._dataset.set_data_file(file_name, summary, scan)

    def add_aux_file(
        self, file_name: str, key: str = "", summary: str = "", scan: bool = False
    ) -> Path:
        """Register an auxiliary file and return its path; `scan` as in `set_data_file`."""
        with _told(f"dataset '{self.name}'"):
            return self._dataset.add_aux_file(file_name, key, summary, scan)

    def path_for_basename(self, basename: str) -> Path:
        """Return where a file of this name would lie, without registering it."""
        with _told(f"dataset '{self.name}'"):
            return self._dataset.path_for_basename(basename)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute of the dataset."""
        with _told(f"dataset '{self.name}', attribute '{key}'"):
            self._dataset.set_attribute(key, value)

    def __repr__(self) -> str:
        return f"<EdlDataset '{self.name}'>"


class EdlGroup:
    """A group of datasets in the recording; `keep` is told what to save when the run ends."""

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
        """Return the group of this name within this one, made when absent."""
        with _told(f"group '{name}'"):
            group = self._group.create_group(name)
        self._keep(group)
        return EdlGroup(group, self._keep)

    def create_dataset(self, name: str) -> EdlDataset:
        """Make a dataset in this group; it must not exist yet."""
        from mlink.storage.naming import slug

        with _told(f"dataset '{name}'"):
            if (self.path / slug(name)).exists():
                raise SyntalosPyError(
                    f"there is a dataset '{name}' in group '{self.name}' already: "
                    "choose another name"
                )
            dataset = self._group.create_dataset(name)
        self._keep(dataset)
        return EdlDataset(dataset)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute of the group."""
        with _told(f"group '{self.name}', attribute '{key}'"):
            self._group.set_attribute(key, value)

    def __repr__(self) -> str:
        return f"<EdlGroup '{self.name}'>"
