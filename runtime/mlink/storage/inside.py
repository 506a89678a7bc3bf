"""Files and folders of a recording, reached from its own folder and from nowhere else.

A recording may come from a stranger. So each file is opened by a plain name, step by step from the
recording's folder, by descriptors: no step may be a link, the last is a regular file, and all
belong to the owner of the recording's folder. Anything else is damage, and is not opened.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from mlink.errors import StorageError
from mlink.storage.failures import storage_errors
from mlink.storage.limits import check_size, read_limit

REMEDY = "Restore the file from a copy of the recording."
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
}
_SHOWN = 60
_NAME_BYTES = 255
_DEPTH = 8
_BLOCK_BYTES = 512
_drafts = itertools.count()


@dataclass(frozen=True, slots=True)
class RecordingFolder:
    """A folder of a recording."""

    root: Path
    """The recording's own folder. The user named it, so it may be reached by links."""
    name: str = ""
    """Path below it, as in "events/table"; "" for itself."""

    @property
    def path(self) -> Path:
        """Its path, for messages."""
        return self.root / self.name

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open it within the block.

        Yields:
            Its descriptor.

        Raises:
            StorageError: A folder on the way is none, is a link, or belongs to somebody else.
        """
        with ExitStack() as stack, storage_errors(self.path, "read"):
            fd = os.open(self.root, _FOLDER)
            stack.callback(os.close, fd)
            owner = os.fstat(fd).st_uid
            for part in self.name.split("/") if self.name else ():
                _check(part, os.stat(part, dir_fd=fd, follow_symlinks=False), owner, folder=True)
                fd = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
                stack.callback(os.close, fd)
                _check(part, os.fstat(fd), owner, folder=True)
            yield fd

    def file(self, name: str) -> RecordingFile:
        """Return the file of this name; it need not exist."""
        return RecordingFile(self, name)

    def folder(self, name: str) -> RecordingFolder:
        """Return the folder of this name in it; it need not exist."""
        return RecordingFolder(self.root, f"{self.name}/{name}" if self.name else name)


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """A file of a recording, which need not exist."""

    folder: RecordingFolder
    name: str

    @property
    def path(self) -> Path:
        """Its path, for messages."""
        return self.folder.path / self.name

    def __str__(self) -> str:
        return str(self.path)

    def problem(self) -> str:
        """Return why nothing may open it; "" when it is a file of its folder, or is not there."""
        try:
            with self.folder.opened() as fd:
                self._stat(fd)
        except FileNotFoundError:
            return ""
        except StorageError as error:
            return "" if isinstance(error.__cause__, FileNotFoundError) else error.message
        return ""

    def exists(self) -> bool:
        """Return whether it is there, and is a file."""
        return self.size() >= 0

    def size(self) -> int:
        """Return its size in bytes; -1 when it is missing, or is no file."""
        try:
            with self.folder.opened() as fd:
                return self._stat(fd).st_size
        except StorageError:
            return -1

    def stored(self) -> int:
        """Return the bytes that its disk gives to it; -1 when it is missing, or is no file."""
        try:
            with self.folder.opened() as fd:
                return stored(self._stat(fd))
        except StorageError:
            return -1

    def open(self, *, writable: bool = False) -> BinaryIO:
        """Open it.

        Args:
            writable: To read and write its content; it is not emptied.

        Raises:
            StorageError: It is missing, is no file of this folder, or cannot be read.
        """
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            self.folder.opened() as folder,
            storage_errors(self.path, "write" if writable else "read"),
        ):
            self._stat(folder)
            fd = os.open(self.name, flags | os.O_NONBLOCK, dir_fd=folder)
            try:
                _check(self.name, os.fstat(fd), os.fstat(folder).st_uid)
                return os.fdopen(fd, "r+b" if writable else "rb")
            except BaseException:
                os.close(fd)
                raise

    def read(self, limit: int) -> bytes:
        """Return its content.

        Args:
            limit: Most bytes that it may have.

        Raises:
            StorageError: It is missing, larger, no file of this folder, or cannot be read.
        """
        with self.open() as file, storage_errors(self.path, "read"):
            data = file.read(limit + 1)
        if len(data) > limit:
            raise StorageError(
                f"{self} has more than {limit >> 20} MB, which is more than such a file may have",
                remedy=REMEDY,
            )
        return data

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it for reading within the block.

        Raises:
            StorageError: It is missing, no file of this folder, cannot be read, or has far more
                bytes than its disk gives to it: a few blocks may stand for gigabytes of zeros.
        """
        with self.open() as file, storage_errors(self.path, "read"):
            found = os.fstat(file.fileno())
            check_size(str(self), found.st_size, read_limit(stored(found)))
            yield file

    @contextmanager
    def replacement(self) -> Iterator[BinaryIO]:
        """Write a new file, which replaces this one at the end of the block; an error removes it.

        Raises:
            StorageError: It cannot be written, or the place of this file has something else.
        """
        draft = f".{self.name[:200]}.{os.getpid()}-{next(_drafts)}.tmp"
        with self.folder.opened() as folder, storage_errors(self.path):
            with suppress(FileNotFoundError):
                self._stat(folder)
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o666, dir_fd=folder), "w+b") as file:
                try:
                    keep_owner(file.fileno(), folder)
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                    os.replace(draft, self.name, src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    with suppress(OSError):
                        os.unlink(draft, dir_fd=folder)
                    raise

    def append(self, text: str) -> None:
        """Add text to its end; it is created if it is not there.

        Raises:
            StorageError: It cannot be written, or its place has something else.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with self.folder.opened() as folder, storage_errors(self.path):
            with suppress(FileNotFoundError):
                self._stat(folder)
            with os.fdopen(os.open(self.name, flags, 0o666, dir_fd=folder), "wb") as file:
                keep_owner(file.fileno(), folder)
                file.write(text.encode(errors="backslashreplace"))

    def rename(self, name: str) -> None:
        """Give it another name in its folder.

        Raises:
            StorageError: It is not there, or is no file.
        """
        with self.folder.opened() as folder, storage_errors(self.path):
            self._stat(folder)
            os.rename(self.name, name, src_dir_fd=folder, dst_dir_fd=folder)

    def keep_as(self, name: str) -> None:
        """Give it a second name in its folder, which remains when it is replaced.

        Raises:
            StorageError: It is not there, or is no file; or something has that name.
        """
        with self.folder.opened() as folder, storage_errors(self.folder.path / name):
            self._stat(folder)
            os.link(self.name, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    def remove(self) -> None:
        """Remove it, if it is there."""
        with (
            self.folder.opened() as folder,
            storage_errors(self.path, "remove"),
            suppress(FileNotFoundError),
        ):
            os.unlink(self.name, dir_fd=folder)

    def _stat(self, folder: int) -> os.stat_result:
        size = len(self.name.encode(errors="surrogateescape"))
        plain = self.name not in {"", ".", ".."} and not {"/", "\0"} & set(self.name)
        if not plain or size > _NAME_BYTES:
            raise StorageError(
                f"{self.name[:_SHOWN]!r} is not the name of a file in the folder", remedy=REMEDY
            )
        found = os.stat(self.name, dir_fd=folder, follow_symlinks=False)
        _check(self.name, found, os.fstat(folder).st_uid)
        return found


Source: TypeAlias = Path | RecordingFile
"""A file of a recording, or the path of one that this program has made itself."""


def stored(found: os.stat_result) -> int:
    """Return the bytes that a disk gives to a file: few may stand for terabytes of zeros."""
    return min(found.st_size, _BLOCK_BYTES * found.st_blocks)


def as_file(source: Source) -> RecordingFile:
    """Return the file of a recording that a path stands for: one in the folder above it."""
    if isinstance(source, RecordingFile):
        return source
    return RecordingFolder(source.parent).file(source.name)


def path_of(file: BinaryIO) -> str:
    """Return a path by which a library opens an open file, whatever has its name meanwhile."""
    return f"/proc/self/fd/{file.fileno()}"


def keep_owner(fd: int, folder: int) -> None:
    """Give a new file the owner of its folder, when root repairs the recording of a user."""
    if os.geteuid() == 0:
        found = os.fstat(folder)
        os.fchown(fd, found.st_uid, found.st_gid)


def all_below(fd: int, above: str = "") -> Iterator[tuple[str, os.stat_result, int]]:
    """Yield all below an open folder: path, state, and the descriptor of the folder that has it.

    No link is followed. What vanishes meanwhile is left out.

    Args:
        fd: The folder.
        above: Begins the paths.

    Raises:
        StorageError: Folders are nested deeper than those of a Zarr store, the deepest there are.
        OSError: One cannot be read.
    """
    if above.count("/") >= _DEPTH:
        raise StorageError(f"{above} is in more than {_DEPTH} folders", remedy=REMEDY)
    for name in sorted(os.listdir(fd)):
        with suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            yield above + name, found, fd
            if stat.S_ISDIR(found.st_mode):
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    yield from all_below(inner, f"{above}{name}/")
                finally:
                    os.close(inner)


def keep_owner_below(folder: int) -> None:
    """Give all below a folder its owner, when root repairs the recording of a user."""
    if os.geteuid() == 0:
        owner = os.fstat(folder)
        for path, _, at in all_below(folder):
            name = path.rpartition("/")[2]
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=at, follow_symlinks=False)


def _check(name: str, found: os.stat_result, owner: int, *, folder: bool = False) -> None:
    is_wanted = stat.S_ISDIR(found.st_mode) if folder else stat.S_ISREG(found.st_mode)
    if not is_wanted:
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a file" if folder else "of an unknown kind")
        raise StorageError(
            f"{name} is {kind}, not a {'folder of the recording' if folder else 'file'}",
            remedy=REMEDY,
        )
    if found.st_uid != owner:
        raise StorageError(
            f"{name} belongs to user {found.st_uid}, its recording to user {owner}",
            remedy="Copy the recording, so that all of it is yours: cp -r.",
        )
