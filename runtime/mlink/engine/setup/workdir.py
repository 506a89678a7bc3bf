"""A run's own folder, and the removal of leftovers of crashed runs.

A run holds a lock on a file in its folder until it ends. A folder whose lock is free belongs to a
run that has crashed: its processes, its sockets and the folder itself are removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from mlink.closing import ClosesOnExit
from mlink.errors import StorageError
from mlink.refusals import REMEDIES
from mlink.worker.forking.leftovers import end_run, log_left

_LOCK = "lock"
_LOCK_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MARK = b"mlink run "
"""How a lock file of a run begins; it is empty before, or where no space was left."""
_NAME = re.compile(r"[0-9a-f]{8}")
"""Names of runs' folders."""
_ALL_USERS = ["0", "0", "4294967295"]
_OVERFLOW_UID = 65534
_ATTEMPTS = 100
_CLOSING_S = 5.0
"""How long workers without engine and fork server may take to close their files."""

_REMEDIES = {
    errno.ENOSPC: "Free space there, or set XDG_RUNTIME_DIR to a folder with space.",
    errno.EDQUOT: "Free space there, or set XDG_RUNTIME_DIR to a folder with space.",
}
_OTHER_REMEDY = "Set XDG_RUNTIME_DIR or TMPDIR to a folder that you can write to."

log = logging.getLogger("mlink.engine")


def runs_dir() -> Path:
    """Return the folder that holds the folders of this user's runs; it may have to be made.

    $XDG_RUNTIME_DIR/mlink or /run/user/UID/mlink, where these belong to this user. Else a folder
    of an unpredictable name in a temporary directory, where somebody else may have made any
    other: the one that an earlier run has made, if it is there. A place where somebody else can
    put another folder instead of it is not taken: XDG_RUNTIME_DIR of another user, after `su`.

    Raises:
        OSError: There is no place for one.
    """
    own = Path(f"/run/user/{os.getuid()}")
    named = os.environ.get("XDG_RUNTIME_DIR")
    for base in (Path(named), own) if named else (own,):
        if (
            _is_ours(base)
            and os.access(base, os.W_OK)
            and _is_free(base / "mlink")
            and _is_safe(base)
        ):
            return base / "mlink"
    temporary = tempfile.gettempdir()
    wanted = [Path(each) for each in (*([named] if named else []), temporary, "/tmp")]  # noqa: S108
    safe = [each for each in wanted if os.access(each, os.W_OK) and _is_safe(each)]
    if not safe:
        raise OSError(errno.EACCES, "other users can replace what is made there", temporary)
    folder, prefix = safe[0], f"mlink-{os.getuid()}-"
    for each in sorted(folder.glob(f"{prefix}*")):
        if _is_ours(each) and _is_private(each):
            return each
    return Path(tempfile.mkdtemp(prefix=prefix, dir=folder))


def _is_ours(folder: Path) -> bool:
    """Return whether a folder, and not a link to one, belongs to this user."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_safe(folder: Path) -> bool:
    """Return whether, on the whole way to a folder, only this user and root can rename folders."""
    trusted = {0, os.getuid()}
    with contextlib.suppress(OSError):
        if Path("/proc/self/uid_map").read_text().split() != _ALL_USERS:
            trusted.add(_OVERFLOW_UID)  # a container: who owns its own folders has no number there
    try:
        folder = folder.resolve(strict=True)
        states = [each.stat() for each in (folder, *folder.parents)]
    except (OSError, RuntimeError):
        return False
    return all(
        found.st_uid in trusted and (not found.st_mode & 0o022 or found.st_mode & stat.S_ISVTX)
        for found in states
    )


def _is_private(folder: Path) -> bool:
    return not folder.lstat().st_mode & 0o077


def _is_free(folder: Path) -> bool:
    return _is_ours(folder) or not (folder.exists() or folder.is_symlink())


class RunWorkDir(ClosesOnExit):
    """Owns a run's folder; `close` removes it.

    Raises:
        StorageError: The folder cannot be created, or belongs to another user.
    """

    def __init__(self) -> None:
        base = None
        try:
            base = runs_dir()
            self.path, self._lock = _make_folder(base)
        except OSError as error:
            where = base or error.filename or tempfile.gettempdir()
            raise StorageError(
                f"cannot create a folder for the run in {where}: {error.strerror}",
                remedy=_remedy(error.errno or 0),
            ) from error

    def close(self) -> None:
        """Remove the run's folder and release the lock."""
        _remove(self.path)
        os.close(self._lock)
        with contextlib.suppress(OSError):  # other runs have their folders there
            self.path.parent.rmdir()


