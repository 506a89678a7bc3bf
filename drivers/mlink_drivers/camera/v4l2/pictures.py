"""The pixel formats of V4L2 that are understood, and how their pictures become arrays.

Grey stays grey with the camera's own values. OpenCV converts other raw pictures to BGR, unless they
are requested as they are; FFmpeg decodes JPEG, because it finds damage that OpenCV does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.opencv import cv2
from mlink_drivers.camera.decoding import Converter, Layout, layout_of
from mlink_drivers.camera.v4l2.stream import PictureFormat

Bytes = NDArray[np.uint8]
_END_OF_JPEG = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of a raw picture lie in memory."""

    to_bgr: int | None = None
    """OpenCV's conversion to BGR; None for grey, and for BGR itself."""
    channels: int = 1
    bits: int = 8
    """Bits of a value; more than 8 lie in 16, the lowest ones, unless `packed`."""
    planes: int = 1
    """More than one: the colours (4:2:0) follow below the rows of brightness."""
    packed: bool = False
    """Whether the lowest bits of several values share a byte after them."""
    big_endian: bool = False


def _bayer(code: int, *names: str) -> dict[str, PixelFormat]:
    """Return the formats of one Bayer pattern: of 8, 10, 12, 14, 16 bits; packed 10, 12."""
    bits = (8, 10, 12, 14, 16, 10, 12)
    return {
        name: PixelFormat(code, bits=count, packed=at > 4)
        for at, (name, count) in enumerate(zip(names, bits, strict=True))
    }


RAW: dict[str, PixelFormat] = {
    "BGR3": PixelFormat(channels=3),
    "RGB3": PixelFormat(cv2.COLOR_RGB2BGR, 3),
    "YUYV": PixelFormat(cv2.COLOR_YUV2BGR_YUYV, 2),
    "UYVY": PixelFormat(cv2.COLOR_YUV2BGR_UYVY, 2),
    "YVYU": PixelFormat(cv2.COLOR_YUV2BGR_YVYU, 2),
    "NV12": PixelFormat(cv2.COLOR_YUV2BGR_NV12, planes=2),
    "NV21": PixelFormat(cv2.COLOR_YUV2BGR_NV21, planes=2),
    "YU12": PixelFormat(cv2.COLOR_YUV2BGR_I420, planes=3),
    "YV12": PixelFormat(cv2.COLOR_YUV2BGR_YV12, planes=3),
    "XR24": PixelFormat(cv2.COLOR_BGRA2BGR, 4),
    "AR24": PixelFormat(cv2.COLOR_BGRA2BGR, 4),
    "XB24": PixelFormat(cv2.COLOR_RGBA2BGR, 4),
    "AB24": PixelFormat(cv2.COLOR_RGBA2BGR, 4),
    "RGBP": PixelFormat(cv2.COLOR_BGR5652BGR, 2),
    **_bayer(cv2.COLOR_BayerBGGR2BGR, "BA81", "BG10", "BG12", "BG14", "BYR2", "pBAA", "pBCC"),
    **_bayer(cv2.COLOR_BayerGBRG2BGR, "GBRG", "GB10", "GB12", "GB14", "GB16", "pGAA", "pGCC"),
    **_bayer(cv2.COLOR_BayerGRBG2BGR, "GRBG", "BA10", "BA12", "GR14", "GR16", "pgAA", "pgCC"),
    **_bayer(cv2.COLOR_BayerRGGB2BGR, "RGGB", "RG10", "RG12", "RG14", "RG16", "pRAA", "pRCC"),
    "GREY": PixelFormat(),
    "Y10 ": PixelFormat(bits=10),
    "Y12 ": PixelFormat(bits=12),
    "Y14 ": PixelFormat(bits=14),
    "Y16 ": PixelFormat(bits=16),
    "Y16 -BE": PixelFormat(bits=16, big_endian=True),
    "Z16 ": PixelFormat(bits=16),
    "Y10P": PixelFormat(bits=10, packed=True),
    "Y12P": PixelFormat(bits=12, packed=True),
}
COMPRESSED = ("MJPG", "JPEG")
PREFERRED = (
    *(name for name, pixel in RAW.items() if pixel.channels * pixel.planes > 1),
    *COMPRESSED,
    *(name for name, pixel in RAW.items() if pixel.channels * pixel.planes == 1),
)
"""All formats that are understood; without a request, the first that a camera has is used."""


