"""Encodes one file and verifies it: the program `python -m mlink.encoding.file PARENT`.

It ends with the process PARENT, which has started it: the next `mlink encode` writes the
same draft. It reads a job from stdin, and writes its progress to stdout, one JSON object per line:
{"frames": 120}, and at the end {"attributes": {…}} or {"error": "…", "remedy": "…"}.
"""

from __future__ import annotations

import os
import signal
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
from mlink.closing import signal_at_parents_end
from mlink.encoding.jobs import Job
from mlink.errors import MlinkError, StorageError
from mlink.modules.video.encoder_attributes import encoder_attributes, stored_pixels
from mlink.modules.video.writer import NOMINAL_FRAMERATE, VideoWriter
from mlink.recording.video import array_of
from mlink.recording.video_file import is_finished, opened_video, reason_of
from mlink.storage.failures import UNEXPECTED, damage_of, storage_error, storage_errors
from mlink.storage.inside import RecordingFile, Source
from mlink.storage.manifest import MANIFEST, make_entry, read_toml, write_toml
from mlink.storage.tree import DRAFT_SUFFIX, UnitFolder
from mlink.storage.tsync.reader import read_tsync

_NICE = 10
"""Lower priority than the next run."""
_REPORT_EVERY = 25
"""Frames from one progress report to the next."""
OnProgress = Callable[[int], None]


def encode_file(job: Job, on_progress: OnProgress = lambda _frames: None) -> dict[str, Any]:
    """Encode a file to a draft beside it, and verify that; `replace_original` puts it in place.

    Args:
        job: The file and how to encode it.
        on_progress: Called with the number of encoded frames.

    Returns:
        Attributes for the dataset: the tables `encoder` and, as far as it changes, `video`.

    Raises:
        StorageError: The original cannot be read, or the result differs. The original is kept.
    """
    folder = Path(job.folder)
    source = job.file(job.source)
    draft = _draft(job)
    draft_times = folder / f".{job.tsync}{DRAFT_SUFFIX}"
    if not is_finished(source):
        raise StorageError(
            f"{source} was not closed", remedy="Close it with mlink repair; then encode again."
        )
    for leftover in (draft, draft_times):
        leftover.unlink(missing_ok=True)
    try:
        attributes = _encode(job, source, draft, draft_times, on_progress)
        with storage_errors(draft), draft.open("rb+") as file:
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        draft_times.unlink(missing_ok=True)
    return attributes


def replace_original(job: Job) -> None:
    """Give the draft its name, list it in the manifest, and remove an original with another name.

    Not part of `encode_file`: the files of a dataset share a manifest and attributes, so the
    leading process updates them, the attributes first.
    """
    with storage_errors(job.file(job.target).path):
        _draft(job).replace(job.file(job.target).path)
    if job.target == job.source:
        return
    folder = Path(job.folder)
    unit = UnitFolder(folder, job.dataset, manifest=read_toml(job.file(MANIFEST)))
    manifest, names = unit.manifest, unit.part_names("data")
    entry = make_entry(job.target, summary=str(manifest["data"].get("summary", "")))
    entry.file_names[:] = [job.target if name == job.source else name for name in names]
    manifest["data"] = entry.as_toml(folder)
    write_toml(job.file(MANIFEST), manifest)
    job.file(job.source).remove()


def _draft(job: Job) -> Path:
    return Path(job.folder) / f".{job.target}{DRAFT_SUFFIX}"


def is_encoded(job: Job) -> bool:
    """Return whether the file is encoded already, judged by its codec."""
    try:
        with opened_video(job.file(job.source)) as container:
            codec = container.streams.video[0].codec_context.codec
            return str(codec.canonical_name) == job.wanted.codec
    except (av.FFmpegError, IndexError, ValueError, StorageError):
        return False


def _encode(
    job: Job, source: RecordingFile, draft: Path, draft_times: Path, on_progress: OnProgress
) -> dict[str, Any]:
    options = job.wanted
    recorded = read_tsync(job.file(job.tsync))
    times = recorded.times[:, 1]
    writer: VideoWriter | None = None
    digests: list[int] = []
    try:
        for number, pixels in enumerate(_frames(source, job.pixels)):
            if number == len(times):
                raise StorageError(
                    f"{source} has more frames than the {len(times)} times in {job.tsync}"
                )
            if writer is None:
                writer = VideoWriter(
                    draft,
                    draft_times,
                    pixels,
                    options,
                    framerate=job.framerate or NOMINAL_FRAMERATE,
                    bits=job.bits,
                    collection_id=recorded.header.collection_id.bytes,
                    generator=f"mlink {__version__} encode",
                    tags=_tags(source),
                    # The same bytes from the same original: runs in virtual time can be compared.
                    time_created=recorded.header.time_created,
                )
            writer.write(pixels, int(times[number]))
            if writer.lossless:
                digests.append(xxhash.xxh3_64_intdigest(np.ascontiguousarray(pixels).data))
            if number % _REPORT_EVERY == 0:
                on_progress(number)
        if writer is None:
            raise StorageError(f"{source} contains no pictures to encode")
        attributes = {
            "encoder": encoder_attributes(writer, options),
            "video": {"file_rate": float(writer.rate), **stored_pixels(writer)},
        }
    finally:
        if writer is not None:
            writer.close()
    if writer.frames != len(times):
        raise StorageError(
            f"{source} has {writer.frames} frames, but {len(times)} times",
            remedy="Repair it with mlink repair; then encode again.",
        )
    _verify(draft, job, len(times), digests)
    return attributes


def _verify(draft: Path, job: Job, count: int, digests: list[int]) -> None:
    """Decode every picture of the result; compare each bit by bit if the codec is lossless."""
    found = 0
    for found, pixels in enumerate(_frames(draft, job.pixels), 1):
        if digests and (
            found > count
            or xxhash.xxh3_64_intdigest(np.ascontiguousarray(pixels).data) != digests[found - 1]
        ):
            raise StorageError(f"{job.label}: picture {found - 1} is not what was recorded")
    if found != count:
        raise StorageError(
            f"{job.label}: only {found} of {count} pictures of the encoded file can be decoded; "
            "the original was kept"
        )


def _frames(path: Source, kind: str) -> Iterator[NDArray[Any]]:
    """Yield all pictures as arrays of the kind that was recorded."""
    try:
        with opened_video(path) as container:
            for frame in container.decode(video=0):
                yield array_of(frame, kind)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise StorageError(f"{path} cannot be decoded: {reason_of(error)}") from error


def _tags(path: RecordingFile) -> dict[str, str]:
    with opened_video(path) as container:
        return {key: text for key, text in container.metadata.items() if key != "ENCODER"}


def main() -> int:
    """Encode the job from stdin; return the exit code."""
    signal_at_parents_end(signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return 1
    os.nice(_NICE)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        attributes = encode_file(job, lambda frames: _send({"frames": frames}))
    except MlinkError as error:
        _send({"error": error.message, "remedy": error.remedy})
        return 1
    except OSError as error:
        found = storage_error(error, Path(error.filename or job.folder))
        _send({"error": found.message, "remedy": found.remedy})
        return 1
    except UNEXPECTED as error:
        _send({"error": damage_of(error), "remedy": "The original was kept."})
        return 1
    _send({"attributes": attributes})
    return 0


def _send(what: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
