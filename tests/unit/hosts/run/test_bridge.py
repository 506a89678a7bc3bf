"""Streams from host to host over real sessions: both ends agree on what crossed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mlink.clock import MasterClock
from mlink.hosts.link.session import HostSession
from mlink.hosts.run.bridge import (
    STREAM,
    Bridge,
    BridgeSettings,
    Link,
    Subscriber,
    host_in,
    host_out,
)
from mlink.hosts.run.host_in import HostIn
from mlink.hosts.run.host_out import HostOut
from mlink.types import DataType, Frame, LineReading
from tests.support.fake_context import FakeContext
from tests.support.slow_link import SlowLink

LIMIT_S = 60.0


class Context(FakeContext):
    def serve_for(self, duration_usec: int, step_usec: int) -> None:
        time.sleep(duration_usec / 1e6)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.005)


class Ends:
    """Both modules of a stream, in one process, with a link of the test's between them."""

    def __init__(
        self, folder, link: SlowLink, near: int, data_type, end_s=LIMIT_S, **given
    ) -> None:
        bridge = Bridge("cam", "video", data_type, "chamber", "lab", "cam-video>lab",
                        "cam-video@chamber", (Subscriber("script", "in"),), **given)  # fmt: skip
        run = f"{time.monotonic_ns():x}"

        def settings(port: int) -> BridgeSettings:
            return BridgeSettings(
                bridge=bridge, link=Link(f"tcp/127.0.0.1:{port}", run, LIMIT_S, end_s)
            )

        clock = MasterClock(time.monotonic_ns())
        self.out = Context(host_out(bridge), settings(near), folder, name="out", clock=clock)
        self.into = Context(host_in(), settings(link.port), folder, name="in", clock=clock)
        self.source, self.sink = HostOut(self.out), HostIn(self.into)
        self.port = self.out.inputs[STREAM]
        self.got = self.into.outputs[STREAM]
        self.port.metadata = {"src_mod_name": "cam", "framerate": 30.0}

    def begin(self) -> None:
        self.source.prepare()
        self.sink.prepare()
        self.source.start()
        self.sink.start()
        self.ticks = threading.Thread(target=self._tick, daemon=True)
        self.ticks.start()

    def _tick(self) -> None:
        while not self.sink._inbox.ended and not self.sink._closing:
            self.sink._acknowledge_if_due()
            time.sleep(0.01)

    def send(self, item) -> None:
        self.port.taken += 1
        self.port.on_item(item)

    def end(self) -> None:
        ending = threading.Thread(target=self.source.stop)
        ending.start()
        self.sink.stop()
        ending.join(LIMIT_S)
        assert not ending.is_alive()

    def close(self) -> None:
        self.source.close()
        self.sink.close()

    @property
    def account(self) -> tuple[int, int]:
        """Items that arrived, and lost ones, once both ends agree."""
        received, lost = self.into.reports["received"], self.into.reports["lost"]
        assert received + lost == self.out.reports["taken"]
        assert (len(self.got.items), self.got.lost) == (received, lost)
        return received, lost


@pytest.fixture(scope="module")
def near() -> Iterator[int]:
    port = free_port()
    with HostSession(listen=[f"tcp/127.0.0.1:{port}"]):
        yield port


@pytest.fixture
def link(near: int) -> Iterator[SlowLink]:
    with SlowLink(near) as link:
        yield link


@pytest.fixture
def ends(tmp_path, link, near) -> Iterator[Callable[..., Ends]]:
    made: list[Ends] = []

    def make(data_type=DataType.LineReading, **given) -> Ends:
        made.append(Ends(tmp_path, link, near, data_type, **given))
        made[-1].begin()
        return made[-1]

    yield make
    link.go_on()
    for each in made:
        each.close()


def reading(number: int) -> LineReading:
    return LineReading(7, number % 2, number)


def frame(number: int, size: int = 200) -> Frame:
    return Frame.from_array(np.full((size, size), number % 256, np.uint8), number, number * 1000)


def test_metadata_go_ahead_and_are_those_of_the_source(ends):
    both = ends()
    assert both.got.metadata == {"src_mod_name": "cam", "framerate": 30.0}


def test_all_readings_cross_in_order_and_both_ends_agree(ends):
    both = ends()
    for number in range(3000):
        both.send(reading(number))
    both.end()
    assert both.account == (3000, 0)
    assert [each.time_usec for each in both.got.items] == list(range(3000))
    assert not both.out.losses
    assert not both.into.losses


def test_what_was_lost_before_it_left_is_a_gap_at_the_other_end(ends):
    both = ends()
    both.send(reading(0))
    both.port.taken += 5
    both.send(reading(6))
    both.end()
    assert both.account == (2, 5)


def test_nothing_is_sent_on_before_the_start(tmp_path, link, near):
    both = Ends(tmp_path, link, near, DataType.LineReading)
    try:
        both.source.prepare()
        both.sink.prepare()
        both.source.start()
        for number in range(10):
            both.send(reading(number))
        until(lambda: bool(both.sink._held))
        assert both.got.items == []
        both.sink.start()
        both.end()
        assert both.account == (10, 0)
    finally:
        both.close()


def test_frames_cross_raw_and_by_jpeg(ends):
    for codec in ("raw", "jpeg"):
        both = ends(DataType.Frame, codec=codec)
        for number in range(20):
            both.send(frame(number))
        both.end()
        assert both.account == (20, 0)
        assert [each.index for each in both.got.items] == list(range(20))


def test_a_cut_link_loses_nothing_that_had_room(ends, link):
    both = ends()
    for number in range(100):
        both.send(reading(number))
    until(lambda: len(both.got.items) > 50)
    link.cut()
    for number in range(100, 300):
        both.send(reading(number))
    assert len(both.got.items) <= 100
    link.join()
    until(lambda: len(both.got.items) == 300)
    both.end()
    assert both.account == (300, 0)
    assert [each.time_usec for each in both.got.items] == list(range(300))


def test_a_link_that_stands_still_costs_the_source_no_wait_and_losses_are_counted(ends, link):
    both = ends(DataType.Frame)
    both.source._box._most_items = 20
    both.send(frame(0))
    until(lambda: len(both.got.items) == 1)
    link.stall()
    for number in range(1, 100):
        both.send(frame(number))  # returns although nothing moves
    link.go_on()
    both.end()
    _, lost = both.account
    assert lost >= 79 - 20
    assert both.out.losses[0][0].startswith(f"{lost} items of cam.video did not reach lab")


def test_newest_skips_what_a_slow_link_cannot_carry(ends, link):
    both = ends(DataType.Frame, policy="newest")
    link.bytes_per_s = 400_000
    for number in range(100):
        both.send(frame(number))
    both.end()
    _, lost = both.account
    assert lost > 0
    assert both.got.items[-1].index == 99


def test_an_end_that_never_comes_is_named_at_both_ends(ends, link):
    both = ends(end_s=0.5)
    both.send(reading(0))
    until(lambda: len(both.got.items) == 1)
    link.stall()
    both.send(reading(1))
    both.end()
    assert "did not acknowledge the end of cam.video" in both.out.losses[0][0]
    assert "the end of cam.video did not come from chamber" in both.into.losses[0][0]


def test_damaged_messages_are_counted_and_change_nothing(ends):
    both = ends()
    both.source._publisher.put(b"\xc1junk")
    both.sink._publisher.put(b"junk")
    both.send(reading(0))
    both.end()
    assert both.account == (1, 0)
    assert both.into.reports["refused_messages"] == 1
    assert both.out.reports["refused_messages"] == 1
