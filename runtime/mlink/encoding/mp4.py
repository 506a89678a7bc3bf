"""Videos of a recording as MP4 for other programs: H.264 at a constant rate, frame N at N."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink import __version__
from mlink.errors import StorageError
from mlink.modules.video.writer import NOMINAL_FRAMERATE, VideoOptions, VideoWriter
from mlink.opencv import eight_bits
from mlink.recording.collection import Recording
from mlink.recording.export.parts import Export
from mlink.recording.progress import Progress, quiet, with_progress
from mlink.recording.video import Video

_OPTIONS = VideoOptions(codec="h264", container="mp4", quality=18)
_RATE_TOLERANCE = 0.05
"""A measured rate that differs by more than this from the announced one replaces it."""


def export_mp4(
    recording: Recording,
    out: Path,
    *,
    failed: list[str] | None = None,
    progress: Progress = quiet,
) -> list[tuple[Path, str]]:
    """Write each video as one MP4 file, with the true times in a tsync file beside it.

    All parts of a video are joined. No existing file is overwritten.

    Args:
        recording: The recording.
        out: Folder for the files; created if it is missing.
        failed: As in `export_recording`.
        progress: As there, of videos.

    Returns:
        The files, each with what was changed in its pictures; "" for nothing but compression.

    Raises:
        StorageError: A file exists already or cannot be written, or a video cannot be decoded.
    """
    export = Export(recording, out, failed)
    made: list[tuple[Path, str]] = []
    for name in with_progress(progress, "export", recording.of_kind(Video)):
        with export.apart(name):
            path = export.new_file(name, "mp4")
            times = export.new_file(f"{name}_timestamps", "tsync")
            run_id = bytes.fromhex(recording.collection_id.replace("-", ""))
            made += [(path, _write(recording.video(name), path, times, run_id)), (times, "")]
    return made


def _write(video: Video, path: Path, times: Path, collection_id: bytes) -> str:
    writer, changes = None, ""
    try:
        for frame in video:
            pixels, changes = _eight_bits_even(frame.mat, video.bits)
            if writer is None:
                writer = VideoWriter(
                    path,
                    times,
                    pixels,
                    _OPTIONS,
                    framerate=_rate(video),
                    collection_id=collection_id,
                    generator=f"mlink {__version__} export",
                    tags={"title": video.name, "collection_id": collection_id.hex()},
                )
            writer.write(pixels, frame.time_usec)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise StorageError(f"'{video.name}' contains no pictures")
    return changes


def _rate(video: Video) -> float:
    """Return the announced rate, or the measured one if that is another.

    The median interval counts as well: the mean of a recording with pauses is too slow.
    """
    attributes = video.attributes
    announced = float(attributes.get("video", {}).get("framerate") or 0)
    measured = float(attributes.get("framerate_measured") or 0)
    intervals = np.diff(video.times_usec)
    usual = 1e6 / max(1.0, float(np.median(intervals))) if len(intervals) else 0.0
    if announced and (
        not measured
        or "frames_disordered" in attributes
        or any(abs(rate / announced - 1) <= _RATE_TOLERANCE for rate in (measured, usual))
    ):
        return announced
    return usual if measured else NOMINAL_FRAMERATE


def _eight_bits_even(pixels: NDArray[Any], bits: int) -> tuple[NDArray[Any], str]:
    """Return pixels as players of H.264 take them, and what was changed."""
    changes = []
    if pixels.dtype == np.uint16:
        pixels = eight_bits(pixels, bits)
        changes.append(f"the upper 8 of {bits} bits")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = pixels[..., :3]
        changes.append("without alpha")
    odd = [size % 2 for size in pixels.shape[:2]]
    if any(odd):
        pad = [(0, odd[0]), (0, odd[1]), *[(0, 0)] * (pixels.ndim - 2)]
        pixels = np.pad(pixels, pad, mode="edge")
        changes.append("its edge repeated to an even size")
    if pixels.ndim == 2 or pixels.shape[2] == 1:  # many players cannot show H.264 without colour
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return pixels, ", ".join(changes)
