"""A frame as a JPEG for a page, with what a person wants to know of its brightness."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.opencv import cv2
from mlink.types import Frame
from mlink.view.messages import Picture

_QUALITY = 80
_BINS = 64
_MANY_BITS = 16
"""Few sources fill as many: thermal and depth cameras, for example, would show next to nothing."""
MAX_WIDTH = 3840
MIN_WIDTH = 16


def make_picture(stream: str, frame: Frame, width: int, now_usec: int, bits: int) -> Picture:
    """Return a frame as a picture.

    Frames of 8 bits are shown as they are, and those of which less than 16 bits are used. Of
    others, the values between the least and the greatest are shown as black to white.

    Args:
        stream: Its stream, "module.port".
        frame: The frame, of any type that streams carry.
        width: Greatest width of the picture in pixels; it is never enlarged.
        now_usec: Master time.
        bits: Bits of its values that are used.
    """
    pixels = frame.view
    small = _finite(_reduced(pixels, max(MIN_WIDTH, min(width, MAX_WIDTH))))
    low, high = (float(small.min()), float(small.max())) if small.size else (0.0, 0.0)
    whole = pixels.dtype.kind == "u"
    top = float((1 << bits) - 1) if whole else _top(pixels.dtype)
    scaled = not whole or bits >= _MANY_BITS
    bounds = (low, high) if scaled else (0.0, top)
    counts, _ = np.histogram(small, bins=_BINS, range=(bounds[0], max(bounds[1], bounds[0] + 1)))
    saturated = float(np.count_nonzero(small >= top)) / small.size if small.size and top else 0.0
    done, jpeg = cv2.imencode(
        ".jpg", _as_8_bits(small, *bounds), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return Picture(
        stream=stream,
        width=width,
        index=frame.index,
        time_usec=frame.time_usec,
        sent_usec=now_usec,
        shape=list(pixels.shape),
        dtype=str(pixels.dtype),
        low=low,
        high=high,
        saturated=saturated,
        histogram=[int(count) for count in counts],
        scaled=scaled,
        jpeg=jpeg.tobytes() if done else b"",
    )


def _reduced(pixels: NDArray[Any], width: int) -> NDArray[Any]:
    """Return the pixels with every nth row and column: quick, and no value is made up."""
    step = max(1, -(-pixels.shape[1] // width)) if pixels.ndim > 1 else 1
    return np.ascontiguousarray(pixels[::step, ::step])


def _finite(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels; those that are no numbers as the least, infinite ones as the bounds."""
    if pixels.dtype.kind != "f" or np.isfinite(pixels).all():
        return pixels
    known = pixels[np.isfinite(pixels)]
    low, high = (known.min(), known.max()) if known.size else (0, 1)
    finite: NDArray[Any] = np.nan_to_num(pixels, nan=low, posinf=high, neginf=low)
    return finite


def _top(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 0.0


def _as_8_bits(pixels: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8:
        shades = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-9))
        pixels = shades.clip(0, 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):  # alpha is left out
        pixels = pixels[:, :, :3] if pixels.shape[2] > 3 else pixels[:, :, :1]
    return np.ascontiguousarray(pixels)
