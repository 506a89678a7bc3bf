"""Encodes one file and verifies it: the program `python -m mlink.encoding.file`, a job on stdin.

Tells how it goes on stdout, a JSON object a line: {"frames": 120}, at the end {"encoder": {…}} or
{"error": "…", "remedy": "…"}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from mlink import __version__
from mlink.encoding.jobs import Job
from mlink.errors import MlinkError, StorageError
from mlink.modules.video.encoder_attributes import encoder_attributes
from mlink.modules.video.writer import NOMINAL_FRAMERATE, VideoWriter
from mlink.recording.video import ARRAY_FORMATS
from mlink.recording.video_file import is_finished
from mlink.storage.failures import storage_error, storage_errors
from mlink.storage.manifest import MANIFEST, make_entry, read_toml, write_toml
from mlink.storage.tree import DRAFT_SUFFIX, UnitFolder
from mlink.storage.tsync_reader import read_tsync

_NICE = 10
"""The next run comes first."""
_TELL_EACH = 25
Tell = Callable[[int], None]


def encode_file(job: Job, tell: Tell = lambda _frames: None) -> dict[str, Any]:
    """Encode a file, verify the result, give it its name; return the encoder's attributes.

    That name is the original's own, if the container is the same. `tell` gets the number of frames
    done. StorageError when the result is not as it should be; the original is there then.
    """
    folder = Path(job.folder)
    source, target = folder / job.source, folder / job.target
    draft = folder / f".{job.target}{DRAFT_SUFFIX}"
    draft_times = folder / f".{job.tsync}{DRAFT_SUFFIX}"
    if not is_finished(source):
        raise StorageError(
            f"{source} was not closed", remedy="mlink repair finishes it; then encode again."
        )
    for left in (draft, draft_times):
        left.unlink(missing_ok=True)
    try:
        attributes = _encode(job, source, draft, draft_times, tell)
        with storage_errors(draft), draft.open("rb+") as file:
            os.fsync(file.fileno())
        with storage_errors(target):
            draft.replace(target)
    finally:
        for left in (draft, draft_times):
            left.unlink(missing_ok=True)
    return attributes


def replace_original(job: Job) -> None:
    """Have the manifest name the encoded file, and remove an original of another name.

    Apart from `encode_file`, since the files of a dataset share a manifest.
    """
    if job.target == job.source:
        return
    folder = Path(job.folder)
    manifest = read_toml(folder / MANIFEST)
    names = UnitFolder(folder, "", manifest=manifest).part_names("data")
    entry = make_entry(job.target, summary=str(manifest["data"].get("summary", "")))
    entry.file_names[:] = [job.target if name == job.source else name for name in names]
    manifest["data"] = entry.as_toml(folder)
    write_toml(folder / MANIFEST, manifest)
    (folder / job.source).unlink()


def is_encoded(job: Job) -> bool:
    """Tell whether the file was encoded already, by what it holds."""
    try:
        with av.open(str(Path(job.folder) / job.source)) as container:
            codec = container.streams.video[0].codec_context.codec
            return str(codec.canonical_name) == job.wanted.codec
    except (av.FFmpegError, IndexError):
        return False


def _encode(job: Job, source: Path, draft: Path, draft_times: Path, tell: Tell) -> dict[str, Any]:
    options = job.wanted
    recorded = read_tsync(source.with_name(job.tsync))
    times = [int(time) for time in recorded.times[:, 1]]
    writer: VideoWriter | None = None
    digests: list[int] = []
    try:
        for number, pixels in enumerate(_frames(source, job.pixels)):
            if number == len(times):
                raise StorageError(f"{source} has more frames than the {len(times)} times beside")
            if writer is None:
                writer = VideoWriter(
                    draft,
                    draft_times,
                    pixels,
                    options,
                    framerate=job.framerate or NOMINAL_FRAMERATE,
                    collection_id=recorded.header.collection_id.bytes,
                    generator=f"mlink {__version__} encode",
                    tags=_tags(source),
                )
            writer.write(pixels, times[number])
            if writer.lossless:
                digests.append(xxhash.xxh3_64_intdigest(np.ascontiguousarray(pixels).data))
            if number % _TELL_EACH == 0:
                tell(number)
        if writer is None:
            raise StorageError(f"{source} holds no picture; there is nothing to encode")
        attributes = encoder_attributes(writer, options)
    finally:
        if writer is not None:
            writer.close()
    if writer.frames != len(times):
        raise StorageError(
            f"{source} has {writer.frames} frames, but {len(times)} times",
            remedy="mlink repair finishes what a crash left; then encode again.",
        )
    _verify(draft, job, len(times), digests)
    return attributes


def _verify(draft: Path, job: Job, count: int, digests: list[int]) -> None:
    """Decode every picture; bit by bit the same if nothing may be lost."""
    found = 0
    for found, pixels in enumerate(_frames(draft, job.pixels), 1):
        if digests and (
            found > count
            or xxhash.xxh3_64_intdigest(np.ascontiguousarray(pixels).data) != digests[found - 1]
        ):
            raise StorageError(f"{job.label}: picture {found - 1} is not what was recorded")
    if found != count:
        raise StorageError(
            f"{job.label}: {found} of {count} pictures can be decoded of the encoded file; the "
            "original was kept"
        )


def _frames(path: Path, kind: str) -> Iterator[NDArray[Any]]:
    """Decode all pictures, as the arrays that they were recorded from."""
    array_format = ARRAY_FORMATS.get(kind, "bgr24")
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if kind == "gray8" and not frame.format.name.startswith("gray"):
                    yield frame.to_ndarray(format="bgr24")[..., 0]
                else:
                    yield frame.to_ndarray(format=array_format)
    except (av.FFmpegError, IndexError) as error:
        raise StorageError(f"{path} cannot be decoded: {error}") from error


def _tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {key: text for key, text in container.metadata.items() if key != "ENCODER"}


def main() -> int:
    """Do the job that stands on stdin; return the exit code."""
    os.nice(_NICE)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        attributes = encode_file(job, lambda frames: _say({"frames": frames}))
    except MlinkError as error:
        _say({"error": error.message, "remedy": error.remedy})
        return 1
    except OSError as error:
        found = storage_error(error, Path(error.filename or job.folder))
        _say({"error": found.message, "remedy": found.remedy})
        return 1
    _say({"encoder": attributes})
    return 0


def _say(what: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
