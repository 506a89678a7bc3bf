"""The virtual button: presses and releases, and measures the time to the answer."""

import itertools
import os
import select
import threading
import time

import pytest

from mlink.clock import MasterClock
from mlink.errors import DeviceError
from mlink_hil.catalog import VirtualButtonSettings, virtual_button
from tests.support.boards.chip_bench import wait_until
from tests.support.boards.virtual_uno import SerialClient, open_uno
from tests.support.fake_context import FakeContext


def follow(serial: SerialClient, stop: threading.Event) -> None:
    """Set the LED on line 8 as the button on line 7, as a user's script does."""
    data = b""
    while not stop.is_set():
        if not select.select([serial.fd], [], [], 0.02)[0]:
            continue
        data += os.read(serial.fd, 100)
        while len(data) >= 3:
            pressed = not data[2]
            data = data[3:]
            serial.send(0x91, int(pressed), 0)


@pytest.fixture
def uno(tmp_path):
    with open_uno(tmp_path, "protocol") as opened:
        opened[2].skip()
        yield opened


def run_button(context: FakeContext, port: str, count: int) -> None:
    """Run the module until it has sent `count` items to an output port."""
    module = virtual_button.load()(context)
    try:
        module.prepare()
        module.start()
        wait_until(lambda: len(context.outputs[port].items) >= count or context.failures)
        module.halt()
        module.stop()
    finally:
        module.close()


def context_for(uno, tmp_path, **settings) -> FakeContext:
    clock = MasterClock(time.monotonic_ns())
    made = VirtualButtonSettings(presses_hz=20, press_msec=20, **settings)
    return FakeContext(virtual_button, made, tmp_path, device=uno[0], clock=clock, name="button")


def test_every_press_and_release_is_answered_and_measured(uno, tmp_path):
    _, _, serial = uno
    serial.send(0xF4, 8, 1, 0xF4, 7, 11)
    serial.skip()
    stop = threading.Event()
    follower = threading.Thread(target=follow, args=(serial, stop), name="follower")
    follower.start()
    context = context_for(uno, tmp_path, answer_line=8)
    threading.Timer(0.03, serial.send, (0xD0, 1)).start()  # reporting begins after prepare()
    try:
        run_button(context, "latencies", 20)
    finally:
        stop.set()
        follower.join()
    assert context.failures == []
    rows = context.outputs["latencies"].items
    assert context.reports["edges_seen"] == context.reports["edges_answered"] == len(rows)
    assert len(rows) >= 20
    assert [row[1] for row in rows[:2]] == ["press", "release"]
    assert 1000 < float(context.reports["latency_p50_usec"]) < 20_000  # 6 bytes take 1042 µs
    assert context.reports["latency_p50_usec"] <= context.reports["latency_p99_usec"]
    assert context.reports["latency_p99_usec"] <= context.reports["latency_max_usec"]
    edges = context.outputs["edges"].items
    assert {edge.line_id for edge in edges} == {7, 8}
    assert all(0 < edge.time_usec < context.clock.now_usec() for edge in edges)
    presses = [edge.time_usec for edge in edges if edge.line_id == 7 and not edge.value]
    # 50 ms apart on average, less 20 % of the pause; 1 ms for when a request takes effect
    assert all(later - earlier > 43_000 for earlier, later in itertools.pairwise(presses))
    assert context.outputs["latencies"].metadata["table_header"] == [
        "Time [µs]",
        "Edge",
        "Latency [µs]",
    ]


def test_without_an_answer_line_the_button_is_only_pressed(uno, tmp_path):
    context = context_for(uno, tmp_path)
    run_button(context, "edges", 4)
    edges = context.outputs["edges"].items
    assert [edge.value for edge in edges[:4]] == [0, 1, 0, 1]
    assert "edges_answered" not in context.reports
    assert not any(thread.name == "finger" for thread in threading.enumerate())


def test_an_edge_that_nothing_answers_is_seen_but_not_answered(uno, tmp_path):
    context = context_for(uno, tmp_path, answer_line=8)
    run_button(context, "edges", 2)  # the second follows when the first has waited in vain
    assert context.reports["edges_seen"] >= 1
    assert context.outputs["latencies"].items == []
    assert "latency_p50_usec" not in context.reports


def test_a_board_that_goes_away_fails_the_module_with_a_device_error(uno, tmp_path):
    context = context_for(uno, tmp_path)
    module = virtual_button.load()(context)
    module.prepare()
    module.start()
    uno[1].quit()
    assert context.failed.wait(60)
    module.close()
    assert isinstance(context.failures[0], DeviceError)
    assert "went away" in str(context.failures[0])


def test_without_a_simulated_board_the_remedy_shows_one(tmp_path):
    context = FakeContext(virtual_button, VirtualButtonSettings(), tmp_path)
    with pytest.raises(DeviceError, match="needs a simulated board"):
        virtual_button.load()(context).prepare()
