"""What a recorder notes for the encoding after the run, and how it records until then."""

from __future__ import annotations

from typing import Literal

import msgspec.structs

from mlink.modules.video.codecs import CODECS, FrameKind, encoder_format, pixel_plan
from mlink.modules.video.writer import VideoOptions

ATTRIBUTE = "deferred_encoding"
"""The dataset's attribute that holds a DeferredEncoding."""


class DeferredEncoding(VideoOptions, frozen=True, kw_only=True):
    """How the raw files of a dataset shall be encoded, or were; codec and container are told."""

    codec: str
    container: str
    state: Literal["pending", "done"] = "pending"
    instant_start: bool = True
    """Whether it is done at once, when the run is over."""
    parallel_count: int = 4
    """Files that are encoded at the same time."""


def interim_options(wanted: VideoOptions, kind: FrameKind, shape: tuple[int, ...]) -> VideoOptions:
    """Return how to record until the encoding: raw, or FFV1 for pixels that raw cannot hold.

    ModuleError when the wanted codec will refuse these frames: better now than after the run.
    """
    codec = CODECS[wanted.codec]
    plan = pixel_plan(codec, kind, lossless=wanted.lossless)
    encoder_format(codec, plan, width=shape[1], height=shape[0])
    interim = "raw" if kind in CODECS["raw"].plans else "ffv1"
    return msgspec.structs.replace(
        wanted, codec=interim, container="matroska", lossless=False, constant_bitrate=False
    )
