"""Brings what the recorders wrote onto the disk itself, twice a second.

A written file is at first in the system's memory only: a kill does not hurt it, but a disk that is
pulled or a power cut takes up to half a minute of it. It is also how a broken disk is found out
while the run goes on: a write into memory does not fail.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from mlink.errors import StorageError
from mlink.storage.failures import storage_error

INTERVAL_S = 0.5
_JOIN_S = 10.0
"""A disk that takes longer than this for one write-out is not waited for at the end."""


class DiskSync:
    """A thread that writes out the file system of a folder; calls `on_error` once if it cannot.

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

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._on_error(storage_error(error, self._folder, "open"))
            return
        try:
            while not self._stop.wait(INTERVAL_S):
                sync_file_system(fd)
        except OSError as error:
            self._on_error(storage_error(error, self._folder, "write out"))
        finally:
            os.close(fd)


def sync_file_system(fd: int) -> None:
    """Write out all of the file system that an open file lies on; OSError as the disk says."""
    if _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc = ctypes.CDLL(None, use_errno=True)
