"""The order of modules, feedback edges, and the layout of streams in shared memory."""

from __future__ import annotations

import logging

import pytest

from mlink.engine.plan import (
    FRAME_QUEUE_BYTES,
    FRAME_QUEUE_ITEMS,
    SIGNAL_QUEUE_ITEMS,
    UNKNOWN_FRAME_BYTES,
    Edge,
    find_edges,
    frame_queue_bytes,
    order_modules,
    output_type,
    plan_stream,
    start_order,
)
from mlink.metadata import MetaSize
from mlink.module import Category
from mlink.transport.codec import HEADER_BYTES
from mlink.types import DataType
from tests.support.engine_fakes import bench_of, module

ROWS = DataType.TableRow


def node(name, *sources, category=Category.PROCESSING):
    """A module with one output and an input for each source."""
    ports = {f"in{number}": f"{source}.out" for number, source in enumerate(sources)}
    return module(
        name,
        inputs=dict.fromkeys(ports, ROWS),
        outputs={"out": ROWS},
        sources=ports,
        category=category,
    )


def feedback(bench):
    edges = find_edges(bench, order_modules(bench))
    return {(edge.source, edge.target) for edge in edges if edge.feedback}


# order ------------------------------------------------------------------------------------


def test_sources_come_first_and_ties_keep_the_order_of_the_bench():
    bench = bench_of(node("sink", "b", "a"), node("b", "a"), node("z"), node("a"))
    assert order_modules(bench) == ["z", "a", "b", "sink"]
    assert feedback(bench) == set()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Category.DEVICE, Category.GENERATOR),
        (Category.GENERATOR, Category.PROCESSING),
        (Category.PROCESSING, Category.SCRIPT),
        (Category.WRITER, Category.SCRIPT),
        (Category.DISPLAY, Category.SCRIPT),
    ],
)
def test_in_a_cycle_the_category_decides(first, second):
    bench = bench_of(node("b", "a", category=second), node("a", "b", category=first))
    assert order_modules(bench) == ["a", "b"]
    assert feedback(bench) == {("b", "a")}


@pytest.mark.parametrize("category", [Category.DEVICE, Category.GENERATOR, Category.WRITER])
def test_what_a_cycle_sends_to_comes_after_it_whatever_it_is(category):
    bench = bench_of(
        node("log", "shown", category=category),
        node("shown", "b"),
        node("b", "a", category=Category.SCRIPT),
        node("a", "b", "source", category=Category.SCRIPT),
        node("source", category=Category.SCRIPT),
        node("d", "c", "a", category=Category.SCRIPT),
        node("c", "d", category=Category.DEVICE),
    )
    order = order_modules(bench)
    assert order == ["source", "b", "shown", "log", "a", "c", "d"]
    assert feedback(bench) == {("a", "b"), ("d", "c")}


def test_in_a_cycle_of_equals_the_one_with_fewest_open_inputs_comes_first():
    bench = bench_of(node("a", "b", "c"), node("b", "a"), node("c", "a", "b"))
    assert order_modules(bench) == ["b", "a", "c"]


def test_inputs_that_are_served_already_do_not_count_in_a_cycle():
    bench = bench_of(node("s"), node("t"), node("a", "b", "c"), node("b", "s", "t", "c"),
                     node("c", "a", "b"))  # fmt: skip
    assert order_modules(bench) == ["s", "t", "b", "a", "c"]


def test_a_module_that_feeds_itself_has_a_feedback_edge():
    bench = bench_of(node("echo", "echo"))
    assert order_modules(bench) == ["echo"]
    assert feedback(bench) == {("echo", "echo")}


def test_an_edge_has_what_the_bench_gives():
    bench = bench_of(
        module("cam", outputs={"video": DataType.Frame}),
        module("rec", inputs={"in": DataType.Frame}, sources={"in": "cam.video"}, queues={"in": 7}),
    )
    (edge,) = find_edges(bench, ["cam", "rec"])
    assert edge == Edge("cam", "video", "rec", "in", 7, feedback=False)
    assert edge.stream == ("cam", "video")


