"""Encoding and decoding of stream items: small ones as msgpack, arrays in shared memory.

In shared memory an item starts with a header of 64 bytes (little-endian):

    offset  type   meaning
    0       u64    sequence number in its stream, from 0
    8       i64    time, µs of the master timer (frames)
    16      u64    index (frames)
    24      u32    length of the payload in bytes
    28      u8     number of dimensions
    29      u8     element type: position in ELEMENT_TYPES
    30      u16    reserved
    32      4×u32  shape
    48      16 B   reserved

The payload follows: pixels of a frame (C order, 64-byte aligned), or the timestamps and then the
samples of a signal block.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlink.errors import StreamError
from mlink.types import (
    ControlCommand,
    DataType,
    Frame,
    LineCommand,
    LineReading,
    SignalBlock,
    SignalBlockF32,
    SignalBlockI32,
    SignalBlockU16,
)

HEADER = struct.Struct("<QqQIBBH4I16x")
HEADER_BYTES = HEADER.size
assert HEADER_BYTES == 64

SMALL_ITEM_LIMIT = 1_000_000
"""Largest encoded small item (a table row, a command's payload) in bytes: fits an empty queue."""

ELEMENT_TYPES = tuple(
    np.dtype(name) for name in ("u1", "i1", "u2", "i2", "i4", "f4", "f8", "u4", "i8", "u8", "f2")
)
_ELEMENT_CODES = {dtype: code for code, dtype in enumerate(ELEMENT_TYPES)}

SIGNAL_BLOCKS: dict[DataType, type[SignalBlock]] = {
    DataType.SignalBlockI32: SignalBlockI32,
    DataType.SignalBlockU16: SignalBlockU16,
    DataType.SignalBlockF32: SignalBlockF32,
}

COMMANDS = frozenset({DataType.LineCommand, DataType.ControlCommand})
"""Types whose items command their receiver: none may be lost."""

TIMED = COMMANDS | {DataType.TableRow}
"""Types whose items have no time of their own, and are sent with the time of their sending."""

_SMALL_TYPES: dict[DataType, Any] = {
    DataType.ControlCommand: ControlCommand,
    DataType.TableRow: list[str],
    DataType.LineCommand: LineCommand,
    DataType.LineReading: LineReading,
}

SmallEncoder = Callable[[Any], bytes]
SmallDecoder = Callable[[bytes], Any]


def is_small(data_type: DataType) -> bool:
    """Return whether items of this type are sent as msgpack through pipes, not in shared memory."""
    return data_type in _SMALL_TYPES


def small_encoder(data_type: DataType) -> SmallEncoder:
    """Return the function that encodes an item of this type as its payload.

    It raises StreamError for an item of another type and for values out of range.
    """
    encode = msgspec.msgpack.Encoder().encode
    expected = _SMALL_TYPES[data_type]
    if data_type is DataType.TableRow:
        return lambda row: encode(_row_of(row))
    if data_type is DataType.ControlCommand:

        def encode_command(item: Any) -> bytes:
            if not isinstance(item, expected):
                raise wrong_type(item, data_type)
            return encode(item)

        return encode_command

    def encode_line(item: Any) -> bytes:
        if not isinstance(item, expected):
            raise wrong_type(item, data_type)
        if not (0 <= item.line_id <= 0xFFFF and 0 <= item.value <= 0xFFFFFFFF):
            raise _out_of_range(item)
        return encode(item)

    return encode_line


def small_decoder(data_type: DataType) -> SmallDecoder:
    """Return the function that decodes a payload of this type."""
    return msgspec.msgpack.Decoder(_SMALL_TYPES[data_type]).decode


def wrong_type(item: object, data_type: DataType) -> StreamError:
    """Return the error to raise for an item that is not of its port's type."""
    return StreamError(
        f"a {type(item).__name__} was submitted to a port of type {data_type.name}",
        remedy=f"Submit a {data_type.name}, or declare the port with the type you send.",
    )


def _row_of(row: object) -> list[str]:
    if isinstance(row, str | bytes) or not isinstance(row, Sequence):
        raise StreamError(
            f"a table row must be a sequence of cells, not {type(row).__name__}",
            remedy="Submit a list, e.g. port.submit([time, value]).",
        )
    return [cell if type(cell) is str else str(cell) for cell in row]


def _out_of_range(item: LineReading | LineCommand) -> StreamError:
    return StreamError(
        f"{type(item).__name__} out of range: line_id {item.line_id} (0..65535), "
        f"value {item.value} (0..4294967295)"
    )


def element_code(dtype: np.dtype[Any]) -> int:
    """Return the code of an element type in the header.

    Raises:
        StreamError: Arrays of this type cannot be sent.
    """
    try:
        return _ELEMENT_CODES[dtype]
    except KeyError:
        raise StreamError(
            f"arrays of {dtype} cannot be sent",
            remedy="Convert it first, e.g. frame.mat = image.astype(np.uint8).",
        ) from None


def write_array_header(
    address: int, seq: int, array: NDArray[Any], *, index: int = 0, time_usec: int = 0
) -> None:
    """Write the header of an array item.

    Args:
        address: Where it is written, in shared memory that the caller holds.
        seq: Sequence number of the item in its stream, from 0.
        array: The array that follows it; at most four dimensions.
        index: Number of the frame.
        time_usec: Master time of the frame.
    """
    shape = array.shape
    header = HEADER.pack(
        seq,
        time_usec,
        index,
        array.nbytes,
        len(shape),
        element_code(array.dtype),
        0,
        *shape,
        *(0,) * (4 - len(shape)),
    )
    ctypes.memmove(address, header, HEADER_BYTES)


def array_at(
    address: int, shape: tuple[int, ...], dtype: np.dtype[Any], owner: object
) -> NDArray[Any]:
    """Return an array over existing memory.

    Args:
        address: Where its first element is.
        shape: Its shape.
        dtype: Type of its elements.
        owner: An object that keeps the memory; it lives as long as any view of the array.
    """
    count = 1
    for extent in shape:
        count *= extent
    buffer = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address)
    buffer.owner = owner  # type: ignore[attr-defined]
    array: NDArray[Any] = np.frombuffer(cast("Any", buffer), dtype).reshape(shape)
    return array


