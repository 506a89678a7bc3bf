"""Pictures decoded by FFmpeg (PyAV) as arrays that keep what the source has: depth, grey, alpha."""

from __future__ import annotations

from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from mlink.errors import DeviceError

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's name of a codec → of the decoder that knows its alpha."""
_MOST_INSIDE = 32
"""More pictures than any decoder keeps."""


class Layout(NamedTuple):
    """How a source's pictures become arrays."""

    shape: tuple[int, ...]
    """(height, width) for grey, (height, width, channels) for BGR and BGRA."""
    dtype: np.dtype[Any]
    pixel_format: str
    """FFmpeg's format to convert to; "" if the pixels are copied as they are."""
    turns: int = 0
    """Quarter turns, anticlockwise, as a phone notes how it was held."""
    bits: int = 0
    """Bits of values of 16 that are used; 0: all."""


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
    turns = round(frame.rotation / 90) % 4
    if turns % 2:
        size = (size[1], size[0])
    if name.startswith("gray"):
        stored = wide.newbyteorder(">" if name.endswith("be") else "<")
        return Layout(size, stored, "", turns, bits if bits > 8 else 0)
    if name.startswith("mono"):
        return Layout(size, wide, "gray", turns)
    if name.startswith(("ya", "pal")) or any(component.is_alpha for component in form.components):
        return Layout((*size, 4), wide, "bgra64le" if bits > 8 else "bgra", turns)
    return Layout((*size, 3), wide, "bgr48le" if bits > 8 else "bgr24", turns)


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
            (int(frame.height), int(frame.width), channels),
            (plane.line_size, channels * item, item),
        )
        np.copyto(into.reshape(*layout.shape[:2], channels), np.rot90(rows, layout.turns))


class Decoder:
    """Decodes the packets of a stream, with None in the place of each damaged picture.

    Args:
        stream: A video stream of an open `av` container, which was not decoded yet.
    """

    def __init__(self, stream: Any) -> None:
        self._context = stream.codec_context
        name = self._context.name
        if name in _WITH_ALPHA and stream.metadata.get("alpha_mode") == "1":
            # FFmpeg's own decoder drops the alpha.
            self._context = av.CodecContext.create(_WITH_ALPHA[name], "r")
        elif name == "mjpeg":  # else the half of a picture counts as a whole one
            self._context.options = {"err_detect": "explode"}
        # Threads that decode a picture each delay errors; FFV1 needs none of them to be quick.
        self._context.thread_type = "SLICE" if name == "ffv1" else "AUTO"
        self._inside = 0
        """Pictures that the decoder has taken and not returned yet."""

    def decode(self, packet: Any) -> list[Any]:
        """Return the pictures that a packet completes; an empty packet ends the stream."""
        self._inside += bool(packet.size)
        try:
            pictures = list(self._context.decode(packet))
        except av.FFmpegError:
            # With threads, what is damaged in the last packets shows at the end, all at once.
            pictures = [None] * (1 if packet.size else min(self._inside, _MOST_INSIDE))
        self._inside = max(0, self._inside - len(pictures))
        return pictures


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
    bits = layout.bits or 8 * layout.dtype.itemsize
    return f"{layout.shape[1]}×{layout.shape[0]} {kind} of {bits} bits"
