"""Items of a stream as bytes, for their way to another host."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlink.errors import StreamError
from mlink.hosts.run.window import MOST_ITEM_BYTES
from mlink.transport.codec import (
    ELEMENT_TYPES,
    SIGNAL_BLOCKS,
    checked_signal_block,
    is_small,
    small_decoder,
    small_encoder,
)
from mlink.types import DataType, Frame, SignalBlock

JPEG_QUALITY: Final = 90
"""Of 100; a picture has a tenth of its size, and errors of about 1 %."""
_TYPES: Final = {dtype.str: dtype for dtype in ELEMENT_TYPES}

Extent = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]


class _Array(msgspec.Struct, array_like=True, frozen=True):
    """A frame or a signal block."""

    shape: Annotated[list[Extent], msgspec.Meta(min_length=1, max_length=4)]
    dtype: Annotated[str, msgspec.Meta(max_length=8)]
    data: bytes
    """Elements in C order, or a JPEG."""
    index: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)] = 0
    time_usec: Annotated[int, msgspec.Meta(ge=-(1 << 62), lt=1 << 62)] = 0
    jpeg: bool = False
    times: bytes = b""
    """Times of the samples of a signal block, uint64."""


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Array)


def item_encoder(data_type: DataType, codec: str = "raw") -> Callable[[Any], bytes]:
    """Return the function that encodes an item of this type.

    It raises StreamError for an item that cannot be sent.

    Args:
        data_type: Type of the items.
        codec: Of frames: "raw" or "jpeg".
    """
    if is_small(data_type):
        return small_encoder(data_type)
    if data_type is DataType.Frame:
        return _jpeg_of if codec == "jpeg" else _frame
    return lambda block: _block(block, data_type)


def item_decoder(data_type: DataType) -> Callable[[bytes], Any]:
    """Return the function that decodes an item of this type.

    It raises ValueError for what is none: sizes that do not fit, a damaged picture.
    """
    if is_small(data_type):
        return small_decoder(data_type)
    if data_type is DataType.Frame:
        return _read_frame
    return lambda data: _read_block(data, data_type)


def _frame(frame: Frame) -> bytes:
    pixels = frame.view
    _refuse_large(pixels)
    return _encode(
        _Array(list(pixels.shape), pixels.dtype.str, pixels.tobytes(), frame.index, frame.time_usec)
    )


def _jpeg_of(frame: Frame) -> bytes:
    from mlink.opencv import cv2

    pixels = frame.view
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or channels not in (1, 3) or not pixels.size:
        raise StreamError(
            f"frames of {pixels.dtype} with {channels} channels cannot cross as JPEG",
            remedy="JPEG takes 8 bits, grey or colour: leave `codec` out at that input.",
        )
    parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), parameters)
    if not ok:
        raise StreamError(f"a frame of {pixels.shape} could not be compressed")
    shape = list(pixels.shape)
    return _encode(_Array(shape, "|u1", data.tobytes(), frame.index, frame.time_usec, jpeg=True))


def _block(block: object, data_type: DataType) -> bytes:
    times, data = checked_signal_block(block, data_type)
    _refuse_large(data)
    return _encode(_Array(list(data.shape), data.dtype.str, data.tobytes(), times=times.tobytes()))


def _refuse_large(array: NDArray[Any]) -> None:
    if array.nbytes > MOST_ITEM_BYTES - 1000:
        raise StreamError(
            f"an item of {array.nbytes / 1e6:.0f} MB is too large to cross to another host",
            remedy=f"At most {MOST_ITEM_BYTES >> 20} MB: send smaller frames, or by JPEG.",
        )


def _read_frame(data: bytes) -> Frame:
    found = _decoder.decode(data)
    if found.jpeg:
        from mlink.opencv import cv2

        how = cv2.IMREAD_COLOR if len(found.shape) == 3 and found.shape[2] == 3 else 0
        pixels: Any = cv2.imdecode(np.frombuffer(found.data, np.uint8), how)
        if pixels is None or math.prod(found.shape) != pixels.size:
            raise ValueError("a frame is no JPEG of its size")
        pixels = pixels.reshape(found.shape)
    else:
        pixels = _array(found)
    return Frame.from_array(pixels, found.index, found.time_usec)


def _read_block(data: bytes, data_type: DataType) -> SignalBlock:
    found = _decoder.decode(data)
    block = SIGNAL_BLOCKS[data_type]()
    block.data = _array(found)
    block.timestamps = np.frombuffer(found.times, np.uint64).copy()
    return block


def _array(found: _Array) -> NDArray[Any]:
    dtype = _TYPES.get(found.dtype)
    if dtype is None or math.prod(found.shape) * dtype.itemsize != len(found.data):
        raise ValueError(f"{len(found.data)} bytes are no array of {found.shape} {found.dtype!r}")
    return np.frombuffer(found.data, dtype).reshape(found.shape).copy()
