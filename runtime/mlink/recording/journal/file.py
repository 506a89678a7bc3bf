"""The zstd frames of a journal file, read one at a time into a bounded amount of memory.

The file may be torn, damaged, or crafted to inflate without end, so all its sizes are checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from mlink.errors import StorageError
from mlink.storage.failures import storage_errors
from mlink.storage.inside import RecordingFile, Source, as_file, stored
from mlink.storage.limits import check_size, read_limit

MAX_FRAME_BYTES = 128 << 20
"""Largest content of a frame; the writer ends frames long before."""
_ALL_FRAMES = 4
"""What all frames may have, in parts of what else a file may give: each is read by itself."""
MAGIC = b"\x28\xb5\x2f\xfd"
_FED_BYTES = 1 << 10
"""Compressed bytes inflated at once: they expand to at most 32 MB."""
_HEAD_BYTES = 18
_SEARCH_BYTES = 1 << 20
_LOOKED = 100
"""Places behind a damaged frame at which the next one is looked for."""


def whole_frames(source: Source, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (end in the file, content) of each frame, up to the first incomplete one.

    Args:
        source: The journal file.
        start: Offset of the first frame, in bytes.

    Raises:
        StorageError: The file cannot be read, a frame is larger than MAX_FRAME_BYTES, or all frames
            than a file may give.
    """
    path = as_file(source)
    with path.open() as file, storage_errors(path.path, "read"):
        limit = _ALL_FRAMES * read_limit(stored(os.fstat(file.fileno())))
        end, total = start, 0
        while (found := _read_frame(file, end, path)) is not None:
            content, size = found
            end += size
            total += len(content)
            check_size(f"{path}, inflated,", total, limit)
            yield end, content


def frame_behind(source: Source, start: int) -> int | None:
    """Return the offset of the next complete frame behind `start`; None when there is none."""
    path = as_file(source)
    with path.open() as file, storage_errors(path.path, "read"):
        at, looked = start, 0
        while looked < _LOOKED and (at := _find_magic(file, at + 1)) >= 0:
            looked += 1
            try:
                if _read_frame(file, at, path) is not None:
                    return at
            except StorageError:
                continue  # not a frame, although it starts like one
    return None


def _read_frame(file: BinaryIO, start: int, path: RecordingFile) -> tuple[bytes, int] | None:
    """Return (content, bytes in the file); None when there is no complete frame."""
    file.seek(start)
    piece = file.read(_FED_BYTES)
    if not piece.startswith(MAGIC):
        return None
    content, size = bytearray(), 0
    try:
        head = zstandard.get_frame_parameters(piece[:_HEAD_BYTES])
        if head.content_size != zstandard.CONTENTSIZE_UNKNOWN:
            _check_size(head.content_size, path, start)
        _check_size(head.window_size, path, start)
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_FRAME_BYTES)
        frame = decompressor.decompressobj()
        while piece:
            size += len(piece)
            content += frame.decompress(piece)
            _check_size(len(content), path, start)
            if frame.eof:
                return bytes(content), size - len(frame.unused_data)
            piece = file.read(_FED_BYTES)
    except zstandard.ZstdError:
        pass
    return None


def _check_size(size: int, path: RecordingFile, start: int) -> None:
    if size > MAX_FRAME_BYTES:
        raise StorageError(
            f"{path} is not a journal of mlink: the data at byte {start} inflates to more than "
            f"{MAX_FRAME_BYTES >> 20} MB",
            remedy="Replay without it: move its folder out of the recording.",
        )


def _data_behind(file: BinaryIO, start: int) -> int:
    """Return where data follows at or behind `start`: a hole of a file may have terabytes."""
    before = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    try:
        return os.lseek(file.fileno(), start, os.SEEK_DATA)
    except OSError:  # none; or the end of the file
        return os.fstat(file.fileno()).st_size
    finally:
        os.lseek(file.fileno(), before, os.SEEK_SET)


def _find_magic(file: BinaryIO, start: int) -> int:
    """Return the offset of the next possible frame at or behind `start`; -1 when there is none."""
    kept = b""
    while piece := os.pread(file.fileno(), _SEARCH_BYTES, start):
        if not piece.strip(b"\0"):
            start, kept = _data_behind(file, start + len(piece)), b""
            continue
        if (at := (kept + piece).find(MAGIC)) >= 0:
            return start - len(kept) + at
        start += len(piece)
        kept = (kept + piece)[-len(MAGIC) + 1 :]
    return -1
