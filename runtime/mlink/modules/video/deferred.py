"""Options of the encoding after the run, and of the recording until then."""

from __future__ import annotations

from typing import Literal

import msgspec.structs

from mlink.modules.video.codecs import FrameKind, codec_for, encoder_format, pixel_plan
from mlink.modules.video.writer import VideoOptions

ATTRIBUTE = "deferred_encoding"
"""Attribute of the dataset that contains a DeferredEncoding."""


class DeferredEncoding(VideoOptions, frozen=True, kw_only=True):
    """How to encode the raw files of a dataset, or how they were encoded.

    Stored as the attribute `deferred_encoding`; `state` changes when all files are encoded.
    """

    codec: str
    container: str
    state: Literal["pending", "done"] = "pending"
    instant_start: bool = True
    """Whether to encode right after the run."""
    parallel_count: int = 4
    """Number of files encoded at the same time."""
    pixels: str = ""
    """Kind of the frames that were recorded, e.g. "gray16"; "" in recordings of old versions."""
    bits: int = 0
    """Bits of their values that are used; 0: all."""


def interim_options(
    wanted: VideoOptions, kind: FrameKind, shape: tuple[int, ...], bits: int = 16
) -> VideoOptions:
    """Return how to record until the encoding: raw.

    Args:
        wanted: Options of the encoding after the run.
        kind: Kind of the frames.
        shape: Shape of their arrays, (H, W) or (H, W, channels).
        bits: Bits of values of 16 that are used.

    Raises:
        ModuleError: The wanted codec cannot store these frames; found now, not after the run.
    """
    codec = codec_for(wanted.codec, kind)
    plan = pixel_plan(codec, kind, lossless=wanted.lossless, bits=bits)
    encoder_format(codec, plan, width=shape[1], height=shape[0])
    return msgspec.structs.replace(
        wanted, codec="raw", container="matroska", lossless=False, constant_bitrate=False
    )
