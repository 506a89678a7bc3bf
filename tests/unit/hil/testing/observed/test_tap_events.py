"""What a tap reports, as events with bounds."""

from __future__ import annotations

import pytest

from mlink.tap import messages
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.observed.tap_events import ItemEvents, RegionEvents
from mlink_hil.testing.patterns import Bound, crosses


@pytest.fixture
def history():
    return History()


def bounds(event):
    return event.time_usec, event.early_usec, event.late_usec


def test_a_reading_is_as_uncertain_as_its_stream_and_knows_the_one_before(history):
    note = ItemEvents(history, lambda _stream: 0)
    note(messages.Reading("board.fmdata", 0, 7, 1, 1000), 100)
    note(messages.Reading("board.fmdata", 1, 7, 0, 2000), 100)
    first, second = history.of("board.fmdata.7")
    assert bounds(second) == (2000, 100, 100)
    assert (first.value, first.previous) == (1, None)
    assert (second.value, second.previous) == (0, 1)
    assert second.noted_ns >= first.noted_ns > 0


def test_commands_and_rows_have_the_times_at_which_they_were_sent(history):
    note = ItemEvents(history, lambda _stream: 0)
    note(messages.Command("loop.ctl", 0, 1, 8, 1, 5000), 10)
    (command,) = history.of("loop.ctl.8")
    assert bounds(command) == (5000, 10, 10)
    note(messages.Row("loop.rows", 0, ["a", "b"], 5000), 0)
    (row,) = history.of("loop.rows")
    assert bounds(row) == (5000, 0, 0)
    assert row.cells == ("a", "b")


def test_a_frame_has_its_index(history):
    ItemEvents(history, lambda _stream: 0)(messages.FrameSeen("cam.video", 0, 17, 5000, {}), 20)
    (frame,) = history.of("cam.video")
    assert (frame.value, bounds(frame)) == (17, (5000, 20, 20))


def test_brightness_began_at_some_time_since_the_frame_before(history):
    note = RegionEvents(history, "cam.video[1,1 2×2]", 20, lambda: 0)
    note(1000, 30.0)
    note(17_000, 180.0)
    first, second = history.of("cam.video[1,1 2×2]")
    assert bounds(first) == (1000, 20, 20)
    assert first.previous is None
    assert bounds(second) == (17_000, 16_020, 20)
    assert second.previous == 30


def test_the_first_event_of_a_channel_after_a_loss_may_follow_another_value(history):
    lost = {"board.fmdata": 0}
    note = ItemEvents(history, lost.__getitem__)
    for seq, line, losses in ((0, 7, 0), (2, 9, 1), (3, 7, 1), (4, 7, 1)):
        lost["board.fmdata"] = losses
        note(messages.Reading("board.fmdata", seq, line, 1, seq * 1000), 0)
    assert [event.after_loss for event in history.of("board.fmdata.7")] == [False, True, False]


def test_what_was_lost_leaves_an_edge_open_but_not_a_value():
    after = Event("uno.8", 1000, 1, previous=1, after_loss=True)
    rises = Bound("uno.8", lambda e: e.previous == 0 and e.value == 1, "rising edge")
    high = Bound("uno.8", lambda e: e.value == 1, "high")
    assert rises.surely_matches(after) is None
    assert high.surely_matches(after) is True
    assert rises.surely_matches(Event("uno.8", 1000, 0, previous=1, after_loss=True)) is False
    bright = crosses("cam", 100, upwards=True)(None)
    assert bright.surely_matches(Event("cam", 1000, 180, previous=180, after_loss=True)) is None
    assert bright.surely_matches(Event("cam", 1000, 20, previous=20, after_loss=True)) is False
