"""What all exports of a recording share: its datasets one by one, and new files for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.recording.progress import Progress, quiet, with_progress
from mlink.recording.stream import Columns, RecordedStream
from mlink.storage.failures import UNEXPECTED, damage_of, storage_errors

HDF5_COLUMNS = 5000
"""Columns of a dataset in an HDF5 file, where each is an object of its own."""


def utf8(value: object) -> str:
    """Return a value as a text that UTF-8 has: JSON can name half characters."""
    return str(value).encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Export:
    """An export: of which recording, and into which folder, which is created.

    Raises:
        StorageError: That is not possible; or, without `failed`, a dataset cannot be opened.
    """

    recording: Recording
    out: Path
    failed: list[str] | None = None
    """Gets a text for each dataset that cannot be exported; None raises the first such error."""
    subject: Mapping[str, str] = field(default_factory=dict)
    """Facts about the subject (`mlink.bench.subject`) that replace those of the recording."""
    progress: Progress = quiet
    """Called for each dataset before it is read."""

    def __post_init__(self) -> None:
        with storage_errors(self.out, "create"):
            self.out.mkdir(parents=True, exist_ok=True)
        for name in self.recording.problems:
            with self.apart(name):
                self.recording[name]

    def each(self, most: int = 0) -> Iterator[tuple[str, RecordedStream, Columns]]:
        """Yield the datasets that have columns; one that cannot be read is noted in `failed`.

        Args:
            most: Columns that the format can have; 0 for any number.
        """
        for name in with_progress(self.progress, "export", self.recording):
            with self.apart(name):
                columns = self.recording[name].columns()
                if 0 < most < len(columns):
                    raise StorageError(
                        f"it has {len(columns)} columns, and files of this format at most {most}",
                        remedy="Export it as CSV or Parquet.",
                    )
                if columns:
                    yield name, self.recording[name], columns
            columns = {}  # one dataset at a time is in memory
            self.recording.release(name)

    @contextmanager
    def apart(self, name: str) -> Iterator[None]:
        """Note what is wrong with a dataset in `failed`, so that others are exported all the same.

        Args:
            name: The dataset.

        Raises:
            StorageError: The dataset cannot be exported, and `failed` is None.
        """
        try:
            yield
        except UNEXPECTED as error:
            if self.failed is None:
                raise (
                    error
                    if isinstance(error, StorageError)
                    else StorageError(f"'{name}' cannot be exported: {damage_of(error)}")
                ) from error
            self.failed.append(f"{name}: {damage_of(error)}")

    def new_file(self, name: str, suffix: str) -> Path:
        """Return the path of a new file for a dataset.

        Raises:
            StorageError: It exists already.
        """
        path = self.out / f"{name.replace('/', '-')}.{suffix}"
        if path.exists():
            raise StorageError(f"{path} exists already", remedy="Choose another folder with --out.")
        return path

    def whole(self, suffix: str) -> Path:
        """Return the path of a new file for the whole recording; raises as `new_file` does."""
        return self.new_file(self.recording.path.resolve().name, suffix)
