"""Forces a recording's files onto the disk, twice a second and when all of them are closed.

Written data is at first in the page cache only. It survives a killed process, but a power cut or
a disk that is pulled out loses up to half a minute of it. Forcing it out also detects a broken disk
during the run, since writes to the page cache do not fail. Only the recording's own files are
forced out: the whole file system may have gigabytes of other programs' data to write.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from mlink.errors import StorageError
from mlink.storage.failures import storage_error

INTERVAL_S = 0.5
FINISH_LIMIT_S = 60.0
"""Longest wait for a slow disk at the end of the run."""
_IDLE_CALLS = 60
"""Calls, half a second apart, after which a file that did not change is looked at less often."""


class DiskSync:
    """A thread, for the length of a `with` block, that forces a folder's files onto the disk.

    Args:
        folder: Folder of the recording; files are found at any depth, and while it grows.
        on_error: Called once, in that thread, when the disk fails. The thread then ends.
            `finish` may call it in the caller's thread.
    """

    def __init__(self, folder: Path, on_error: Callable[[StorageError], None]) -> None:
        self._folder = folder
        self._on_error = on_error
        self._files = ChangedFiles(folder)
        self._stop = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="disk-sync", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if not self._failed:
            self._thread.join(FINISH_LIMIT_S)

    def finish(self) -> None:
        """Force out each file in its final state; call it when nothing writes any more.

        It may be called again after further writes. A disk that needs more than FINISH_LIMIT_S is
        an error.
        """
        self._stop.set()
        if self._failed:
            return
        deadline = time.monotonic() + FINISH_LIMIT_S
        self._thread.join(FINISH_LIMIT_S)
        if not self._thread.is_alive() and not self._failed:
            # All files once more: a last write in the same tick of the clock, which leaves the
            # size as it was, is not visible in a file's state.
            self._files = ChangedFiles(self._folder)
            last = threading.Thread(target=self._write_out, name="disk-sync", daemon=True)
            try:
                last.start()
            except RuntimeError:  # the system allows no further thread
                self._write_out()
                return
            self._thread = last
            self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._fail(
                StorageError(
                    f"the disk has not stored all of {self._folder} within {FINISH_LIMIT_S:g} s",
                    remedy="Wait until the disk is idle before you unplug it or switch the "
                    "machine off; then check the recording with `mlink verify`.",
                )
            )

    def _run(self) -> None:
        wait_s = INTERVAL_S
        while not self._stop.wait(wait_s):
            began = time.monotonic()
            if not self._write_out():
                return
            # A slow disk is left to the recorders for half of the time.
            wait_s = max(INTERVAL_S, time.monotonic() - began)

    def _write_out(self) -> bool:
        try:
            self._files.write_out()
        except OSError as error:
            self._fail(storage_error(error, Path(error.filename or self._folder)))
            return False
        return True

    def _fail(self, error: StorageError) -> None:
        if not self._failed:
            self._failed = True
            self._on_error(error)


class ChangedFiles:
    """The files below a folder, with the size and time that each had when last forced out.

    A file that has not changed for _IDLE_CALLS calls is looked at once in as many only, so that
    the thousands of files of a long recording take no more time than those that are being written.
    One that has been replaced is another file, and is noticed at once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._known: dict[str, _Known] = {}
        self._calls = 0

    def write_out(self) -> int:
        """Force files and folders that changed since the last call onto the disk.

        Returns:
            How many they were.

        Raises:
            OSError: The disk failed; `filename` names the file.
        """
        count = 0
        self._calls += 1
        folders = [self._folder]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif entry.is_file(follow_symlinks=False) and self._is_due(entry):
                            count += self._write_out_if_changed(entry.path)
                count += self._write_out_if_changed(folder)  # contains the names of new files
            except FileNotFoundError:
                continue  # removed since it was listed
        return count

    def _is_due(self, entry: os.DirEntry[str]) -> bool:
        known = self._known.get(entry.path)
        if known is None or known.inode != entry.inode():
            return True
        idle = self._calls - known.changed_at
        return idle < _IDLE_CALLS or idle % _IDLE_CALLS == 0

    def _write_out_if_changed(self, path: str) -> bool:
        try:
            found = os.stat(path)  # noqa: PTH116 - strings from scandir, twice a second
        except FileNotFoundError:
            return False
        state = _Known(found.st_ino, found.st_mtime_ns, found.st_size, self._calls)
        if (known := self._known.get(path)) is not None and known[:3] == state[:3]:
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


class _Known(NamedTuple):
    inode: int
    mtime_ns: int
    size: int
    changed_at: int
    """The call that noticed this."""
