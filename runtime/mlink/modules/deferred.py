"""What a recorder notes for the encoding after the run, and how it records until then."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import msgspec

from mlink.modules.codecs import CODECS, FrameKind, encoder_format, pixel_plan
from mlink.modules.video_writer import VideoOptions

ATTRIBUTE = "deferred_encoding"
"""The dataset's attribute that holds a DeferredEncoding."""


class DeferredEncoding(msgspec.Struct, kw_only=True):
    """How the raw files of a dataset shall be encoded, or were."""

    state: Literal["pending", "done"] = "pending"
    codec: str
    container: str
    lossless: bool = False
    constant_bitrate: bool = False
    quality: int | None = None
    bitrate_kbps: int | None = None
    threads: int = 0
    instant_start: bool = True
    """Whether it is done at once, when the run is over."""
    parallel_count: int = 4
    """Files that are encoded at the same time."""

    def options(self) -> VideoOptions:
        """Return the encoder's options."""
        return VideoOptions(
            codec=self.codec,
            container=self.container,
            lossless=self.lossless,
            constant_bitrate=self.constant_bitrate,
            quality=self.quality,
            bitrate_kbps=self.bitrate_kbps,
            threads=self.threads,
        )


def interim_options(wanted: VideoOptions, kind: FrameKind, shape: tuple[int, ...]) -> VideoOptions:
    """Return how to record until the encoding: raw, or FFV1 for pixels that raw cannot hold.

    ModuleError when the wanted codec will refuse these frames: better now than after the run.
    """
    codec = CODECS[wanted.codec]
    plan = pixel_plan(codec, kind, lossless=wanted.lossless)
    encoder_format(codec, plan, width=shape[1], height=shape[0])
    interim = "raw" if kind in CODECS["raw"].plans else "ffv1"
    return replace(
        wanted, codec=interim, container="matroska", lossless=False, constant_bitrate=False
    )