def test_the_type_of_an_output_is_found_by_its_id():
    both = module("m", outputs={"a": DataType.Frame, "b": ROWS})
    assert (output_type(both, "a"), output_type(both, "b")) == (DataType.Frame, ROWS)


# the start --------------------------------------------------------------------------------

COMMANDS = DataType.LineCommand


def commander(name, *sources, kind=COMMANDS):
    """A script that sends commands, and rows."""
    ports = {f"in{number}": source for number, source in enumerate(sources)}
    inputs = dict.fromkeys(ports, COMMANDS if kind is None else ROWS)
    outputs = {"commands": kind or COMMANDS, "rows": ROWS}
    return module(name, inputs=inputs, outputs=outputs, sources=ports, category=Category.SCRIPT)


def device(name, **sources):
    types = {"control": COMMANDS, "settings": ROWS}
    return module(
        name,
        inputs={port: types[port] for port in sources},
        outputs={"out": ROWS},
        sources=sources,
        category=Category.DEVICE,
    )


@pytest.mark.parametrize("kind", [COMMANDS, DataType.ControlCommand])
def test_a_device_starts_before_the_script_that_commands_it(kind):
    bench = bench_of(commander("loop", kind=kind), device("board", control="loop.commands"))
    assert start_order(bench) == {"board": frozenset(), "loop": {"board"}}
    assert order_modules(bench) == ["loop", "board"]  # it drains its commands to the last
    assert feedback(bench) == set()


def test_a_device_starts_before_those_that_command_it_through_another_script():
    bench = bench_of(
        commander("plan"),
        commander("relay", "plan.commands", kind=None),
        device("board", control="relay.commands"),
        module(
            "log",
            inputs={"in": COMMANDS},
            sources={"in": "plan.commands"},
            category=Category.WRITER,
        ),
    )
    order = start_order(bench)
    assert list(order) == ["board", "relay", "plan", "log"]
    assert order["relay"] == {"board"}
    assert order["plan"] == {"relay"}
    assert order["log"] == {"plan"}  # a recorder needs the metadata of its source


def test_a_closed_loop_starts_with_its_device():
    bench = bench_of(
        commander("loop", "board.out"), device("board", control="loop.commands"),
    )  # fmt: skip
    assert start_order(bench) == {"board": frozenset(), "loop": {"board"}}


def test_a_device_comes_first_also_when_it_takes_rows_from_its_commander():
    bench = bench_of(
        commander("loop"), device("board", control="loop.commands", settings="loop.rows")
    )
    assert start_order(bench) == {"board": frozenset(), "loop": {"board"}}


def test_without_commands_modules_start_in_the_order_of_the_streams():
    bench = bench_of(node("sink", "b", "a"), node("b", "a"), node("z"), node("a"))
    assert start_order(bench) == {"z": set(), "a": set(), "b": {"a"}, "sink": {"a", "b"}}


def test_writers_of_one_source_start_in_the_order_of_the_bench():
    """They have names of datasets after the source: which of them gets a number is settled."""
    writer = Category.WRITER
    bench = bench_of(
        node("a"), node("b"), node("one", "a", category=writer), node("two", "b", category=writer),
        node("three", "b", "a", category=writer), node("view", "a", category=Category.DISPLAY),
    )  # fmt: skip
    order = start_order(bench)
    assert order["one"] == order["view"] == {"a"}
    assert order["two"] == {"b"}
    assert order["three"] == {"a", "b", "one", "two"}


# queues -----------------------------------------------------------------------------------


@pytest.fixture
def free_memory(monkeypatch):
    def have(free):
        monkeypatch.setattr("mlink.engine.plan.available_bytes", lambda: free)

    return have


def frames_to(*names):
    bench = bench_of(
        module("cam", outputs={"video": DataType.Frame, "rows": ROWS}),
        *[
            module(
                name,
                inputs={"in": DataType.Frame, "rows": ROWS},
                sources={"in": "cam.video", "rows": "cam.rows"},
            )
            for name in names
        ],
    )
    return bench, find_edges(bench, order_modules(bench))


