"""Recorded streams come back as the items that they were: to the bit, in blocks as they came."""

import numpy as np
import pytest

import mlink.recording
from mlink.modules.data.catalog import (
    JsonWriterSettings,
    TableSettings,
    ZarrWriterSettings,
    jsonwriter,
    table,
    zarrwriter,
)
from mlink.modules.replay.feeds import Deliveries, open_feed
from mlink.modules.video.catalog import VideoRecorderSettings, videorecorder
from mlink.storage.edl import create_collection
from mlink.storage.runs import MAX_RUNS, Runs, expand
from mlink.types import (
    DataType,
    Frame,
    LineReading,
    SignalBlockF32,
    SignalBlockI32,
    SignalBlockU16,
)
from tests.support.fake_context import FakeContext, FakeOutput

RUN_ID = bytes(range(16))


def recorded(folder, module_type, settings, items, **metadata):
    """Record items with a writer and return the dataset's stream, open for reading."""
    collection = create_collection(
        folder / "recording", collection_id=RUN_ID, generator="mlink test"
    )
    context = FakeContext(module_type, settings, folder, name="data")
    module = module_type.load()(context)
    port = next(iter(context.inputs.values()))
    port.metadata = metadata
    module.prepare()
    module.start()
    for item in items:
        port.on_item(item)
    module.stop()
    module.close()
    collection.save(True)
    return mlink.recording.open(folder / "recording")["data"]


def fed(dataset, data_type):
    """Return (times, items) of a feed."""
    output = FakeOutput("out", data_type)
    feed = list(open_feed(dataset, output))
    for item in feed:
        item.send()
    return [item.time_usec for item in feed], output.items


BLOCKS = [
    (SignalBlockF32, "SignalBlockF32", [0.1, -3e38, 1e-38, 7.25]),
    (SignalBlockI32, "SignalBlockI32", [-(2**31), 0, 5, 2**31 - 1]),
    (SignalBlockU16, "SignalBlockU16", [0, 1, 2, 65535]),
]


@pytest.mark.parametrize("writer", ["json", "zarr"])
@pytest.mark.parametrize(("kind", "name", "values"), BLOCKS, ids=[row[1] for row in BLOCKS])
def test_signal_blocks_come_back_in_the_blocks_that_they_were(tmp_path, writer, kind, name, values):
    blocks = []
    for number, rows in enumerate([3, 3, 3, 1, 7, 3]):
        block = kind()
        block.timestamps = np.arange(rows, dtype=np.uint64) * 100 + 1000 * number
        block.data = np.array([[values[(number + i) % 4], values[i % 4]] for i in range(rows)],
                              kind.dtype)  # fmt: skip
        blocks.append(block)
    module_type, settings = {
        "json": (jsonwriter, JsonWriterSettings(input_type=name)),
        "zarr": (zarrwriter, ZarrWriterSettings(input_type=name)),
    }[writer]
    dataset = recorded(tmp_path, module_type, settings, blocks, time_unit="microseconds")
    times, items = fed(dataset, DataType[name])
    assert times == [int(block.timestamps[-1]) for block in blocks]
    assert [type(item) for item in items] == [kind] * len(blocks)
    for sent, back in zip(blocks, items, strict=True):
        assert back.timestamps.tolist() == sent.timestamps.tolist()
        assert back.data.dtype == sent.data.dtype
        assert back.data.tobytes() == sent.data.tobytes()


@pytest.mark.parametrize("writer", ["json", "zarr"])
def test_what_is_not_finite_comes_back(tmp_path, writer):
    block = SignalBlockF32()
    block.timestamps = np.arange(3, dtype=np.uint64)
    block.data = np.array([[np.nan], [np.inf], [-np.inf]], np.float32)
    module_type, settings = {
        "json": (jsonwriter, JsonWriterSettings()),
        "zarr": (zarrwriter, ZarrWriterSettings()),
    }[writer]
    dataset = recorded(tmp_path, module_type, settings, [block], time_unit="microseconds")
    _, (back,) = fed(dataset, DataType.SignalBlockF32)
    assert back.data.tobytes() == block.data.tobytes()


@pytest.mark.parametrize("writer", ["json", "zarr"])
def test_readings_come_back_with_their_times(tmp_path, writer):
    readings = [LineReading(7, 2**32 - 1, 5), LineReading(65535, 0, 1_000_000_007),
                LineReading(7, 1, 1_000_000_007)]  # fmt: skip
    module_type, settings = {
        "json": (jsonwriter, JsonWriterSettings(input_type="LineReading")),
        "zarr": (zarrwriter, ZarrWriterSettings(input_type="LineReading")),
    }[writer]
    dataset = recorded(tmp_path, module_type, settings, readings)
    times, items = fed(dataset, DataType.LineReading)
    assert items == readings
    assert times == [reading.time_usec for reading in readings]


