"""Video files without their recorder: count and check pictures, and close a file by remuxing."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av

from mlink.errors import StorageError
from mlink.recording.extras import check_extras, mp4_boxes
from mlink.recording.matroska import segment_end, wrong_checksum
from mlink.storage.failures import DISK_ERRORS, storage_error
from mlink.storage.inside import Source, as_file, path_of
from mlink.storage.limits import REMEDY as LIMIT_REMEDY
from mlink.storage.limits import read_limit

_SPECIAL, _ESCAPED = re.compile(r"([\\'\[\]|:])"), r"\\\1"
"""What means something in the name of a file for "tee"."""
_HEAD_BYTES = 4096
_FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".avi": "avi", ".webm": "webm"}

_CONTAINERS = "matroska,webm,mov,mp4,avi"
_TEXTS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)
"""Until PyAV 19 a file whose texts are not UTF-8 cannot be opened without this."""
_PIXEL_BYTES = 4
_LEAST_BYTES = 10
"""Bytes of a file for each of its pictures; those of no codec that records are smaller."""
_OPTIONS = {"matroska": {"allow_raw_vfw": "1"}}
_RENAMED = {"rawvideo": "raw"}
_BY_TEE = frozenset({("matroska", "ffvhuff")})
"""Codecs that FFmpeg stores in a container, and reads again, but does not list as its own."""


@dataclass(frozen=True, slots=True)
class VideoProbe:
    """Contents and condition of a video file."""

    frames: int
    """Pictures that can be read (with `decode`: decoded without an error)."""
    finished: bool
    """Whether its writer closed it: it has a length and an index."""
    problem: str = ""
    """Why no picture, or no more pictures, can be read; "" when all can."""
    about: VideoFacts | None = None
    """What the file says of its pictures; None when it cannot be opened."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video file says of its pictures."""

    width: int
    height: int
    codec: str
    """Name of the codec, as in the attribute `encoder`."""
    channels: int
    """1: grey. 4: with alpha."""
    bits: int
    """Of each value."""
    title: str
    """ "DATASET via SOURCE" of a recorder; "" in a file without."""
    collection_id: str
    """The recording, as 32 hexadecimal digits; "" in a file without."""


def probe(source: Source, *, decode: bool = False) -> VideoProbe:
    """Count the pictures of a file.

    Args:
        source: The video file.
        decode: Also decode each picture, which finds damage inside the file, but is slow.

    Raises:
        StorageError: The file cannot be opened.
    """
    frames, problem, about = 0, "", None
    finished = is_finished(source)
    try:
        with opened_video(source) as container:
            stream = container.streams.video[0]
            about = _facts(container, stream)
            if decode:
                frames, problem = _decode(container, stream)
            else:
                for _ in packets_of(container):
                    frames += 1
    except (av.FFmpegError, IndexError, ValueError) as error:
        problem = reason_of(error)
    return VideoProbe(frames, finished, problem, about)


def _facts(container: Any, stream: Any) -> VideoFacts:
    tags = {key.lower(): text for key, text in container.metadata.items()}
    codec, form = str(stream.codec_context.codec.canonical_name), stream.format
    return VideoFacts(
        stream.width,
        stream.height,
        _RENAMED.get(codec, codec),
        len(form.components) if form else 0,
        max(part.bits for part in form.components) if form else 0,
        tags.get("title", ""),
        tags.get("collection_id", ""),
    )


def open_for_writing(path: Path | str, form: str, options: Mapping[str, str], codec: str) -> Any:
    """Create a video file.

    Args:
        path: The file.
        form: FFmpeg's name of the container.
        options: Options of the container.
        codec: FFmpeg's name of the codec that it will contain.

    Raises:
        OSError: It cannot be created.
    """
    if (form, codec) not in _BY_TEE:
        return av.open(str(path), "w", format=form, container_options=dict(options))
    # PyAV refuses a codec that the container does not list; "tee" passes the packets on unchecked.
    given = ":".join([f"f={form}", *(f"{key}={value}" for key, value in options.items())])
    return av.open(
        f"[{given}]{re.sub(_SPECIAL, _ESCAPED, str(Path(path).absolute()))}", "w", format="tee"
    )


def is_finished(source: Source) -> bool:
    """Return whether its writer closed the file, judged by the parts that only closing writes.

    Matroska: the size of the segment is known, and the file has as many bytes. MP4: the index
    exists (`moov`, or `mfra` of a fragmented file). AVI: the RIFF sizes match the file.
    """
    with as_file(source).open() as file:
        size = os.fstat(file.fileno()).st_size
        match Path(source.name).suffix.lower():
            case ".mkv" | ".webm":
                end = segment_end(file)
                return end is not None and end <= size
            case ".mp4":
                boxes, end = _mp4_boxes(file, size)
                if "moof" in boxes or boxes.get("moov", b"").find(b"mvex") >= 0:
                    return "mfra" in boxes and end == size  # closing lists the fragments
                return "moov" in boxes and end == size
            case ".avi":
                return size > 0 and _riff_end(file, size) == size
    return size > 0


def bytes_behind(source: Source) -> int:
    """Return how many bytes a closed Matroska file has behind the end that it states."""
    if Path(source.name).suffix.lower() not in {".mkv", ".webm"}:
        return 0
    with as_file(source).open() as file:
        end = segment_end(file)
        return 0 if end is None else max(0, os.fstat(file.fileno()).st_size - end)


