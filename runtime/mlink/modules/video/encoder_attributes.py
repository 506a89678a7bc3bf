"""The attributes of a dataset about the encoding of its video."""

from __future__ import annotations

from typing import Any

from mlink.modules.video.writer import VideoOptions, VideoWriter


def stored_pixels(writer: VideoWriter) -> dict[str, Any]:
    """Return what the attribute `video` has of the pixels in the file."""
    return {"pixels": writer.stored_kind, "bits": writer.bits}


def encoder_attributes(writer: VideoWriter, options: VideoOptions) -> dict[str, Any]:
    """Return the attribute `encoder`: the options that were really used."""
    found: dict[str, Any] = {
        "name": writer.encoder_name,
        "codec": writer.codec.name,
        "pixel_format": writer.pixel_format,
        "lossless": writer.lossless,
        "thread_count": writer.threads,
    }
    if writer.dropped:
        found["dropped"] = writer.dropped
    if not writer.lossless:
        codec = writer.codec
        if options.constant_bitrate:
            found["target_bitrate_kbps"] = options.bitrate_kbps or codec.bitrate_kbps
        else:
            found["target_quality"] = codec.quality if options.quality is None else options.quality
    return found
