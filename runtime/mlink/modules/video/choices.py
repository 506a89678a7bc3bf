"""Codecs and containers, and their valid combinations; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

VideoCodec = Literal["ffvhuff", "ffv1", "h264", "hevc", "vp9", "av1", "raw", "mjpeg"]
VideoContainer = Literal["matroska", "mp4", "avi"]
VideoTimestamps = Literal["constant", "true"]

CONTAINER_CODECS: dict[str, frozenset[str]] = {
    "matroska": frozenset({"ffvhuff", "ffv1", "h264", "hevc", "vp9", "av1", "raw", "mjpeg"}),
    "mp4": frozenset({"h264", "hevc", "vp9", "av1"}),
    "avi": frozenset({"ffvhuff", "ffv1", "raw", "mjpeg"}),
}
"""AVI counts frames and cannot store reordered ones; MP4 players support these codecs only."""

LOSSLESS_CODECS = frozenset({"ffvhuff", "ffv1", "raw", "h264", "hevc", "vp9"})
"""Codecs with a lossless mode."""

QUALITY_RANGES: dict[str, tuple[int, int]] = {
    "h264": (0, 51),
    "hevc": (0, 51),
    "vp9": (0, 63),
    "av1": (0, 63),
    "mjpeg": (2, 31),
}
"""(Best, worst) quantiser; other codecs have none."""


BITRATE_CODECS = frozenset({"h264", "hevc", "vp9", "av1"})
"""Codecs with a constant bitrate mode."""


def video_problems(
    codec: str, container: str, *, lossless: bool, bitrate: bool, quality: int | None
) -> list[str]:
    """Return the errors of a choice; each text starts with its settings key.

    Args:
        codec: A `VideoCodec`.
        container: A `VideoContainer`.
        lossless: Whether lossless encoding is requested.
        bitrate: Whether constant bitrate is requested.
        quality: Quantiser for constant quality; None is the default of the codec.
    """
    problems = []
    if codec not in CONTAINER_CODECS[container]:
        fitting = ", ".join(sorted(CONTAINER_CODECS[container]))
        problems.append(
            f"video_container: {container} cannot contain {codec}; it supports {fitting}"
        )
    if lossless and codec not in LOSSLESS_CODECS:
        can = ", ".join(sorted(LOSSLESS_CODECS))
        problems.append(f"lossless: {codec} has no lossless mode; codecs with one: {can}")
    if bitrate and not lossless and codec not in BITRATE_CODECS:
        can = ", ".join(sorted(BITRATE_CODECS))
        problems.append(f"mode: {codec} has no constant bitrate; codecs with one: {can}")
    best_worst = QUALITY_RANGES.get(codec)
    if quality is not None and best_worst and not best_worst[0] <= quality <= best_worst[1]:
        problems.append(
            f"quality: {codec} accepts {best_worst[0]} (best) to {best_worst[1]}, not {quality}"
        )
    return problems
