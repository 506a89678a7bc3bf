"""`python -m mlink.view.recordings.archive FOLDER NAME [PART]`: a folder as a tar archive.

First a line of JSON tells how long the archive is, or why there is none; then it follows, file by
file. Nothing that a link leads to is in it: a folder with links or special files has no archive,
since one without them would be less than the folder.
"""

from __future__ import annotations

import os
import stat
import sys
import tarfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from mlink.errors import MlinkError, StorageError
from mlink.storage.failures import UNEXPECTED, damage_of, printable
from mlink.storage.inside import RecordingFile, RecordingFolder, all_below, stored
from mlink.storage.limits import check_size, read_limit

_MOST_FILES = 100_000
_PIECE_BYTES = 1 << 20
_END_BYTES = 2 * tarfile.BLOCKSIZE
_INSTEAD = "Copy the folder instead: cp -r, or rsync."


class Head(msgspec.Struct):
    """The first line."""

    length: int = 0
    """Bytes of the archive that follow."""
    error: str = ""
    remedy: str = ""


class _Entry(msgspec.Struct):
    """A file of the archive as it was found: later it may have grown, but not shrunk."""

    path: str
    size: int
    """0 for a folder, too."""
    head: bytes
    """Its header in the archive."""


def entries(folder: RecordingFolder, name: str) -> list[_Entry]:
    """Return what the archive of a folder has.

    Args:
        folder: The folder.
        name: Its name in the archive.

    Raises:
        StorageError: Something below it cannot be in an archive.
    """
    found: list[_Entry] = []
    with folder.opened() as fd:
        for path, state, _ in all_below(fd):
            about = tarfile.TarInfo(f"{name}/{path}")
            about.mtime = int(state.st_mtime)
            if stat.S_ISDIR(state.st_mode):
                about.type, about.mode = tarfile.DIRTYPE, 0o755
            elif problem := _file(folder, path).problem():
                raise StorageError(problem, remedy=_INSTEAD)
            else:
                check_size(printable(path), state.st_size, read_limit(stored(state)))
                about.size = state.st_size
            head = about.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
            found.append(_Entry(path, about.size, head))
            if len(found) > _MOST_FILES:
                raise StorageError(f"it has more than {_MOST_FILES:,} files", remedy=_INSTEAD)
    return found


def length(found: list[_Entry]) -> int:
    """Return the bytes of an archive."""
    sizes = (len(each.head) + each.size + _padding(each.size) for each in found)
    return sum(sizes) + _END_BYTES


def write(folder: RecordingFolder, found: list[_Entry], out: BinaryIO) -> None:
    """Write an archive.

    Raises:
        StorageError: A file has vanished, is shorter than it was, or cannot be read.
    """
    for each in found:
        out.write(each.head)
        if each.size:
            _copy(_file(folder, each.path), each.size, out)
        out.write(bytes(_padding(each.size)))
    out.write(bytes(_END_BYTES))
    out.flush()


def _copy(source: RecordingFile, size: int, out: BinaryIO) -> None:
    with source.opened() as file:
        while size:
            data = file.read(min(size, _PIECE_BYTES))
            if not data:
                raise StorageError(f"{printable(source.name)} has become shorter meanwhile")
            out.write(data)
            size -= len(data)


def _file(folder: RecordingFolder, path: str) -> RecordingFile:
    above, _, name = path.rpartition("/")
    return (folder.folder(above) if above else folder).file(name)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE


def main() -> int:
    """Write the archive to the standard output; 1 if it is not complete."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    path, name, *part = sys.argv[1:]
    folder = RecordingFolder(Path(path), part[0] if part else "")
    head, code = Head(), 0
    try:
        if part and not {"", ".", ".."}.isdisjoint(part[0].split("/")):
            raise StorageError("there is no such dataset in the recording")
        found = entries(folder, "/".join([name, *part]))
        head = Head(length(found))
    except MlinkError as error:
        head = Head(error=error.message, remedy=error.remedy)
    except UNEXPECTED as error:
        head = Head(error=damage_of(error))
    out.write(msgspec.json.encode(head) + b"\n")
    out.flush()
    if not head.error:
        try:
            write(folder, found, out)
        except (MlinkError, *UNEXPECTED) as error:
            sys.stderr.write(f"the download of {printable(name)} was broken off: {error}\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
