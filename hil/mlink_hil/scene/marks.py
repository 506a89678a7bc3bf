"""A number and a time drawn into a picture as black and white cells, and read back from it.

Three rows of 32 cells at the top left, each cell 1/32 of the picture's width: 32 bits of frame
number, 48 bits of time in µs, 16 bits of CRC-CCITT; most significant bit first, white is 1. The
cells are large enough to survive lossy video compression.
"""

from __future__ import annotations

import binascii
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StreamError
from mlink.types import Frame

COLUMNS = 32
ROWS = 3
SMALLEST_WIDTH = 128
_NUMBER_BYTES = 4
_TIME_BYTES = 6
_CRC_START = 0xFFFF  # not 0, so that a black picture is not a valid code
TIME_MODULUS = 1 << (8 * _TIME_BYTES)
"""Times wrap after this many µs (8.9 years)."""


class Marks(NamedTuple):
    """Number and time of a frame, read from its picture."""

    number: int
    time_usec: int
    """µs of CLOCK_MONOTONIC modulo TIME_MODULUS: the frame's master time plus a constant."""


def cell_size(width: int) -> int:
    """Return the side of a cell in a picture of this width, both in pixels."""
    return width // COLUMNS


def draw_marks(image: NDArray[np.uint8], number: int, time_usec: int) -> None:
    """Draw number and time into the top rows of a picture.

    Args:
        image: H×W or H×W×C, uint8, at least SMALLEST_WIDTH wide; changed in place.
        number: Frame number; its lowest 32 bits are drawn.
        time_usec: Time in µs; its lowest 48 bits are drawn.
    """
    payload = (number % (1 << 32)).to_bytes(_NUMBER_BYTES)
    payload += (time_usec % TIME_MODULUS).to_bytes(_TIME_BYTES)
    code = payload + binascii.crc_hqx(payload, _CRC_START).to_bytes(2)
    cells = np.unpackbits(np.frombuffer(code, np.uint8)).reshape(ROWS, COLUMNS) * np.uint8(255)
    side = cell_size(image.shape[1])
    channels = image.shape[2:]
    for row in range(ROWS):
        # one line of pixels, copied down the cell's height: faster than drawing the cells
        line = cells[row].repeat(side * math.prod(channels))
        area = image[row * side : (row + 1) * side, : COLUMNS * side]
        area[...] = line.reshape(COLUMNS * side, *channels)


def read_marks(frame: Frame | NDArray[Any]) -> Marks:
    """Return number and time that are drawn into a picture.

    Args:
        frame: A frame, or its pixels as H×W or H×W×C.

    Raises:
        StreamError: There are no marks, or they are damaged.
    """
    image = frame.view if isinstance(frame, Frame) else frame
    if image.ndim < 2 or image.shape[1] < SMALLEST_WIDTH:
        raise StreamError(f"a picture of shape {image.shape} is too small for marks")
    side = cell_size(image.shape[1])
    margin = side // 4  # codecs blur the borders of a cell
    area = image[: ROWS * side, : COLUMNS * side]
    if area.ndim == 3:
        area = area[:, :, 1]  # green has most of the luma, which codecs preserve best
    cells = area.reshape(ROWS, side, COLUMNS, side)
    inner = cells[:, margin : side - margin, :, margin : side - margin]
    code = np.packbits(inner.mean(axis=(1, 3)) > 127).tobytes()
    payload = code[: _NUMBER_BYTES + _TIME_BYTES]
    if binascii.crc_hqx(payload, _CRC_START) != int.from_bytes(code[len(payload) :]):
        raise StreamError("the picture has no readable marks")
    return Marks(int.from_bytes(payload[:_NUMBER_BYTES]), int.from_bytes(payload[_NUMBER_BYTES:]))
