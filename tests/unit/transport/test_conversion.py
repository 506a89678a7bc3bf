"""Signal blocks that an input takes as another number type than their stream has."""

from __future__ import annotations

import numpy as np
import pytest

from mlink.transport.conversion import conversion, fits
from mlink.types import DataType, SignalBlock, SignalBlockF32, SignalBlockI32, SignalBlockU16

I32, U16, F32 = DataType.SignalBlockI32, DataType.SignalBlockU16, DataType.SignalBlockF32


def block(made: SignalBlock, values: list[float]) -> SignalBlock:
    made.timestamps = np.arange(len(values), dtype=np.uint64)
    made.data = np.array(values, made.dtype).reshape(-1, 1)
    return made


@pytest.mark.parametrize(
    ("given", "target", "values", "expected"),
    [
        (SignalBlockU16(), I32, [0, 65535], [0, 65535]),
        (SignalBlockU16(), F32, [0, 65535], [0, 65535]),
        (SignalBlockI32(), F32, [-(2**31), 7], [-(2**31), 7]),
        (
            SignalBlockF32(),
            I32,
            [1.9, -1.9, float("nan"), float("inf"), float("-inf"), 3e9, -3e9],
            [1, -1, 0, 2147483520, -(2**31), 2147483520, -(2**31)],
        ),
    ],
)
def test_samples_are_converted_and_timestamps_kept(
    given: SignalBlock, target: DataType, values: list[float], expected: list[int]
) -> None:
    before = block(given, values)
    source = DataType[type(given).__name__]
    convert = conversion(source, target)
    assert convert is not None
    after = convert(before)
    assert type(after).__name__ == target.name
    assert after.data[:, 0].tolist() == expected
    assert after.timestamps is before.timestamps


def test_only_these_pairs_fit() -> None:
    pairs = {(a, b) for a in DataType for b in DataType if a is not b and fits(a, b)}
    assert pairs == {(U16, I32), (U16, F32), (I32, F32), (F32, I32)}
    assert all(fits(kind, kind) for kind in DataType)