@pytest.mark.parametrize(
    ("free", "expected", "warned"),
    [
        (4 * FRAME_QUEUE_BYTES, FRAME_QUEUE_BYTES, False),  # just enough: half for two queues
        (4 * FRAME_QUEUE_BYTES - 8, FRAME_QUEUE_BYTES - 2, True),
        (64 << 20, 16 << 20, True),
    ],
)
def test_frame_queues_share_half_of_little_memory(free_memory, caplog, free, expected, warned):
    free_memory(free)
    with caplog.at_level(logging.WARNING, "mlink.engine"):
        assert frame_queue_bytes(*frames_to("a", "b")) == expected
    assert bool(caplog.records) is warned


def test_without_frames_nothing_is_shared(free_memory, caplog):
    free_memory(0)
    bench = bench_of(node("a"), node("b", "a"))
    assert frame_queue_bytes(bench, find_edges(bench, ["a", "b"])) == FRAME_QUEUE_BYTES
    assert not caplog.records


def edge(target, queue=None):
    return Edge("cam", "video", target, "in", queue, feedback=False)


def frame_metadata(width, height, **more):
    return {"size": MetaSize(width, height), **more}


@pytest.mark.parametrize(
    ("frame_bytes", "items"),
    [
        (FRAME_QUEUE_BYTES // 100, 100),
        (FRAME_QUEUE_BYTES // 2, FRAME_QUEUE_ITEMS[0]),
        (FRAME_QUEUE_BYTES // 2000, FRAME_QUEUE_ITEMS[1]),
    ],
)
def test_a_frame_queue_is_as_long_as_its_memory_allows(frame_bytes, items):
    plan, queues = plan_stream(
        DataType.Frame, frame_metadata(frame_bytes, 1, has_color=False), [edge("a")]
    )
    assert queues == {edge("a"): items}
    assert plan.queues == (items,)
    assert plan.item_bytes == HEADER_BYTES + frame_bytes


def test_a_queue_that_the_bench_gives_replaces_the_default():
    metadata = frame_metadata(1000, 1000)
    plan, queues = plan_stream(
        DataType.Frame, metadata, [edge("a"), edge("b", 3), edge("c", 900)], queue_bytes=60_000_000
    )
    assert queues == {edge("a"): 20, edge("b", 3): 3, edge("c", 900): 900}
    assert (plan.queues, plan.max_borrowed) == ((20, 3, 900), 16)


def test_without_subscribers_there_are_no_queues():
    plan, queues = plan_stream(DataType.Frame, frame_metadata(1000, 1000), [], queue_bytes=30 << 20)
    assert queues == {}
    assert plan.queues == ()


@pytest.mark.parametrize(
    ("metadata", "frame_bytes"),
    [
        (frame_metadata(640, 480), 640 * 480 * 3),
        (frame_metadata(640, 480, has_color=True), 640 * 480 * 3),
        (frame_metadata(640, 480, has_color=False), 640 * 480),
        (frame_metadata(0, 480), UNKNOWN_FRAME_BYTES),
        (frame_metadata(640, 0), UNKNOWN_FRAME_BYTES),
        (frame_metadata(1, 1), 3),
        ({"size": "640x480"}, UNKNOWN_FRAME_BYTES),
        ({}, UNKNOWN_FRAME_BYTES),
    ],
)
def test_the_size_of_a_frame_follows_from_the_metadata(metadata, frame_bytes):
    plan, _ = plan_stream(DataType.Frame, metadata, [edge("a")])
    assert plan.item_bytes == HEADER_BYTES + frame_bytes


def test_a_likely_size_is_used_where_the_metadata_give_none():
    plan, queues = plan_stream(
        DataType.Frame, {}, [edge("a")], queue_bytes=1000, likely_frame_bytes=100
    )
    assert plan.item_bytes == HEADER_BYTES + 100
    assert queues[edge("a")] == 10


def test_signal_blocks_have_a_long_queue_of_small_items():
    plan, queues = plan_stream(DataType.FloatSignalBlock, {}, [edge("a"), edge("b", 5)])
    assert queues == {edge("a"): SIGNAL_QUEUE_ITEMS, edge("b", 5): 5}
    assert (plan.queues, plan.max_borrowed) == ((SIGNAL_QUEUE_ITEMS, 5), 4)
    assert plan.data_type == DataType.FloatSignalBlock.name
