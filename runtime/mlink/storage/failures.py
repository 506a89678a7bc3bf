"""Turns what the operating system says of a file into a StorageError that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlink.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: "The disk is full: free space on it, or record to another one with --out DIR.",
    errno.EDQUOT: "Your quota on this disk is used up: free space, or record elsewhere.",
    errno.EROFS: "The disk is mounted read-only: remount it, or record elsewhere with --out DIR.",
    errno.EACCES: "Give this user write permission there, or record elsewhere with --out DIR.",
    errno.EPERM: "Give this user write permission there, or record elsewhere with --out DIR.",
    errno.ENAMETOOLONG: "Choose shorter names for the bench, the subject or the module.",
    errno.EIO: "The disk reports an error: check its cable and its health (dmesg, smartctl).",
    errno.EFBIG: "The file system cannot hold a file this large: use another one, e.g. ext4.",
}

DISK_ERRORS = frozenset(_REMEDIES)
"""`errno` values that speak of the disk, not of what was asked."""


def storage_error(error: OSError, path: Path, action: str = "write") -> StorageError:
    """Say which file, what the system said, and what to do about it."""
    reason = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0, "Check the disk and the folder, then run again.")
    return StorageError(f"cannot {action} {path}: {reason}", remedy=remedy)


def pwrite_all(fd: int, data: bytes, position: int) -> None:
    """Write all of `data` at a position of a file; OSError where the system refuses."""
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], position + written)


@contextmanager
def storage_errors(path: Path, action: str = "write") -> Iterator[None]:
    """Turn an OSError raised inside into a StorageError about `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, action) from error
