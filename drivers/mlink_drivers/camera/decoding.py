"""Pictures decoded by FFmpeg (PyAV) as arrays that keep what the source has: depth, grey, alpha."""

from __future__ import annotations

from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from mlink.errors import DeviceError


class Layout(NamedTuple):
    """How a source's pictures become arrays."""

    shape: tuple[int, ...]
    """(height, width) for grey, (height, width, channels) for BGR and BGRA."""
    dtype: np.dtype[Any]
    pixel_format: str
    """FFmpeg's format to convert to; "" if the pixels are copied as they are."""


def layout_of(frame: Any, source: str) -> Layout:
    """Return how a decoded picture becomes an array.

    Grey stays grey with the values of the source, which has 9 to 16 bits in 16. Colour of more
    than 8 bits is scaled to 16.

    Args:
        frame: An `av.VideoFrame`.
        source: Name of the source for messages.

    Raises:
        DeviceError: Its pixels are no whole numbers of at most 16 bits.
    """
    form = frame.format
    name = str(form.name)
    bits = max(component.bits for component in form.components)
    if bits > 16 or "f16" in name or "f32" in name:
        raise DeviceError(
            f"{source} has pixels of the format {name}: no whole numbers of at most 16 bits",
            remedy="Convert it to 8 or 16 bits first.",
        )
    wide = np.dtype(np.uint16 if bits > 8 else np.uint8)
    size = (int(frame.height), int(frame.width))
    if name.startswith("gray"):
        stored = wide.newbyteorder(">" if name.endswith("be") else "<")
        return Layout(size, stored, "")
    if name.startswith("mono"):
        return Layout(size, wide, "gray")
    if name.startswith(("ya", "pal")) or any(component.is_alpha for component in form.components):
        return Layout((*size, 4), wide, "bgra64le" if bits > 8 else "bgra")
    return Layout((*size, 3), wide, "bgr48le" if bits > 8 else "bgr24")


class Converter:
    """Writes decoded pictures to arrays, in the thread that calls it.

    FFmpeg's own threads would have normal priority, and the capture thread would wait for them.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def copy(self, frame: Any, layout: Layout, into: NDArray[Any]) -> None:
        """Write a decoded picture to an array of its layout's shape."""
        if layout.pixel_format:
            frame = self._reformatter.reformat(frame, format=layout.pixel_format, threads=1)
        plane = frame.planes[0]
        item = layout.dtype.itemsize
        channels = layout.shape[2] if len(layout.shape) == 3 else 1
        rows = as_strided(
            np.frombuffer(plane, layout.dtype),
            (*layout.shape[:2], channels),
            (plane.line_size, channels * item, item),
        )
        np.copyto(into.reshape(rows.shape), rows)


def decode(packet: Any) -> list[Any]:
    """Return the pictures that a packet completes; None in the place of a damaged one."""
    try:
        return list(packet.decode())
    except av.FFmpegError:
        return [None] if packet.size else []


class Pictures:
    """Writes decoded pictures to arrays; all have to have the layout of the first one.

    Args:
        first: The first picture.
        source: Name of the source for messages.
        remedy: Remedy for pictures of another size or kind.

    Raises:
        DeviceError: Its pixels are no whole numbers of at most 16 bits.
    """

    def __init__(self, first: Any, source: str, remedy: str) -> None:
        self.layout = layout_of(first, source)
        self._source = source
        self._remedy = remedy
        self._converter = Converter()
        self._grabbed: Any = None

    def grab(self, frame: Any) -> None:
        """Remember the picture that `retrieve` is to write; None for a damaged one."""
        self._grabbed = frame

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Write the picture grabbed last; False if it is damaged.

        Raises:
            DeviceError: It has another size or kind than the first one.
        """
        frame = self._grabbed
        if frame is None or frame.is_corrupt:
            return False
        found = layout_of(frame, self._source)
        if found != self.layout:
            raise DeviceError(
                f"pictures of {self._source} change from {_words(self.layout)} to {_words(found)}",
                remedy=self._remedy,
            )
        self._converter.copy(frame, found, into)
        return True


def _words(layout: Layout) -> str:
    channels = layout.shape[2] if len(layout.shape) == 3 else 1
    kind = {1: "grey", 3: "BGR", 4: "BGRA"}[channels]
    return f"{layout.shape[1]}×{layout.shape[0]} {kind} of {8 * layout.dtype.itemsize} bits"
