"""Which codecs and containers there are, and which go together; nothing heavy is imported."""

from __future__ import annotations

from typing import Literal

VideoCodec = Literal["ffv1", "h264", "hevc", "vp9", "av1", "raw", "mjpeg"]
VideoContainer = Literal["matroska", "mp4", "avi"]

CONTAINER_CODECS: dict[str, frozenset[str]] = {
    "matroska": frozenset({"ffv1", "h264", "hevc", "vp9", "av1", "raw", "mjpeg"}),
    "mp4": frozenset({"h264", "hevc", "vp9", "av1"}),
    "avi": frozenset({"ffv1", "raw", "mjpeg"}),
}
"""AVI counts frames and cannot hold reordered ones; MP4 players know these codecs only."""

LOSSLESS_CODECS = frozenset({"ffv1", "raw", "h264", "hevc", "vp9"})
"""Codecs that can keep every bit."""

QUALITY_RANGES: dict[str, tuple[int, int]] = {
    "h264": (0, 51),
    "hevc": (0, 51),
    "vp9": (0, 63),
    "av1": (0, 63),
    "mjpeg": (2, 31),
}
"""Best and worst quantiser; the others have none."""


BITRATE_CODECS = frozenset({"h264", "hevc", "vp9", "av1"})
"""Codecs that can keep to a bitrate."""


def video_problems(
    codec: str, container: str, *, lossless: bool, bitrate: bool, quality: int | None
) -> list[str]:
    """Return what is wrong with a choice, each a sentence that begins with its key."""
    problems = []
    if codec not in CONTAINER_CODECS[container]:
        fitting = ", ".join(sorted(CONTAINER_CODECS[container]))
        problems.append(f"video_container: {container} cannot hold {codec}; it holds {fitting}")
    if lossless and codec not in LOSSLESS_CODECS:
        can = ", ".join(sorted(LOSSLESS_CODECS))
        problems.append(f"lossless: {codec} always loses something; without loss are {can}")
    if bitrate and not lossless and codec not in BITRATE_CODECS:
        can = ", ".join(sorted(BITRATE_CODECS))
        problems.append(f"mode: {codec} has no constant bitrate; it is for {can}")
    best_worst = QUALITY_RANGES.get(codec)
    if quality is not None and best_worst and not best_worst[0] <= quality <= best_worst[1]:
        problems.append(
            f"quality: {codec} takes {best_worst[0]} (best) to {best_worst[1]}, not {quality}"
        )
    return problems