def _remedy(code: int) -> str:
    usual = {} if code in (errno.EACCES, errno.EPERM, errno.EROFS) else REMEDIES
    return _REMEDIES.get(code) or usual.get(code, _OTHER_REMEDY)


def _make_folder(base: Path) -> tuple[Path, int]:
    """Return a new folder in `base` and the descriptor of its lock, which is held.

    Another run may remove `base` when it ends, or take a folder that is not locked yet for a
    leftover. Then this one begins again, with another name.
    """
    for _ in range(_ATTEMPTS):
        path = base / secrets.token_hex(4)
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_private(base)
            remove_stale_runs(base)
            path.mkdir(mode=0o700)
            lock = os.open(path / _LOCK, _LOCK_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except (FileNotFoundError, FileExistsError):
            if base.is_symlink() or base.is_file():
                raise  # no folder can be made there
            continue
        except OSError:
            with contextlib.suppress(OSError):
                path.rmdir()
            raise
        if _hold(lock):
            with contextlib.suppress(OSError):  # no space: if it is left, it is not reported
                os.write(lock, _MARK + str(os.getpid()).encode())
            return path, lock
        os.close(lock)
    raise OSError(errno.EAGAIN, f"other runs removed it {_ATTEMPTS} times")


def _make_private(base: Path) -> None:
    """Make sure that the folder of all runs is this user's, and open to nobody else.

    Raises:
        OSError: It is a link, or no folder.
        StorageError: It belongs to another user.
    """
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid != os.getuid():
            raise StorageError(
                f"{base} belongs to another user", remedy="Remove it, or set XDG_RUNTIME_DIR."
            )
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def _hold(lock: int) -> bool:
    """Lock a run's lock file; return False if another process holds or has removed it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(lock).st_nlink > 0


def _remove(folder: Path) -> None:
    """Remove a run's folder, the lock last: until then others see whose it is."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name != _LOCK:
                os.unlink(entry.path)  # noqa: PTH108 - an entry of scandir
        (folder / _LOCK).unlink()
        folder.rmdir()


def _end_processes(folder: Path) -> bool:
    """End what a crashed run has left; return False while its fork server does that."""
    left, servers = end_run(str(folder.resolve()), patience_s=_CLOSING_S)
    log_left(left, "of a run that was killed: ")
    if servers:
        log.warning("a run that was killed still closes its files (process %d)", servers[0])
    return not servers


def remove_stale_runs(base: Path) -> int:
    """Remove the folders and processes of crashed runs in `base`; return their number.

    A run that is alive holds the lock in its folder; the kernel releases it with the process.
    """
    removed = 0
    for folder in base.iterdir():
        if not _NAME.fullmatch(folder.name) or not _is_ours(folder):
            continue  # no run has made it
        try:
            fd = os.open(folder / _LOCK, _LOCK_FLAGS)
        except OSError:
            with contextlib.suppress(OSError):  # not empty: no folder of a run
                folder.rmdir()  # its run died, or begins again with another name
            continue
        try:
            content = os.pread(fd, len(_MARK), 0) if stat.S_ISREG(os.fstat(fd).st_mode) else None
            if content in (_MARK, b"") and _hold(fd):
                was_a_run = content == _MARK
                if was_a_run and not _end_processes(folder):
                    continue
                removed += was_a_run
                _remove(folder)
        finally:
            os.close(fd)
    if removed:
        log.warning("removed leftovers of %d crashed run%s", removed, "" if removed == 1 else "s")
    return removed
