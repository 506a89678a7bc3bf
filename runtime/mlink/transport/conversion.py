"""Conversion of signal blocks where an input takes another number type than its stream has.

The rules are those of Syntalos 3: integers are widened; of floats NaN becomes 0, and the others are
clamped to int32 and truncated toward zero. Nothing is converted to uint16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlink.types import DataType, SignalBlock, SignalBlockF32, SignalBlockI32

BlockT = TypeVar("BlockT", bound=SignalBlock)
Convert = Callable[[Any], Any]

_LARGEST_FLOAT: Final = np.float32(2_147_483_520)
"""Largest float32 that is an int32."""
_SMALLEST_FLOAT: Final = np.float32(-2_147_483_648)


def conversion(source: DataType, target: DataType) -> Convert | None:
    """Return the function that converts items of a stream for an input.

    Args:
        source: Type of the stream.
        target: Type of the input, another one.

    Returns:
        The function; None where there is no conversion.
    """
    return _CONVERSIONS.get((source, target))


def fits(source: DataType, target: DataType) -> bool:
    """Return whether an input of type `target` takes a stream of type `source`."""
    return source is target or (source, target) in _CONVERSIONS


def _to_i32(block: SignalBlock) -> SignalBlockI32:
    samples: NDArray[Any] = block.data
    if samples.dtype.kind == "f":
        kept = np.clip(samples, _SMALLEST_FLOAT, _LARGEST_FLOAT)
        samples = np.where(np.isnan(kept), np.float32(0), kept)
    return _with(SignalBlockI32(), block, samples.astype(np.int32))


def _to_f32(block: SignalBlock) -> SignalBlockF32:
    return _with(SignalBlockF32(), block, block.data.astype(np.float32))


def _with(new: BlockT, block: SignalBlock, samples: NDArray[Any]) -> BlockT:
    new.timestamps = block.timestamps
    new.data = samples
    return new


_CONVERSIONS: Final[dict[tuple[DataType, DataType], Convert]] = {
    (DataType.SignalBlockU16, DataType.SignalBlockI32): _to_i32,
    (DataType.SignalBlockU16, DataType.SignalBlockF32): _to_f32,
    (DataType.SignalBlockI32, DataType.SignalBlockF32): _to_f32,
    (DataType.SignalBlockF32, DataType.SignalBlockI32): _to_i32,
}
