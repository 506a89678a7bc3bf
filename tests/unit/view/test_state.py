"""What the program of a view keeps of a run, for pages that come late: bounded, and in order."""

from __future__ import annotations

import asyncio

import pytest

from mlink.view.messages import (
    Act,
    Acted,
    Batch,
    Begins,
    Ended,
    FeedBegins,
    Items,
    LogLine,
    Picture,
    ShownBench,
    ShownTarget,
    Want,
)
from mlink.view.state import KEPT_ITEMS, KEPT_LINES, NOTE_S, RunState
from mlink.view.wire import ToRunBuffer


class Writer:
    """A run's end: keeps what it is sent; `behind` is what it has not read."""

    def __init__(self):
        self.behind = 0
        self.messages = []
        self.transport = self

    def get_write_buffer_size(self):
        return self.behind

    def write(self, data):
        self.messages += ToRunBuffer().feed(data)


def picture(stream="cam.video", width=320):
    return Picture(stream, width, 1, 0, 0, [1, 1], "uint8", 0, 0, 0.0, [], False, b"")


@pytest.fixture
def commanded(state):
    """A run whose pages may command it, and its feed's end."""
    target = ShownTarget("board.fmctl", "LineCommand")
    state.take(Begins(ShownBench("b", "", "real", None, [], [target])), Writer())
    feed = Writer()
    state.take(FeedBegins({}), feed)
    return feed


def acts(state, count):
    async def act():
        return [state.act(Act("board.fmctl", "high")) for _ in range(count)]

    return asyncio.run(act())


def test_all_pages_together_send_fifty_commands_a_second(state, commanded):
    refused = acts(state, 60)
    assert refused == [""] * 50 + ["more than 50 commands in a second"] * 10
    assert len(commanded.messages) == 50


def test_commands_that_pages_may_not_give_reach_the_recording_as_one_with_their_number(
    state, commanded
):
    async def refuse():
        for line in range(5):
            state.act(Act("board.fmctl", "high", line), "this page may only look")
        await asyncio.sleep(2 * NOTE_S)
        state.act(Act("board.fmctl", "low"), "this page may only look")
        await asyncio.sleep(2 * NOTE_S)

    asyncio.run(refuse())
    first, second = commanded.messages
    assert (first.act.line, first.count, first.refused) == (4, 5, "this page may only look")
    assert (second.act.command, second.count) == ("low", 1)


def test_who_is_refused_beside_a_flood_of_somebody_else_is_in_the_recording(state, commanded):
    async def refuse():
        state.act(Act("board.fmctl", "low", by="guest at 10.0.0.9"), "this page may only look")
        for number in range(300):  # more people than rows
            by = "owner" if number < 200 else f"owner {number}"
            state.act(Act("board.fmctl", "high", by=by), "too many")
        await asyncio.sleep(2 * NOTE_S)

    asyncio.run(refuse())
    rows = [(each.act.by, each.refused, each.count) for each in commanded.messages]
    assert rows[0] == ("guest at 10.0.0.9", "this page may only look", 1)
    assert rows[1] == ("owner", "too many", 200)
    assert len(rows) == 16
    assert sum(count for _, _, count in rows) == 301


def test_commands_to_a_run_that_takes_none_or_has_ended_are_refused(state):
    assert acts(state, 1) == ["the run cannot be commanded"]
    state.take(Begins(ShownBench("b", "", "real", None, [], [], "not allowed")), Writer())
    assert acts(state, 1) == ["not allowed"]
    target = ShownTarget("board.fmctl", "LineCommand")
    state.take(Begins(ShownBench("b", "", "real", None, [], [target])), Writer())
    assert acts(state, 1) == ["the run has not begun, or has ended"]


def test_a_late_page_gets_the_last_200_commands(state, commanded):
    for number in range(250):
        state.take(Acted(Act("board.fmctl", "high", number), number), commanded)
    found = state.snapshot()["acts"]
    assert [each["sent_usec"] for each in found] == list(range(50, 250))


@pytest.fixture
def state():
    return RunState()


def test_a_late_page_gets_the_newest_items_in_their_order(state):
    for first in range(0, 3 * KEPT_ITEMS, 100):
        columns = {"value": list(range(first, first + 100)), "time_usec": [first] * 100}
        state.take(Batch(first, [Items("a.b", columns, 100)]), Writer())
    (items,) = state.snapshot()["items"]
    values = items["columns"]["value"]
    assert values[-1] == 3 * KEPT_ITEMS - 1
    assert values == list(range(values[0], 3 * KEPT_ITEMS))
    assert KEPT_ITEMS - 100 <= len(values) <= KEPT_ITEMS


def test_channels_of_signals_stay_apart(state):
    for time in (0, 1):
        columns = {"time_usec": [time], "data": [[time], [10 + time]]}
        state.take(Batch(time, [Items("s.f", columns, 1)]), Writer())
    (items,) = state.snapshot()["items"]
    assert items["columns"] == {"time_usec": [0, 1], "data": [[0, 1], [10, 11]]}


def test_the_log_is_bounded(state):
    for number in range(KEPT_LINES + 10):
        state.take(LogLine("a", 20, str(number)), Writer())
    kept = state.snapshot()["log"]
    assert (len(kept), kept[-1]["text"]) == (KEPT_LINES, str(KEPT_LINES + 9))


def test_a_picture_is_asked_for_once_until_it_comes(state):
    async def ask():
        feed = Writer()
        state.take(FeedBegins({}), feed)
        for _ in range(3):
            state.want("cam.video", 320)
        state.want("cam.video", 640)
        state.take(picture(), feed)
        state.want("cam.video", 320)
        return feed.messages

    sent = asyncio.run(ask())
    assert sent == [Want("cam.video", 320), Want("cam.video", 640), Want("cam.video", 320)]


def test_a_feed_that_reads_nothing_is_not_sent_more(state):
    async def ask():
        feed = Writer()
        feed.behind = 2 << 20
        state.take(FeedBegins({}), feed)
        state.want("cam.video", 320)
        return feed.messages

    assert asyncio.run(ask()) == []


def test_a_run_that_goes_without_a_result_was_killed(state):
    run = Writer()
    state.take(Begins(ShownBench("b", "/b", "real", None, [])), run)
    seen = []
    state.observe(seen.append)
    state.gone(run)
    assert state.snapshot()["lost_contact"]
    assert seen
    assert not state.stop("anything")


def test_a_run_that_has_ended_is_not_lost(state):
    run = Writer()
    state.take(Begins(ShownBench("b", "/b", "real", None, [])), run)
    state.take(Ended(True, [], "", 1.0, [], {}, [], ""), run)
    state.gone(run)
    assert not state.snapshot()["lost_contact"]
