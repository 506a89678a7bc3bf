"""Converts the operating system's file errors into StorageErrors with a remedy."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlink.errors import StorageError
from mlink.refusals import REMEDIES

_CONTROLS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode: controls, invisible formats such as another direction, line ends."""
_REMEDIES = {
    errno.ENOSPC: "The disk is full: free space on it, or record to another one with --out DIR.",
    errno.EDQUOT: "Your quota on this disk is used up: free space, or record elsewhere.",
    errno.EROFS: "The disk is mounted read-only: remount it, or record elsewhere with --out DIR.",
    errno.EACCES: "Give this user write permission there, or record elsewhere with --out DIR.",
    errno.EPERM: "Give this user write permission there, or record elsewhere with --out DIR.",
    errno.ENAMETOOLONG: "Choose shorter names for the bench, the subject or the module.",
    errno.EIO: "The disk reports an error: check its cable and its health (dmesg, smartctl).",
}

DISK_ERRORS = frozenset({*_REMEDIES, errno.EFBIG})
"""`errno` values caused by the disk or its permissions, not by a wrong call."""

UNEXPECTED = (
    StorageError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    ArithmeticError, RecursionError, MemoryError,
)  # fmt: skip
"""What the content of a file of a stranger may raise where nothing has refused it before."""


def printable(text: str, *, keep: str = "") -> str:
    """Return a text with escapes in place of what controls a terminal or hides other text.

    Args:
        text: It may be of a stranger.
        keep: Control characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode()
        if each not in keep and unicodedata.category(each) in _CONTROLS
        else each
        for each in text
    )


def damage_of(error: BaseException) -> str:
    """Return in words what one of UNEXPECTED has found in a dataset."""
    if isinstance(error, StorageError):
        return error.message
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    return f"it has a value that no recorder writes: {error or type(error).__name__}"


def reason_of(error: BaseException) -> str:
    """Return the text of an error for a finding: without a remedy, which has a line of its own."""
    return error.message if isinstance(error, StorageError) else str(error)


def storage_error(error: OSError, path: Path, action: str = "write") -> StorageError:
    """Return a StorageError that names the file, the system's reason, and a remedy.

    Args:
        error: The error of the system call.
        path: The file or folder concerned.
        action: What failed, as a verb: "write", "read" or "create".
    """
    reason = error.strerror or str(error) or type(error).__name__
    code = error.errno or 0
    usual = REMEDIES.get(code, "Check the disk and the folder, then run again.")
    remedy = _REMEDIES.get(code, usual)
    return StorageError(f"cannot {action} {path}: {reason}", remedy=remedy)


def pwrite_all(fd: int, data: bytes, position: int) -> None:
    """Write all of `data` at a position of a file, in as many calls as the system needs.

    Raises:
        OSError: The system refuses a write; a part of the data may be in the file.
    """
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], position + written)


@contextmanager
def storage_errors(path: Path, action: str = "write") -> Iterator[None]:
    """Convert an OSError raised inside the block into a StorageError about `path`.

    Args:
        path: The file or folder concerned.
        action: What fails then, as a verb: "write", "read" or "create".

    Raises:
        StorageError: The block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, action) from error
