"""Brings what the recorders wrote onto the disk itself, twice a second.

A written file is at first in the system's memory only: a kill does not hurt it, but a disk that is
pulled or a power cut takes up to half a minute of it. It is also how a broken disk is found out
while the run goes on: a write into memory does not fail. Only the recording's own files are
written out (not the whole file system, which may owe gigabytes of somebody else's).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from mlink.errors import StorageError
from mlink.storage.failures import storage_error

INTERVAL_S = 0.5
_JOIN_S = 10.0
"""A disk that takes longer than this is not waited for at the end."""


class DiskSync:
    """A thread that writes out a folder's files; calls `on_error` once if the disk refuses.

    `on_error` gets a StorageError, in that thread.
    """

    def __init__(self, folder: Path, on_error: Callable[[StorageError], None]) -> None:
        self._folder = folder
        self._on_error = on_error
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disk-sync", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        files = ChangedFiles(self._folder)
        wait_s = INTERVAL_S
        while not self._stop.wait(wait_s):
            began = time.monotonic()
            try:
                files.write_out()
            except OSError as error:
                self._on_error(storage_error(error, Path(error.filename or self._folder)))
                return
            # On a slow disk half of the time is left to the recorders.
            wait_s = max(INTERVAL_S, time.monotonic() - began)


class ChangedFiles:
    """The files below a folder, with the state in which each was last written out."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._known: dict[str, tuple[int, int]] = {}

    def write_out(self) -> int:
        """Force what changed since the last call onto the disk; return how many files that was."""
        count = 0
        folders = [self._folder]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif entry.is_file(follow_symlinks=False):
                            count += self._write_out_if_changed(entry.path)
                count += self._write_out_if_changed(folder)  # the names of new files
            except FileNotFoundError:
                continue  # drafts come and go
        return count

    def _write_out_if_changed(self, path: str) -> bool:
        try:
            found = os.stat(path)  # noqa: PTH116 - strings from scandir, twice a second
        except FileNotFoundError:
            return False
        state = (found.st_mtime_ns, found.st_size)
        if self._known.get(path) == state:
            return False
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return False
        try:
            os.fdatasync(fd)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(fd)
        self._known[path] = state
        return True