class Pictures(Protocol):
    """Writes the bytes of a buffer to an array as a picture."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bits: int
    """Bits of values of 16 that are used; 0: all."""

    def learn(self, data: Bytes) -> bool:
        """Look at one of the first buffers; return whether it is a good picture.

        `shape` and `dtype` are known after the first good one.
        """

    def write(self, data: Bytes, into: NDArray[Any]) -> bool:
        """Write a picture to an array of this shape and type; return False if it is damaged."""


def pictures_of(name: str, form: PictureFormat, source: str, *, convert: bool) -> Pictures:
    """Return what makes pictures of the buffers of a format.

    Args:
        name: The four characters of the format.
        form: What the driver has adopted.
        source: Name of the camera for messages.
        convert: Whether raw pictures become BGR; else they keep the camera's own layout.

    Raises:
        DeviceError: The format is not understood, or is compressed, but not to be converted.
    """
    if name in COMPRESSED:
        if not convert:
            raise DeviceError(
                f"{source} sends pictures of the format {name}, which have to be decoded",
                remedy='Choose a raw pixel_format such as "YUYV" (`mlink devices --modes`), '
                "or set convert = true.",
            )
        return JpegPictures(source)
    pixel = RAW.get(name)
    if pixel is None:
        raise DeviceError(
            f"{source} sends pictures of the format {name}, which is not understood",
            remedy="Choose another pixel_format (`mlink devices --modes`): docs/cameras.md lists "
            "those that are understood, the most common are YUYV, MJPG and GREY.",
        )
    if pixel.planes > 1 and (form.size[0] % 2 or form.size[1] % 2):
        raise DeviceError(
            f"{source} sends pictures of {form.size[0]}×{form.size[1]} pixels, and the format "
            f"{name} has colours for each two",
            remedy="Choose an even size, or another pixel_format.",
        )
    return RawPictures(pixel if convert else replace(pixel, to_bgr=None), form, source)


class RawPictures:
    """Pictures that are not compressed.

    Args:
        pixel: Their pixels.
        form: Their size, and the distance of their rows.
        source: Name of the camera for messages.
    """

    def __init__(self, pixel: PixelFormat, form: PictureFormat, source: str) -> None:
        width, height = form.size
        rows = height * 3 // 2 if pixel.planes > 1 else height
        channels = (pixel.channels,) if pixel.channels > 1 else ()
        self.shape: tuple[int, ...] = (rows, width, *channels)
        if pixel.to_bgr is not None:
            self.shape = (height, width, 3)
        self.dtype = np.dtype(np.uint8 if pixel.bits == 8 else np.uint16)
        self.bits = pixel.bits if 8 < pixel.bits < 16 and pixel.to_bgr is None else 0
        self._pixel = pixel
        self._source = source
        self._width, self._height = width, height
        self._stored = self.dtype.newbyteorder(">" if pixel.big_endian else "<")
        row = (width, *channels)
        if pixel.packed:  # of 10 bits four values and a byte, of 12 bits two and a byte
            self._stored = np.dtype(np.uint8)
            self._group = 4 if pixel.bits == 10 else 2
            row = (-(-width // self._group), self._group + 1)
        item = self._stored.itemsize
        used = math.prod(row) * item
        self._line = line = max(form.line_bytes, used)
        self._laid_out = (rows, *row)
        self._strides = (line, row[1] * item, item) if len(row) > 1 else (line, item)
        self._needed = (rows - 1) * line + used
        self._apart = pixel.planes == 3 and line > used
        """Whether the rows of the colours have padding, each after half a row."""
        if self._apart:
            self._needed = line * height + line // 2 * (height - 1) + width // 2

    def learn(self, data: Bytes) -> bool:
        """Return whether the buffer holds a whole picture.

        Raises:
            DeviceError: OpenCV cannot convert pictures of this size.
        """
        try:
            return self.write(data, np.empty(self.shape, self.dtype))
        except cv2.error as error:
            raise DeviceError(
                f"pictures of {self._source} cannot be converted: {error.err}",
                remedy="Choose another size or pixel_format, or set convert = false.",
            ) from error

    def write(self, data: Bytes, into: NDArray[Any]) -> bool:
        """Copy or convert a picture; False if bytes are missing."""
        if len(data) < self._needed:
            return False
        pixel = self._pixel
        rows: NDArray[Any] = np.ndarray(self._laid_out, self._stored, data, 0, self._strides)
        if pixel.packed:
            rows = self._unpacked(rows)
        elif self._apart:
            rows = self._joined(data)
        if pixel.to_bgr is None:
            np.copyto(into, rows)
            return True
        cv2.cvtColor(rows, pixel.to_bgr, dst=into)
        if pixel.bits > 8:
            np.left_shift(into, 16 - pixel.bits, out=into)
        return True

    def _unpacked(self, groups: Bytes) -> NDArray[Any]:
        """Join the high bits of each value, and the low ones, which share the group's last byte."""
        low = self._pixel.bits - 8
        values = groups[..., : self._group].astype(np.uint16) << low
        shifts = np.arange(0, self._group * low, low, dtype=np.uint8)
        values |= groups[..., self._group :] >> shifts & np.uint8((1 << low) - 1)
        return values.reshape(len(groups), -1)[:, : self._width]

    def _joined(self, data: Bytes) -> Bytes:
        """Return brightness and colours without padding, as OpenCV expects them."""
        width, height, line = self._width, self._height, self._line
        rows = np.empty(self._laid_out, np.uint8)
        rows[:height] = np.ndarray((height, width), np.uint8, data, 0, (line, 1))
        rows[height:].reshape(height, width // 2)[:] = np.ndarray(
            (height, width // 2), np.uint8, data, line * height, (line // 2, 1)
        )
        return rows


class JpegPictures:
    """Pictures that are each a JPEG; decoded in this thread, whose priority others do not have.

    A picture that FFmpeg finds faults in, that has no end, or another size, is damaged. A camera
    whose first pictures all have such faults is taken as it is.

    Args:
        source: Name of the camera for messages.
    """

    def __init__(self, source: str) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self.bits = 0
        self._source = source
        self._strict = False
        self._decoders: dict[bool, Any] = {}
        self._converter = Converter()
        self._layout: Layout | None = None

    def learn(self, data: Bytes) -> bool:
        """Decode one of the first pictures; find out whether the camera's JPEG is flawless."""
        for strict in (True, False):
            frame = self._decode(data, strict)
            if frame is not None:
                self._strict |= strict
                self._layout = layout_of(frame, self._source)
                self.shape, self.dtype = self._layout.shape, self._layout.dtype
                return True
        return False

    def write(self, data: Bytes, into: NDArray[Any]) -> bool:
        """Decode a picture; False if it is damaged."""
        frame = self._decode(data, self._strict)
        layout = self._layout
        if frame is None or layout is None or layout_of(frame, self._source) != layout:
            return False
        self._converter.copy(frame, layout, into)
        return True

    def _decode(self, data: Bytes, strict: bool) -> Any:
        """Return an `av.VideoFrame`, or None if there is none."""
        if data[-2:].tobytes() != _END_OF_JPEG:  # cut off, or followed by other bytes
            end = data.tobytes().rfind(_END_OF_JPEG)
            if end >= 0:
                data = data[: end + 2]
            elif strict:
                return None
        if not len(data):  # would end the decoder
            return None
        if strict not in self._decoders:
            decoder = av.CodecContext.create("mjpeg", "r")
            decoder.thread_count = 1
            if strict:
                decoder.options = {"err_detect": "explode"}
            self._decoders[strict] = decoder
        try:
            frames = self._decoders[strict].decode(av.Packet(data))
        except av.FFmpegError:
            return None
        return frames[0] if frames and not frames[0].is_corrupt else None
