"""Codecs of the video recorder, and how each stores a frame.

To add a codec: an entry in `CODECS`, and its name in `choices`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError
from mlink.opencv import cv2

FrameKind = Literal["gray8", "gray16", "bgr8", "bgr16", "bgra8", "bgra16"]
"""Kind of a frame: channels and bits of its array."""

_KINDS: dict[tuple[int, str], FrameKind] = {
    (1, "uint8"): "gray8",
    (1, "uint16"): "gray16",
    (3, "uint8"): "bgr8",
    (3, "uint16"): "bgr16",
    (4, "uint8"): "bgra8",
    (4, "uint16"): "bgra16",
}
_NARROW: dict[str, FrameKind] = {"gray16": "gray8", "bgr16": "bgr8", "bgra16": "bgra8"}


@dataclass(frozen=True, slots=True)
class PixelPlan:
    """How the pixels of a frame are converted for the encoder.

    A frame is copied (or converted by OpenCV) into a picture of `pixel_format`; FFmpeg converts it
    to `encoder_format` if that differs.
    """

    pixel_format: str
    """The format that frames are copied into."""
    channels: int
    dtype: type[np.generic] = np.uint8
    conversion: int | None = None
    """OpenCV's colour conversion for the copy; None copies the bytes."""
    encoder_format: str = ""
    """The format of the encoder, if it differs (then FFmpeg converts); "" if not."""
    full_range: bool = False
    """Whether to mark the values as 0…255, since players assume 16…235."""
    dropped: str = ""
    """What of the frames is not kept, e.g. "alpha"; "" if nothing."""
    scaled_bits: int = 0
    """Used bits of values that are scaled to 8 before; 0 if they are not."""

    def copy(self, pixels: NDArray[Any], target: NDArray[Any]) -> None:
        """Copy the pixels of a frame into `target`, of shape (H, W, channels)."""
        if self.conversion is None:
            np.copyto(target, pixels.reshape(target.shape))
        else:
            cv2.cvtColor(pixels, self.conversion, dst=target)


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder of FFmpeg, and its options."""

    name: str
    encoder: str
    plans: Mapping[FrameKind, PixelPlan]
    """Kinds of frames that it stores, exactly or with the usual loss of its format."""
    lossless_plans: Mapping[FrameKind, PixelPlan] = field(default_factory=dict)
    """Kinds of frames that it stores in its lossless mode; empty if it has none."""
    lossless_encoder: str = ""
    always_lossless: bool = False
    instead: str = ""
    """Name of the codec for kinds of frames that no container can hold in this one; "" for none."""
    options: Callable[[int], dict[str, str]] = lambda _threads: {}
    """Returns the options of the encoder for a number of threads."""
    quality_options: Callable[[int], dict[str, str]] = lambda quality: {"crf": str(quality)}
    """Returns the options of constant quality for a quantiser."""
    bitrate_options: Callable[[int], dict[str, str]] = lambda _threads: {}
    """Returns the options of constant bitrate besides the rate, for a number of threads."""
    lossless_options: Mapping[str, str] = field(default_factory=dict)
    quality: int | None = None
    """Default quantiser of constant quality; None if it has no such mode."""
    bitrate_kbps: int = 8000
    gop_size: int = 1
    """Frames from one key frame to the next; with 1 each frame can be decoded alone."""
    slice_threads_only: bool = False
    frame_threads: bool = False
    """Whether its threads encode one picture each."""
    must_settle: bool = False
    """Whether its threads must sleep before the next picture is sent (settling.py)."""
    is_jpeg: bool = False
    """Whether each picture is a JPEG, which libjpeg-turbo encodes faster than FFmpeg."""
    grey_bits: tuple[int, ...] = ()
    """Depths of grey between 8 and 16 bits that it has: players show them in full brightness."""
    odd_format: str = "yuv444p"
    """Format used instead of 4:2:0 for pictures of odd size; "" if there is none."""


def _ffv1_options(threads: int) -> dict[str, str]:
    # Golomb-Rice codes (coder 0) take half the time of range coding for 1 to 3 % more bytes.
    # FFV1 accepts only certain numbers of slices; each slice has its own checksum.
    slices = next(n for n in (4, 6, 9, 12, 15, 16, 20, 24, 30) if n >= min(threads, 30))
    return {"level": "3", "slicecrc": "1", "slices": str(slices), "coder": "0", "context": "0"}


def _h264_options(_threads: int) -> dict[str, str]:
    # No look-ahead and no frame threads: the encoder returns each frame at once, so that a kill
    # loses only what the container buffers (≤ 1 s).
    return {"preset": "veryfast", "tune": "zerolatency"}


_X265 = "log-level=error:frame-threads=2:bframes=0:b-adapt=0:rc-lookahead=0:scenecut=0:no-cutree=1"
"""No look-ahead, like tune=zerolatency, which since x265 4 encodes one picture at a time and
ignores frame-threads. Two frame threads encode a third more frames, with one frame of delay.
"""


def _hevc_options(_threads: int) -> dict[str, str]:
    return {"preset": "veryfast", "x265-params": _X265}


def _vp9_options(_threads: int) -> dict[str, str]:
    # Options for live video: no look-ahead, no hidden frames, rows of blocks in parallel.
    return {"deadline": "realtime", "cpu-used": "6", "lag-in-frames": "0", "row-mt": "1",
            "tile-columns": "3", "auto-alt-ref": "0"}  # fmt: skip


_SVT = "pred-struct=1:lookahead=0:rtc=1"
"""No look-ahead. The presets of SVT-AV1 from 10 on are for live video and need `rtc`: without it
they may cause artifacts. Preset 12 with `rtc` needs half the time of preset 10 without, at the same
PSNR (SVT-AV1 4.1; older versions warn that they do not know the option).
"""


def _av1_options(threads: int) -> dict[str, str]:
    # A picture passes through all threads in turn, 16 at level 1, 47 at level 2, which is SVT-AV1's
    # own choice for two processors: it needs up to twice the processor time for the same bytes.
    return {"preset": "12", "svtav1-params": f"{_SVT}:lp={max(1, min(threads // 2, 6))}"}


def _av1_bitrate(threads: int) -> dict[str, str]:
    return {"svtav1-params": f"{_av1_options(threads)['svtav1-params']}:rc=2"}


def _mjpeg_quality(quality: int) -> dict[str, str]:
    return {"qmin": str(quality), "qmax": str(quality)}  # it has no other constant quality


_COLOUR_420: dict[FrameKind, PixelPlan] = {
    "gray8": PixelPlan("gray", 1, encoder_format="yuv420p"),
    "bgr8": PixelPlan("bgr24", 3, encoder_format="yuv420p"),
    "bgra8": PixelPlan("bgra", 4, encoder_format="yuv420p", dropped="alpha"),
}
"""The format that players support: full brightness, colour at half the size."""

_RGB_PLANES: dict[FrameKind, PixelPlan] = {
    "gray8": PixelPlan("bgr24", 3, conversion=cv2.COLOR_GRAY2BGR, encoder_format="gbrp"),
    "bgr8": PixelPlan("bgr24", 3, encoder_format="gbrp"),
}
"""The same bytes in three planes, without loss; gray is stored as three equal planes."""

CODECS: dict[str, Codec] = {
    "ffvhuff": Codec(
        name="ffvhuff",
        encoder="ffvhuff",
        always_lossless=True,
        plans={
            "gray8": PixelPlan("gray", 1),
            "gray16": PixelPlan("gray16le", 1, np.uint16),
            "bgr8": PixelPlan("bgr24", 3, encoder_format="gbrp"),
            "bgra8": PixelPlan("bgra", 4),
            "bgr16": PixelPlan("bgr48le", 3, np.uint16, encoder_format="gbrp16le"),
        },
        frame_threads=True,
        instead="ffv1",
    ),
    "ffv1": Codec(
        name="ffv1",
        encoder="ffv1",
        always_lossless=True,
        plans={
            "gray8": PixelPlan("gray", 1),
            "gray16": PixelPlan("gray16le", 1, np.uint16),
            "bgr8": PixelPlan("bgr0", 4, conversion=cv2.COLOR_BGR2BGRA),
            "bgra8": PixelPlan("bgra", 4),
            "bgr16": PixelPlan("rgb48le", 3, np.uint16, cv2.COLOR_BGR2RGB),
            "bgra16": PixelPlan("rgba64le", 4, np.uint16, cv2.COLOR_BGRA2RGBA),
        },
        options=_ffv1_options,
        slice_threads_only=True,
        grey_bits=(10, 12),
    ),
    "h264": Codec(
        name="h264",
        encoder="libx264",
        plans={
            "gray8": PixelPlan("gray", 1, full_range=True),
            "bgr8": PixelPlan("bgr24", 3, encoder_format="yuv420p"),
            "bgra8": PixelPlan("bgra", 4, encoder_format="yuv420p", dropped="alpha"),
        },
        lossless_encoder="libx264rgb",
        lossless_plans={
            "gray8": PixelPlan("bgr24", 3, conversion=cv2.COLOR_GRAY2BGR),
            "bgr8": PixelPlan("bgr24", 3),
        },
        options=_h264_options,
        lossless_options={"qp": "0"},
        quality=24,
        gop_size=100,
    ),
    "hevc": Codec(
        name="hevc",
        encoder="libx265",
        plans={
            "gray8": PixelPlan("gray", 1, full_range=True),
            "bgr8": PixelPlan("bgr24", 3, encoder_format="yuv420p"),
            "bgra8": PixelPlan("bgra", 4, encoder_format="yuv420p", dropped="alpha"),
        },
        lossless_plans=_RGB_PLANES,
        options=_hevc_options,
        lossless_options={"x265-params": f"{_X265}:lossless=1"},
        quality=24,
        gop_size=32,
    ),
    "vp9": Codec(
        name="vp9",
        encoder="libvpx-vp9",
        plans=_COLOUR_420,
        lossless_plans=_RGB_PLANES,
        options=_vp9_options,
        lossless_options={"lossless": "1"},
        quality=24,
        gop_size=90,
    ),
    "av1": Codec(
        name="av1",
        encoder="libsvtav1",
        plans=_COLOUR_420,
        options=_av1_options,
        bitrate_options=_av1_bitrate,
        quality=24,
        gop_size=100,
        must_settle=True,
        odd_format="",
    ),
    "raw": Codec(
        name="raw",
        encoder="rawvideo",
        always_lossless=True,
        plans={
            "gray8": PixelPlan("gray", 1),
            "bgr8": PixelPlan("bgr24", 3),
            "bgra8": PixelPlan("bgra", 4),
        },
        instead="ffvhuff",
    ),
    "mjpeg": Codec(
        name="mjpeg",
        encoder="mjpeg",
        plans={
            kind: replace(plan, encoder_format="yuvj420p") for kind, plan in _COLOUR_420.items()
        },
        quality_options=_mjpeg_quality,
        quality=3,
        odd_format="yuvj420p",
        is_jpeg=True,
    ),
}


def frame_kind(pixels: NDArray[Any]) -> FrameKind:
    """Return the kind of a frame.

    Raises:
        ModuleError: No video codec stores such pixels.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2] if pixels.ndim == 3 else 0
    kind = _KINDS.get((channels, pixels.dtype.name)) if pixels.size else None
    if kind is None:
        raise ModuleError(
            f"frames of shape {pixels.shape} and type {pixels.dtype} cannot be recorded as video",
            remedy="Send gray, BGR or BGRA frames of 8 or 16 bits.",
        )
    return kind


