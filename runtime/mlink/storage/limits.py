"""Bounds on what is made of the numbers in a file, which may come from a stranger.

A few bytes may inflate to gigabytes, or a header may claim that many. What a file gives may
therefore have READ_MB, or INFLATED times the bytes that the file really has, whichever is more.
"""

from __future__ import annotations

import os

from mlink.errors import StorageError

VARIABLE = "MLINK_READ_LIMIT_MB"
MEMORY_MB = 400
"""What one dataset may take of memory, in MB, or VARIABLE if that is more; checks need less."""
READ_MB = 128
"""What any file may give, in MB; the environment variable VARIABLE replaces it."""
INFLATED = 64
"""What a file may give, in bytes for each of its own: recorded data is far below."""
TOML_SHARE = 16
"""The part of the bound that a manifest may have: its values need many times its bytes."""
REMEDY = f"If you trust the recording, allow more in MB, e.g. {VARIABLE}=1000 mlink …"


def read_limit(size: int = 0) -> int:
    """Return the bytes that a file may give.

    Args:
        size: Bytes that it has on the disk.
    """
    try:
        allowed = int(os.environ.get(VARIABLE, READ_MB))
    except ValueError:
        allowed = READ_MB
    return max(max(allowed, 1) << 20, INFLATED * size)


def check_size(what: str, size: int, limit: int) -> None:
    """Refuse what is larger than its bound.

    Args:
        what: What has this size, for the message.
        size: In bytes.
        limit: In bytes.

    Raises:
        StorageError: It is larger.
    """
    if size > limit:
        raise too_large(what, limit)


def check_memory(what: str, size: int) -> None:
    """Refuse what would take more memory than one dataset may.

    Args:
        what: What would take it, for the message.
        size: In bytes.

    Raises:
        StorageError: It is more.
    """
    check_size(f"{what}, in memory,", size, max(MEMORY_MB << 20, read_limit()))


def too_large(what: str, limit: int) -> StorageError:
    """Return the error of something that is larger than its bound of `limit` bytes."""
    text = f"{what} has more than the {limit >> 20} MB allowed ({VARIABLE})"
    return StorageError(text, remedy=REMEDY)
