"""Motion JPEG with libjpeg-turbo, which needs a third of the time of FFmpeg's encoder."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mlink.opencv import cv2


class JpegEncoder:
    """Compresses pictures one by one; used instead of the encoder of an FFmpeg stream."""

    name = "libjpeg-turbo"
    threads = 1

    def __init__(self, quantiser: int, stream: Any) -> None:
        self._stream = stream
        self._parameters = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality(quantiser)]

    def encode(
        self, pixels: NDArray[Any], pts: int, duration: int, time_base: Fraction
    ) -> list[Any]:
        """Return the packet of one picture.

        Args:
            pixels: The picture, (H, W) or (H, W, channels), 8 bits.
            pts: Its time in units of `time_base`.
            duration: How long it is shown, in the same units; 0 if that is not known.
            time_base: Unit in s.

        Raises:
            OSError: OpenCV cannot compress the picture.
        """
        ok, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(pixels), self._parameters)
        if not ok:
            raise OSError(f"a picture of {pixels.shape} cannot be compressed")
        packet = av.Packet(jpeg.tobytes())
        packet.stream = self._stream
        packet.pts = packet.dts = pts
        packet.time_base = time_base
        packet.duration = duration
        packet.is_keyframe = True
        return [packet]


def jpeg_quality(quantiser: int) -> int:
    """Return libjpeg's quality (1 to 100) for FFmpeg's quantiser (2 best, 31 worst).

    By measured PSNR, quantiser q corresponds to the tables of the JPEG standard scaled by 10 q per
    cent. libjpeg's quality is a function of that scale (jpeg_quality_scaling).
    """
    percent = 10 * quantiser
    return round((200 - percent) / 2 if percent <= 100 else 5000 / percent)