def codec_for(name: str, kind: FrameKind) -> Codec:
    """Return the codec that stores frames of a kind when the codec `name` was chosen."""
    codec = CODECS[name]
    while codec.instead and kind not in codec.plans:
        codec = CODECS[codec.instead]
    return codec


def pixel_plan(codec: Codec, kind: FrameKind, *, lossless: bool, bits: int = 16) -> PixelPlan:
    """Return how a codec stores frames of a kind.

    Args:
        codec: The codec.
        kind: The kind.
        lossless: Whether nothing may be lost.
        bits: Bits of values of 16 that are used; a codec of 8 bits stores values scaled by them,
            but not where 16 are used: the source may not report its depth.

    Raises:
        ModuleError: It does not store them.
    """
    plans = codec.lossless_plans if lossless and not codec.always_lossless else codec.plans
    narrow = plans.get(narrow_kind(kind))
    if kind not in plans and narrow is not None and not lossless and bits < 16:
        parts = [narrow.dropped, f"lower {bits - 8} of {bits} bits" if bits > 8 else ""]
        return replace(narrow, scaled_bits=bits, dropped=" and ".join(filter(None, parts)))
    if kind not in plans:
        how = "lossless " if lossless else ""
        raise ModuleError(
            f"{how}{codec.name} cannot store {kind} frames",
            remedy='Set video_codec = "ffv1", which stores every kind of frame without loss.',
        )
    if kind == "gray16" and (depth := min((n for n in codec.grey_bits if n >= bits), default=0)):
        return replace(plans[kind], pixel_format=f"gray{depth}le")
    return plans[kind]


def narrow_kind(kind: FrameKind) -> FrameKind:
    """Return the kind of 8 bits with the same channels."""
    return _NARROW.get(kind, kind)


def encoder_format(codec: Codec, plan: PixelPlan, *, width: int, height: int) -> str:
    """Return the pixel format for the encoder.

    Args:
        codec: The codec.
        plan: How it stores the frames.
        width: Width of the frames in px.
        height: Height of the frames in px.

    Raises:
        ModuleError: The codec cannot store pictures of this (odd) size.
    """
    wanted = plan.encoder_format or plan.pixel_format
    if not wanted.endswith("420p") or not (width % 2 or height % 2):
        return wanted
    # 4:2:0 halves the size of the colour planes, which needs even sizes.
    if not codec.odd_format:
        raise ModuleError(
            f"{codec.name} cannot store pictures of an odd size such as {width}×{height}",
            remedy="Crop the frames to even sizes, or set another video_codec, e.g. h264.",
        )
    return codec.odd_format
