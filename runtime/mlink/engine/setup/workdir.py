"""A run's own folder, and the removal of leftovers of crashed runs.

A run holds a lock on a file in its folder until it ends. A folder whose lock is free belongs to a
run that has crashed: its sockets and the folder itself are removed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from mlink.closing import ClosesOnExit
from mlink.errors import StorageError

_LOCK = "lock"

log = logging.getLogger("mlink.engine")


def runs_dir() -> Path:
    """Return the folder that holds the folders of all runs of this user.

    $XDG_RUNTIME_DIR/mlink where that is writable, else a folder in the temporary directory.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / "mlink"
    return Path(tempfile.gettempdir()) / f"mlink-{os.getuid()}"


class RunWorkDir(ClosesOnExit):
    """Owns a run's folder; `close` removes it.

    Raises:
        StorageError: The folder cannot be created, or belongs to another user.
    """

    def __init__(self) -> None:
        base = runs_dir()
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            if base.stat().st_uid != os.getuid():
                raise StorageError(
                    f"{base} belongs to another user", remedy="Remove it, or set XDG_RUNTIME_DIR."
                )
            remove_stale_runs(base)
            token = secrets.token_hex(3)
            self.path = base / token
            self.path.mkdir(mode=0o700)
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise StorageError(
                f"cannot create a folder for the run in {base}: {error.strerror}",
                remedy="Set XDG_RUNTIME_DIR or TMPDIR to a folder that you can write to.",
            ) from error

    def close(self) -> None:
        """Remove the run's folder and release the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        try:
            self.path.parent.rmdir()
        except OSError:
            pass  # other runs have their folders there


def remove_stale_runs(base: Path) -> int:
    """Remove the folders and shared memory of crashed runs in `base`; return their number.

    A run that is alive holds the lock in its folder; the kernel releases it with the process.
    """
    removed = 0
    for folder in base.iterdir():
        try:
            fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # its run creates or removes it at this moment
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
        finally:
            os.close(fd)
    if removed:
        log.warning("removed leftovers of %d crashed run%s", removed, "" if removed == 1 else "s")
    return removed
