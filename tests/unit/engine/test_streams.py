"""The streams of a run: subscriptions, plans for subscribers, metadata that change at the start."""

from __future__ import annotations

import pytest

from mlink.engine.plan import UNKNOWN_FRAME_BYTES, order_modules
from mlink.engine.streams import Streams
from mlink.metadata import MetaSize, encode_metadata
from mlink.module import Category
from mlink.transport.codec import HEADER_BYTES
from mlink.transport.records import LIKELY_QUEUE
from mlink.types import DataType
from tests.support.engine_fakes import bench_of, module

CAM = module("cam", outputs={"video": DataType.Frame, "rows": DataType.TableRow},
             category=Category.DEVICE)  # fmt: skip
BOARD = module("board", inputs={"commands": DataType.LineCommand},
               outputs={"readings": DataType.LineReading},
               sources={"commands": "loop.commands"}, category=Category.DEVICE)  # fmt: skip
LOOP = module("loop", inputs={"video": DataType.Frame, "readings": DataType.LineReading},
              outputs={"commands": DataType.LineCommand, "marked": DataType.Frame},
              sources={"video": "cam.video", "readings": "board.readings"},
              queues={"readings": 12}, category=Category.SCRIPT)  # fmt: skip
REC = module("rec", inputs={"video": DataType.Frame, "rows": DataType.TableRow},
             sources={"video": "cam.video", "rows": "cam.rows"}, queues={"video": 5},
             category=Category.WRITER)  # fmt: skip


@pytest.fixture
def streams():
    bench = bench_of(LOOP, REC, CAM, BOARD)
    return Streams(bench, order_modules(bench))


def edge_into(streams, module, port):
    (edge,) = [each for each in streams.into(module) if each.target_port == port]
    return edge


def prepare(streams, config, **metadata):
    """Lay out a module's streams; ports that are not named have empty metadata."""
    packed = {port.id: encode_metadata(metadata.get(port.id, {})) for port in config.outputs}
    return streams.lay_out(config, packed)


def test_subscriptions_are_found_from_both_sides(streams):
    assert {edge.source for edge in streams.into("loop")} == {"cam", "board"}
    assert {edge.target for edge in streams.out_of("cam")} == {"loop", "rec"}
    assert streams.into("cam") == []
    assert streams.out_of("rec") == []


def test_feedback_is_no_source(streams):
    assert edge_into(streams, "board", "commands").feedback
    assert streams.sources("board") == set()
    assert streams.sources("loop") == {"cam", "board"}


def test_a_bench_that_commands_a_line_closes_a_loop(streams):
    assert streams.command_a_device
    bench = bench_of(CAM, REC)
    assert not Streams(bench, ["cam", "rec"]).command_a_device


def test_only_connected_streams_of_shared_memory_are_opened(streams):
    assert list(prepare(streams, CAM)) == ["video"]
    assert prepare(streams, LOOP) == {}  # `marked` has no subscriber
    assert prepare(streams, BOARD) == {}


def test_a_subscriber_gets_the_plan_the_queue_and_the_metadata_of_its_source(streams):
    metadata = {"size": MetaSize(640, 480)}
    plan = prepare(streams, CAM, video=metadata)["video"]
    prepare(streams, BOARD)
    mine = streams.input_plans("rec")
    assert set(mine) == {"video", "rows"}
    assert mine["video"].stream == plan
    assert mine["video"].source == "cam.video"
    assert mine["video"].metadata == encode_metadata(metadata)
    assert mine["rows"].stream is None
    assert plan.queues[1] == 5


def test_feedback_inputs_are_connected_later(streams):
    assert streams.input_plans("board") == {}
    prepare(streams, LOOP)
    plan = streams.input_plan(edge_into(streams, "board", "commands"))
    assert plan.feedback
    assert plan.source == "loop.commands"


def test_only_commands_must_not_be_lost(streams):
    for config in (CAM, BOARD, LOOP):
        prepare(streams, config)
    assert streams.input_plan(edge_into(streams, "board", "commands")).lossless
    assert not streams.input_plan(edge_into(streams, "loop", "readings")).lossless
    assert not streams.input_plan(edge_into(streams, "loop", "video")).lossless


def test_the_limit_of_a_queue_is_known_when_the_stream_is_laid_out(streams):
    video, readings = (edge_into(streams, "loop", port) for port in ("video", "readings"))
    assert streams.queue_limit(readings) == 12
    assert streams.queue_limit(edge_into(streams, "rec", "rows")) == LIKELY_QUEUE
    assert streams.queue_limit(video) == 0
    prepare(streams, CAM)
    assert streams.queue_limit(video) >= 8
    assert streams.queue_limit(edge_into(streams, "rec", "video")) == 5


def test_a_module_that_passes_frames_on_likely_sends_such_as_it_receives():
    chain = [
        CAM,
        module("gray", inputs={"in": DataType.Frame}, outputs={"out": DataType.Frame},
               sources={"in": "cam.video"}),
        module("view", inputs={"in": DataType.Frame}, sources={"in": "gray.out"}),
    ]  # fmt: skip
    bench = bench_of(*chain)
    streams = Streams(bench, ["cam", "gray", "view"])
    prepare(streams, CAM, video={"size": MetaSize(100, 100)})
    plan = prepare(streams, chain[1])["out"]
    frame_bytes = 100 * 100 * 3
    assert frame_bytes + HEADER_BYTES <= plan.item_bytes <= frame_bytes + 2 * HEADER_BYTES


def test_a_source_of_unknown_frames_has_room_for_the_usual_ones(streams):
    assert prepare(streams, CAM)["video"].item_bytes == UNKNOWN_FRAME_BYTES + HEADER_BYTES


def test_subscribers_learn_of_metadata_that_start_has_changed(streams):
    prepare(streams, CAM)
    changed = encode_metadata({"framerate": 30.0})
    same = encode_metadata({})
    found = streams.changed("cam", {"video": changed, "rows": same})
    assert {(edge.target, packed) for edge, packed in found} == {
        ("loop", changed),
        ("rec", changed),
    }
    assert streams.input_plans("rec")["video"].metadata == changed
    assert streams.changed("cam", {"video": changed, "rows": same}) == []
