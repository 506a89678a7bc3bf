"""The only place that imports cv2, since OpenCV reads its environment once, when it is loaded.

Both packages of it will do: opencv-python, and opencv-python-headless, which draws no windows.

Modules that capture, convert or draw import `cv2` from here. The fork server, which loads it for
its workers, has to import this module too.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Timeout of a read from V4L2 in s (OpenCV's default is 10).
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
# mlink reports what failed; the lines of FFmpeg and OpenCV would repeat it without a remedy.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
# Qt, behind highgui, warns five times of fonts that its wheel lacks; none are needed.
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")

import cv2

if not hasattr(cv2, "imencode"):  # pip has removed one of two packages with the same files
    raise ImportError("No module named 'cv2': parts of its files are missing")

__all__ = ["cv2", "draws_windows", "eight_bits"]


def draws_windows() -> bool:
    """Return whether this OpenCV can show windows."""
    lines = (line.split() for line in cv2.getBuildInformation().splitlines())
    return not any(words[:2] == ["GUI:", "NONE"] for words in lines)


def eight_bits(picture: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return a picture with values of 16 bits scaled to 8; any other picture as it is.

    Args:
        picture: Shape (H, W) or (H, W, channels).
        bits: Bits of its values that are used: their greatest one becomes 255, as greater ones do.
    """
    if picture.dtype != np.uint16:
        return picture
    return np.asarray(cv2.convertScaleAbs(picture, alpha=255 / ((1 << bits) - 1)))
