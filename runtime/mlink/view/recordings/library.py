"""The recordings below a folder, or one recording: which may be read, and their readers."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from mlink.errors import MlinkError
from mlink.view.recordings.reader import Reader

MANIFEST = "manifest.toml"
"""As in `mlink.storage.manifest`, which imports numpy: the page of a run does without."""
_MOST_READERS = 4


class Library:
    """Gives each recording a reader, which stays for the next question.

    Args:
        root: The folder; nothing outside of it is read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._readers: dict[str, Reader] = {}
        """Path below the root → reader; the one that was asked last is the last one."""

    def path(self, of: str, *, needs: str = "") -> Path:
        """Return what a page names: a file or folder below the root, reached without links.

        Args:
            of: Path below the root, as lists of the page have it; "." for the root itself.
            needs: Name of a file that must be in it.

        Raises:
            MlinkError: There is none.
        """
        name, path = PurePosixPath(of), self.root
        try:
            if name.is_absolute() or ".." in name.parts or "\0" in of or str(name) != of:
                raise OSError  # each has one name, by which its reader and its works are found
            for part in (*name.parts, *([needs] if needs else [])):
                path = path / part
                if stat.S_ISLNK(path.lstat().st_mode):
                    raise OSError
        except OSError:
            raise MlinkError(
                f"there is no '{of}' in the folder of this page", remedy="Load the page again."
            ) from None
        return path.parent if needs else path

    def reader(self, of: str) -> Reader:
        """Return the reader of a recording.

        Raises:
            MlinkError: There is no such recording, or too many are being read.
        """
        path = self.path(of, needs=MANIFEST)
        reader = self._readers.pop(of, None)
        if reader is None and len(self._readers) >= _MOST_READERS:
            idle = next((name for name, each in self._readers.items() if not each.is_busy), None)
            if idle is None:
                raise MlinkError(
                    f"{_MOST_READERS} recordings are being read already", remedy="Try again."
                )
            self._readers.pop(idle).close()
        self._readers[of] = reader = reader or Reader(path)
        return reader

    def forget(self, of: str) -> None:
        """End the reader of a recording that has changed; its next question has another one."""
        if reader := self._readers.pop(of, None):
            reader.retire()

    def close(self) -> None:
        """End all readers."""
        while self._readers:
            self._readers.popitem()[1].close()
