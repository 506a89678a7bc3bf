"""OpenCV for the drivers, from the one place that prepares its environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.opencv import cv2

__all__ = ["cv2", "decode_into"]


def decode_into(capture: Any, into: NDArray[Any], source: str, remedy: str) -> bool:
    """Decode the frame last grabbed by a `cv2.VideoCapture`; False when it is damaged.

    DeviceError, with `remedy`, when pictures of `source` are no longer of the shape of `into`.
    """
    ok, image = capture.retrieve(into)
    if not ok:
        return False
    if image is not into:  # another shape or layout: OpenCV made an array of its own
        if image.shape != into.shape:
            raise DeviceError(
                f"pictures of {source} change from {into.shape} to {image.shape}", remedy=remedy
            )
        np.copyto(into, image)
    return True
