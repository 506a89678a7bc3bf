"""Pixel formats of GenICam cameras (PFNC names) as arrays.

Grey of more than 8 bits keeps the camera's own values in 16; colour is scaled to 16. Bayer pictures
and YUV become BGR, unless they are to stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.opencv import cv2

_NAME = re.compile(
    r"(?P<kind>Mono|Bayer(?P<mosaic>GR|RG|GB|BG)|RGBa?|BGRa?)_?(?P<bits>8|10|12|14|16)"
    r"(?P<packing>p|Packed)?"
)
_MOSAICS = {"GR": "GRBG", "RG": "RGGB", "GB": "GBRG", "BG": "BGGR"}
_YUV = {
    "YUV422_8": "YUY2",
    "YUV422_YUYV_Packed": "YUY2",
    "YUYVPacked": "YUY2",
    "YCbCr422_8": "YUY2",
    "YCbCr601_422_8": "YUY2",
    "YCbCr709_422_8": "YUY2",
    "YUV422Packed": "UYVY",
    "YUV422_8_UYVY": "UYVY",
    "YCbCr422_8_CbYCrY": "UYVY",
    "YCbCr601_422_8_CbYCrY": "UYVY",
    "YCbCr709_422_8_CbYCrY": "UYVY",
}
_CHANNELS = {"RGB": 3, "BGR": 3, "RGBa": 4, "BGRa": 4}


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of a format lie in memory, and what becomes of them."""

    name: str
    bits: int
    """Used bits of a value."""
    channels: int
    """Values of a pixel in memory."""
    packing: str
    """"p": bit after bit; "Packed": two pixels in three bytes (GigE Vision); "": whole bytes."""
    convert: str
    """OpenCV's conversion to BGR or BGRA, such as "COLOR_RGB2BGR"; "" for none."""
    result: int
    """Channels of the array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values in the array."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def used_bits(self) -> int:
        """Bits of values of 16 that are used; 0 for all: values of colours are scaled."""
        return self.bits if 8 < self.bits < 16 and self.result == 1 else 0

    @property
    def bits_per_pixel(self) -> int:
        """Bits that a pixel has in memory."""
        if self.packing == "Packed":
            return 12
        return self.channels * (self.bits if self.packing or self.bits == 8 else 16)

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Return the shape of an array of this format."""
        return (height, width) if self.result == 1 else (height, width, self.result)


def pixel_format(name: str, convert: bool = True) -> PixelFormat | None:
    """Return what a format's name means; None for one that cannot be read.

    Args:
        name: PFNC name, or one of those that older GigE cameras use.
        convert: Whether Bayer and YUV pictures become BGR; else they stay as the camera sends them.
    """
    if name in _YUV:
        to_bgr = f"COLOR_YUV2BGR_{_YUV[name]}"
        return PixelFormat(name, 8, 2, "", to_bgr if convert else "", 3 if convert else 2)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    kind, bits, packing = match["kind"], int(match["bits"]), match["packing"] or ""
    if kind in _CHANNELS:
        channels = _CHANNELS[kind]
        # "Packed" of colours is the old word for values of a pixel side by side.
        packing = "" if packing == "Packed" else packing
        target = kind.replace("RGB", "BGR").upper()
        to_bgr = f"COLOR_{kind.upper()}2{target}" if kind.startswith("R") else ""
        return PixelFormat(name, bits, channels, packing, to_bgr, channels)
    if (packing and bits in (8, 16)) or (packing == "Packed" and bits == 14):
        return None
    if match["mosaic"] and convert:
        to_bgr = f"COLOR_Bayer{_MOSAICS[match['mosaic']]}2BGR"
        return PixelFormat(name, bits, 1, packing, to_bgr, 3)
    return PixelFormat(name, bits, 1, packing, "", 1)


def readable(name: str, code: int, offered: Iterable[str], source: str,
             convert: bool = True) -> PixelFormat:  # fmt: skip
    """Return what the format of a camera means.

    Args:
        name: Its name.
        code: Its PFNC number, which has the bits of a pixel.
        offered: The formats that the camera offers.
        source: Name of the camera for messages.
        convert: As for `pixel_format`.

    Raises:
        DeviceError: It cannot be read; the remedy has those of the camera that can.
    """
    found = pixel_format(name, convert)
    if found is None or found.bits_per_pixel != (code >> 16 & 0xFF):
        fitting = [other for other in offered if other != name and pixel_format(other)]
        raise DeviceError(
            f"{source} sends pixels of the format {name}, which mlink cannot read",
            remedy=f"Set pixel_format, for example to {', '.join(fitting[:8])}."
            if fitting else "Set another pixel_format.",
        )  # fmt: skip
    return found


def reader(form: PixelFormat, width: int, height: int) -> Callable[..., None]:
    """Return a function (data, row padding in bytes, into) that writes one picture to an array."""
    shape = (height, width) if form.channels == 1 else (height, width, form.channels)
    count = width * height * form.channels
    code = getattr(cv2, form.convert) if form.convert else None
    scale = 16 - form.bits if form.result >= 3 and form.bits > 8 else 0

    def read(data: NDArray[np.uint8], padding: int, into: NDArray[Any]) -> None:
        if padding:
            row = len(data) // height
            data = np.ascontiguousarray(data[: row * height].reshape(height, row)[:, :-padding])
            data = data.reshape(-1)
        if form.packing:
            values = unpacked(data, count, form.bits, form.packing)
        else:
            values = data[: count * form.dtype.itemsize].view(form.dtype.newbyteorder("<"))
        picture = values.reshape(shape)
        made = picture if code is None else cv2.cvtColor(picture, code, dst=into)
        if made is not into:  # OpenCV allocates another array for another layout
            np.copyto(into, made)
        if scale:
            np.left_shift(into, scale, out=into)

    return read


def unpacked(data: NDArray[np.uint8], count: int, bits: int, packing: str) -> NDArray[np.uint16]:
    """Return packed values of 10, 12 or 14 bits, each in 16.

    Args:
        data: The bytes.
        count: Number of values.
        bits: Bits of a value.
        packing: As in `PixelFormat`.
    """
    if packing == "Packed":
        group, values = 3, 2
    else:
        values = {10: 4, 12: 2, 14: 4}[bits]
        group = values * bits // 8
    groups = -(-count // values)
    data = data[: groups * group]
    if len(data) < groups * group:  # the last group of a picture may be cut off
        data = np.concatenate((data, np.zeros(groups * group - len(data), np.uint8)))
    columns = data.reshape(groups, group)
    found = np.empty((groups, values), np.uint16)
    if packing == "Packed":
        low = (1 << (bits - 8)) - 1
        middle = columns[:, 1]
        for index, (high, shift) in enumerate(((0, 0), (2, 4))):
            np.left_shift(columns[:, high], bits - 8, out=found[:, index], dtype=np.uint16)
            found[:, index] |= middle >> shift & low
        return found.reshape(-1)[:count]
    for index in range(values):
        first, shift = divmod(index * bits, 8)
        last = (index * bits + bits - 1) // 8
        total = np.zeros(groups, np.uint32)
        for place in range(first, last + 1):
            total |= columns[:, place].astype(np.uint32) << (8 * (place - first))
        found[:, index] = total >> shift & ((1 << bits) - 1)
    return found.reshape(-1)[:count]