def _mp4_boxes(file: BinaryIO, size: int) -> tuple[dict[str, bytes], int]:
    """Return the start of each outermost box by type, and the end of the last box."""
    boxes: dict[str, bytes] = {}
    end = 0
    for code, at, length in mp4_boxes(file, size):
        if length < 8:  # it was not closed
            break
        if (kind := code.decode("latin-1")) not in boxes:
            file.seek(at)
            boxes[kind] = file.read(min(length, _HEAD_BYTES)) if kind == "moov" else b""
        end = at + length
    return boxes, end


def _riff_end(file: BinaryIO, size: int) -> int:
    """Return the end of the last RIFF chunk of an AVI, by the sizes in the file."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        if head[:4] != b"RIFF":
            return -1
        at += 8 + int.from_bytes(head[4:], "little")
    return at


def remux(source: Source, target: Source) -> int:
    """Copy the encoded pictures of a file into a new closed file, and compare them.

    Args:
        source: The file that was not closed.
        target: The new file, which may replace it; it is left as it was if that fails.

    Returns:
        Number of pictures.

    Raises:
        StorageError: The file cannot be read, the new one cannot be written, or a picture differs.
    """
    old, new = as_file(source), as_file(target)
    with old.opened() as read, new.replacement() as written:
        before, after = path_of(read), path_of(written)
        try:
            _copy(before, after, _FORMATS.get(Path(old.name).suffix.lower(), "matroska"))
            digests = _digest(before), _digest(after)
        except (av.FFmpegError, OSError, IndexError, ValueError) as error:
            # Some errors of FFmpeg are no OSError: its end of file, its invalid data.
            if isinstance(error, OSError) and (
                not isinstance(error, av.FFmpegError) or error.errno in DISK_ERRORS
            ):
                raise storage_error(error, new.path) from error
            raise StorageError(
                f"{old} cannot be closed: {reason_of(error)}",
                remedy="It was not changed; a program that reads damaged videos may still save "
                "some.",
            ) from error
        if digests[0] != digests[1]:
            raise StorageError(f"{old} could not be copied picture by picture; it was not changed")
    return digests[0][0]


def _copy(path: str, draft: str, form: str) -> None:
    with _opened(path) as source:
        stream = source.streams.video[0]
        target = open_for_writing(
            draft, form, _OPTIONS.get(form, {}), stream.codec_context.codec.canonical_name
        )
        with target:
            target.metadata.update(
                {key: text for key, text in source.metadata.items() if key != "ENCODER"}
            )
            copy = target.add_stream_from_template(stream, opaque=True)
            copy.time_base = stream.time_base
            target.start_encoding()
            for packet in packets_of(source):
                packet.stream = copy
                target.mux(packet)


def _decode(container: Any, stream: Any) -> tuple[int, str]:
    """Return (pictures decoded, first error that FFmpeg reported)."""
    frames = 0
    stream.codec_context.options |= {"err_detect": "crccheck"}
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        # Decoders conceal damage and only log it, so the log is read.
        with av.logging.Capture(local=False) as errors:
            for _ in container.decode(stream):
                frames += 1
    except av.FFmpegError as error:
        return frames, f"after {frames} pictures: {reason_of(error)}"
    finally:
        av.logging.set_level(level)
    if wrong := wrong_checksum(Path(container.name)):
        return frames, wrong
    if errors:
        text = " ".join(line.strip() for _, _, line in errors[:2])
        return frames, f"{len(errors)} error(s) of the decoder, the first: {text}"
    return frames, ""


def _digest(path: str) -> tuple[int, str]:
    digest, count = hashlib.blake2b(), 0
    with _opened(path) as container:
        for packet in packets_of(container):
            digest.update(bytes(packet))
            count += 1
    return count, digest.hexdigest()


def packets_of(container: Any) -> Iterator[Any]:
    """Yield the encoded pictures of a file, up to the first that is damaged.

    Raises:
        ValueError: They are more than its bytes explain: a block of Matroska can have 256 of them.
    """
    left = max(container.size, 0) // _LEAST_BYTES
    for packet in container.demux(container.streams.video[0]):
        if packet.size:
            if packet.is_corrupt:
                return
            if (left := left - 1) < 0:
                raise ValueError(f"it has pictures of less than {_LEAST_BYTES} bytes, as no video")
            yield packet


@contextmanager
def opened_video(source: Source) -> Iterator[Any]:
    """Open a video file for reading within the block.

    Yields:
        Its container, of PyAV.

    Raises:
        ValueError: Its pictures, or what it has beside them, are larger than allowed.
        av.FFmpegError: It is no video.
        StorageError: The file cannot be opened.
    """
    with as_file(source).opened() as file, _opened(path_of(file)) as container:
        yield container


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    check_extras(Path(path))
    pixels = read_limit() // _PIXEL_BYTES
    options = {"max_pixels": str(pixels)}
    # Without lists FFmpeg would take a text for a playlist, and open the files that it names.
    sources = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    with av.open(path, options=options | sources, **_TEXTS) as container:
        stream = container.streams.video[0]
        if not stream.width:
            raise ValueError(
                f"its pictures have no size, or more than {pixels:,} pixels. {LIMIT_REMEDY}"
            )
        stream.codec_context.options = options
        yield container


def reason_of(error: BaseException) -> str:
    """Return the reason of an error of PyAV, for people."""
    if isinstance(error, IndexError):
        return "it contains no video"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
