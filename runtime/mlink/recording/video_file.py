"""Video files as a recording's other end sees them: counted, checked, and finished by remuxing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from mlink.errors import StorageError
from mlink.storage.failures import DISK_ERRORS, storage_error

_SEGMENT_ID = b"\x18\x53\x80\x67"
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_HEAD_BYTES = 4096
_FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".avi": "avi", ".webm": "webm"}


@dataclass(frozen=True, slots=True)
class VideoProbe:
    """What a video file holds."""

    frames: int
    """Pictures that can be read (with `decode`: that decode without an error)."""
    finished: bool
    """Whether the recorder closed it: its length and index are there."""
    problem: str = ""
    """Why nothing, or nothing more, can be read."""


def probe(path: Path, *, decode: bool = False) -> VideoProbe:
    """Count a file's pictures; `decode` decodes each, which finds damage inside, and takes long."""
    frames = 0
    try:
        with _opened(path) as container:
            stream = container.streams.video[0]
            if decode:
                frames, problem = _decode(container, stream)
                return VideoProbe(frames, is_finished(path), problem)
            frames = sum(1 for _ in _packets(container))
    except (av.FFmpegError, IndexError, ValueError) as error:
        return VideoProbe(frames, is_finished(path), _reason(error))
    return VideoProbe(frames, is_finished(path))


def is_finished(path: Path) -> bool:
    """Tell whether the file was closed by its writer, by what only closing writes."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 16))
        tail = file.read()
    match path.suffix.lower():
        case ".mkv" | ".webm":
            at = head.find(_SEGMENT_ID)
            return at >= 0 and head[at + 4 : at + 12] != _UNKNOWN_SIZE
        case ".mp4":  # ours are fragmented: closing appends the index of fragments
            return tail[4:8] == b"mfro" or (b"moov" in head and b"mvex" not in head)
        case ".avi":
            return head[4:8] != b"\0\0\0\0" and len(head) > 8
    return size > 0


def remux(path: Path, draft: Path) -> int:
    """Write the pictures of `path` into a finished file `draft`; return how many there are.

    Both files' encoded pictures are compared afterwards: StorageError when any differs.
    """
    try:
        _copy(path, draft)
        before, after = _digest(path), _digest(draft)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, av.FFmpegError) and error.errno not in DISK_ERRORS:
            raise StorageError(f"{path} cannot be finished: {_reason(error)}") from error
        raise storage_error(error, draft) from error
    except (IndexError, ValueError) as error:
        draft.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be finished: {_reason(error)}") from error
    if before != after:
        draft.unlink(missing_ok=True)
        raise StorageError(f"{path} could not be copied picture by picture; it was left as it is")
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    return before[0]


def _copy(path: Path, draft: Path) -> None:
    form = _FORMATS.get(path.suffix.lower(), "matroska")
    with _opened(path) as source, av.open(str(draft), "w", format=form) as target:
        stream = source.streams.video[0]
        target.metadata.update(
            {key: text for key, text in source.metadata.items() if key != "ENCODER"}
        )
        copy = target.add_stream_from_template(stream)
        copy.time_base = stream.time_base
        target.start_encoding()
        for packet in _packets(source):
            packet.stream = copy
            target.mux(packet)


def _decode(container: Any, stream: Any) -> tuple[int, str]:
    """Return (pictures decoded, FFmpeg's first complaint about one of them)."""
    frames = 0
    stream.codec_context.options = {"err_detect": "crccheck"}
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        # Decoders conceal damage and only log it, so the log is where it shows.
        with av.logging.Capture(local=False) as complaints:
            for _ in container.decode(stream):
                frames += 1
    except av.FFmpegError as error:
        return frames, f"after {frames} pictures: {_reason(error)}"
    finally:
        av.logging.set_level(level)
    if complaints:
        text = " ".join(line.strip() for _, _, line in complaints[:2])
        return frames, f"{len(complaints)} complaint(s) of the decoder, the first: {text}"
    return frames, ""


def _digest(path: Path) -> tuple[int, str]:
    digest, count = hashlib.blake2b(), 0
    with _opened(path) as container:
        for packet in _packets(container):
            digest.update(bytes(packet))
            count += 1
    return count, digest.hexdigest()


def _packets(container: Any) -> Iterator[Any]:
    for packet in container.demux(container.streams.video[0]):
        if packet.size:
            if packet.is_corrupt:
                return
            yield packet


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    container = av.open(str(path))
    try:
        yield container
    finally:
        container.close()


def _reason(error: BaseException) -> str:
    if isinstance(error, IndexError):
        return "it holds no video"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
