"""OpenCV for the drivers, imported through `mlink.opencv`, which prepares its environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.opencv import cv2

__all__ = ["cv2", "decode_into"]


def decode_into(capture: Any, into: NDArray[Any], source: str, remedy: str) -> bool:
    """Decode the frame that a `cv2.VideoCapture` grabbed last.

    Args:
        capture: The `cv2.VideoCapture`.
        into: Array of the expected shape and dtype.
        source: Name of the source for messages.
        remedy: Remedy for pictures of another shape.

    Returns:
        False if the picture is damaged.

    Raises:
        DeviceError: The picture has another shape than `into`.
    """
    ok, image = capture.retrieve(into)
    if not ok:
        return False
    if image is not into:  # OpenCV allocates another array for another shape or layout
        if image.shape != into.shape:
            raise DeviceError(
                f"pictures of {source} change from {into.shape} to {image.shape}", remedy=remedy
            )
        np.copyto(into, image)
    return True