def frame_from(address: int, owner: object) -> Frame:
    """Return the frame whose header is at `address`. Its pixels are not copied."""
    header = HEADER.unpack(ctypes.string_at(address, HEADER_BYTES))
    _, time_usec, index, _, ndim, code, _, *extents = header
    view = array_at(address + HEADER_BYTES, tuple(extents[:ndim]), ELEMENT_TYPES[code], owner)
    return Frame.from_shared(view, index, time_usec)


def checked_signal_block(
    block: object, data_type: DataType
) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the (timestamps, data) of a signal block as contiguous arrays.

    Raises:
        StreamError: It is no block of this type, or shapes or element types do not fit.
    """
    kind = SIGNAL_BLOCKS[data_type]
    if not isinstance(block, kind):
        raise wrong_type(block, data_type)
    data = np.ascontiguousarray(block.data)
    if data.dtype != kind.dtype or data.ndim != 2:
        raise StreamError(
            f"{data_type.name}.data must be a 2-D array of {kind.dtype} (rows samples, columns "
            f"channels), not {data.ndim}-D {data.dtype}",
            remedy=f"Convert it, e.g. block.data = data.astype(np.{kind.dtype}).",
        )
    timestamps = np.ascontiguousarray(block.timestamps)
    if timestamps.ndim != 1 or timestamps.dtype != np.uint64:
        raise StreamError(f"{data_type.name}.timestamps must be a 1-D array of uint64")
    if len(timestamps) != len(data):
        raise StreamError(
            f"{data_type.name} has {len(timestamps)} timestamps for {len(data)} samples"
        )
    return timestamps, data


def write_signal_block(
    address: int, seq: int, timestamps: NDArray[np.uint64], data: NDArray[Any]
) -> None:
    """Write a signal block: its header, its timestamps, then its samples.

    Args:
        address: Where it is written, in shared memory that the caller holds.
        seq: Sequence number of the block in its stream, from 0.
        timestamps: Shape (N,).
        data: Shape (N, channels).
    """
    write_array_header(address, seq, data)
    ctypes.memmove(address + HEADER_BYTES, timestamps.ctypes.data, timestamps.nbytes)
    ctypes.memmove(address + HEADER_BYTES + timestamps.nbytes, data.ctypes.data, data.nbytes)


def signal_block_from(address: int, data_type: DataType) -> SignalBlock:
    """Return a copy of the signal block whose header is at `address`."""
    _, _, _, _, _, code, _, rows, cols, _, _ = HEADER.unpack(
        ctypes.string_at(address, HEADER_BYTES)
    )
    block = SIGNAL_BLOCKS[data_type]()
    start = address + HEADER_BYTES
    block.timestamps = array_at(start, (rows,), np.dtype(np.uint64), None).copy()
    block.data = array_at(start + 8 * rows, (rows, cols), ELEMENT_TYPES[code], None).copy()
    return block
