"""Finds processes that still write to a recording."""

from __future__ import annotations

import os
from pathlib import Path

from mlink.errors import StorageError


def refuse_if_in_use(path: Path) -> None:
    """Refuse a recording while a process of this machine has one of its files open for writing.

    Processes of other users cannot be inspected; their recordings cannot be changed either.

    Raises:
        StorageError: Another process has a file of the recording open for writing.
    """
    root = os.fspath(path.resolve()) + os.sep
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        if opened := _opened_for_writing(process, root):
            raise StorageError(
                f"process {process.name} ({_name(process)}) still writes to {opened}",
                remedy="Let the run end, or end that process, then repair the recording.",
            )


def _opened_for_writing(process: Path, root: str) -> str:
    try:
        for entry in (process / "fd").iterdir():
            target = os.readlink(entry)  # noqa: PTH115 - Path.readlink would create an object each
            if target.startswith(root) and _writes(process / "fdinfo" / entry.name):
                return target
    except OSError:
        pass  # it has ended, or belongs to another user
    return ""


def _writes(info: Path) -> bool:
    for line in info.read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "ended"
