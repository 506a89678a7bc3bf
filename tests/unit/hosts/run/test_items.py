"""Items are the same after their way over a link; what is none is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mlink.errors import StreamError
from mlink.hosts.run.items import item_decoder, item_encoder
from mlink.types import DataType, Frame, LineCommand, LineReading, SignalBlockF32


@pytest.mark.parametrize(
    ("data_type", "item"),
    [
        (DataType.LineReading, LineReading(3, 1, 1234567)),
        (DataType.LineCommand, LineCommand(line_id=5, value=1)),
        (DataType.TableRow, ["a", "ä", ""]),
    ],
)
def test_small_items_are_as_they_were(data_type, item):
    assert item_decoder(data_type)(item_encoder(data_type)(item)) == item


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 1)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_raw_frames_keep_pixels_number_and_time(shape, dtype):
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    frame = item_decoder(DataType.Frame)(
        item_encoder(DataType.Frame)(Frame.from_array(pixels, 7, 99))
    )
    assert (frame.index, frame.time_usec) == (7, 99)
    assert frame.mat.dtype == dtype
    assert np.array_equal(frame.mat, pixels)


@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 3), (64, 48, 1)])
def test_jpeg_frames_are_smaller_and_nearly_the_same(shape):
    pixels = np.full(shape, 200, np.uint8)
    pixels[10:30] = 20
    data = item_encoder(DataType.Frame, "jpeg")(Frame.from_array(pixels, 7, 99))
    frame = item_decoder(DataType.Frame)(data)
    assert len(data) < pixels.nbytes / 2
    assert frame.mat.shape == shape
    assert np.abs(frame.mat.astype(int) - pixels).max() < 20
    assert (frame.index, frame.time_usec) == (7, 99)


def test_frames_that_jpeg_cannot_have_are_refused_with_what_to_do():
    frame = Frame.from_array(np.zeros((4, 4), np.uint16))
    with pytest.raises(StreamError) as caught:
        item_encoder(DataType.Frame, "jpeg")(frame)
    assert "leave `codec` out" in caught.value.remedy


def test_signal_blocks_keep_samples_and_times():
    block = SignalBlockF32()
    block.timestamps = np.array([1, 2, 3])
    block.data = np.array([[1.5, 2], [3, 4], [5, 6]])
    found = item_decoder(DataType.SignalBlockF32)(item_encoder(DataType.SignalBlockF32)(block))
    assert np.array_equal(found.timestamps, block.timestamps)
    assert np.array_equal(found.data, block.data)
    assert found.data.dtype == np.float32


@pytest.mark.parametrize(
    "wrong",
    [
        [[4, 4], "|u1", b"123"],
        [[4], "|O8", b"1234"],
        [[1 << 40], "|u1", b""],
        [[2, 2], "|u1", b"\xff\xd8not a picture", 0, 0, True],
        [[], "|u1", b""],
        "text",
    ],
)
def test_a_frame_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError):
        item_decoder(DataType.Frame)(msgspec.msgpack.encode(wrong))