def test_rows_come_back_cell_by_cell_and_at_the_times_that_a_column_gives(tmp_path):
    rows = [["5", 'a "quoted"; cell'], ["90", "two\nlines\rand more"], ["91", ""]]
    dataset = recorded(tmp_path, table, TableSettings(), rows, table_header=["time_usec", "text"])
    times, items = fed(dataset, DataType.TableRow)
    assert items == rows
    assert times == [5, 90, 91]


def test_frames_come_back_with_their_numbers_times_and_pixels(tmp_path):
    rng = np.random.default_rng(1)
    frames = [
        Frame.from_array(rng.integers(0, 256, (24, 32, 3), np.uint8), index, 33_333 * place + 7)
        for place, index in enumerate([3, 4, 5, 9, 10, 12])
    ]
    dataset = recorded(tmp_path, videorecorder, VideoRecorderSettings(), frames, framerate=30.0)
    times, items = fed(dataset, DataType.Frame)
    assert times == [frame.time_usec for frame in frames]
    assert [item.index for item in items] == [3, 4, 5, 9, 10, 12]
    for sent, back in zip(frames, items, strict=True):
        assert np.array_equal(back.mat, sent.mat)


class Received:
    """A journal that has the deliveries of one stream: (time in µs, its two numbers)."""

    def __init__(self, *deliveries):
        self._deliveries = deliveries

    def deliveries_of(self, source):
        return self._deliveries if source == "camera.frames" else ()


def due(times, *journals, keys=None, place=1):
    deliveries = Deliveries(journals, "camera.frames")
    times = np.array(times, np.int64)
    return deliveries.bound(times, times if keys is None else np.array(keys), place).tolist()


def test_an_item_is_sent_at_its_time_or_earlier_if_a_module_had_it_before():
    late, early = Received((120, (0, 100)), (190, (1, 200))), Received((150, (1, 200)))
    assert due([100, 200, 300], late, early) == [100, 150, 300]
    assert due([100, 200, 300]) == [100, 200, 300]
    assert due([], late) == []


def test_an_item_that_no_module_had_is_sent_before_those_that_follow_it():
    assert due([100, 200, 300], Received((140, (2, 300)))) == [100, 140, 140]


def test_what_the_recorder_lost_and_items_of_equal_time_move_no_other():
    received = Received((80, (0, 90)), (95, (1, 100)), (97, (2, 100)), (1, (3, 2**63)))
    assert due([100, 100, 400], received) == [95, 95, 400]


def test_blocks_are_known_by_their_first_stamp(tmp_path):
    blocks = [SignalBlockF32() for _ in range(2)]
    for number, block in enumerate(blocks):
        block.timestamps = np.arange(3, dtype=np.uint64) * 100 + 1000 * number
        block.data = np.zeros((3, 1), np.float32)
    dataset = recorded(tmp_path, zarrwriter, ZarrWriterSettings(), blocks, time_unit="microseconds")
    deliveries = Deliveries([Received((1110, (1000, 3)))], "camera.frames")
    output = FakeOutput("out", DataType.SignalBlockF32)
    assert [item.time_usec for item in open_feed(dataset, output, deliveries)] == [200, 1110]


def test_a_source_that_sent_nothing_stays_silent(tmp_path):
    dataset = recorded(tmp_path, jsonwriter, JsonWriterSettings(), [])
    assert fed(dataset, DataType.SignalBlockF32) == ([], [])


# whole numbers as runs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ([], None),
        ([0], None),
        ([0, 1, 2, 3], None),
        ([5], [[0, 5, 0]]),
        ([0, 0, 0], [[0, 0, 0]]),
        ([3, 4, 5, 9, 10], [[0, 3, 1], [3, 9, 1]]),
        ([0, 512, 1024, 1500], [[0, 0, 512], [3, 1500, 0]]),
    ],
)
def test_numbers_are_kept_as_regular_runs(numbers, kept):
    runs = Runs()
    for number in numbers:
        runs.add(number)
    assert runs.attribute() == kept
    assert expand(kept, len(numbers)).tolist() == numbers


def test_a_sequence_that_is_too_broken_is_known_not_to_be_kept():
    runs, rng = Runs(), np.random.default_rng(1)
    numbers = rng.integers(0, 1 << 40, 4 * MAX_RUNS).tolist()
    for number in numbers:
        runs.add(number)
    assert expand(runs.attribute(), len(numbers)) is None
