"""What a tap reports, as events with bounds."""

from __future__ import annotations

import pytest

from mlink.tap import messages
from mlink_hil.testing.history import History
from mlink_hil.testing.tap_events import ItemEvents, RegionEvents


@pytest.fixture
def history():
    return History()


def bounds(event):
    return event.time_usec, event.early_usec, event.late_usec


def test_a_reading_is_as_uncertain_as_its_stream_and_knows_the_one_before(history):
    note = ItemEvents(history)
    note(messages.Reading("board.fmdata", 0, 7, 1, 1000), 100)
    note(messages.Reading("board.fmdata", 1, 7, 0, 2000), 100)
    first, second = history.of("board.fmdata.7")
    assert bounds(second) == (2000, 100, 100)
    assert (first.value, first.previous) == (1, None)
    assert (second.value, second.previous) == (0, 1)
    assert second.noted_ns >= first.noted_ns > 0


def test_a_command_may_have_been_sent_since_the_queue_was_empty(history):
    ItemEvents(history)(messages.Command("loop.ctl", 0, 1, 8, 1, 5000, 3500), 10)
    (command,) = history.of("loop.ctl.8")
    assert bounds(command) == (5000, 1510, 10)


def test_a_row_may_have_been_sent_since_the_queue_was_empty(history):
    ItemEvents(history)(messages.Row("loop.rows", 0, ["a", "b"], 5000, 3500), 0)
    (row,) = history.of("loop.rows")
    assert bounds(row) == (5000, 1500, 0)
    assert row.cells == ("a", "b")


def test_a_frame_has_its_index(history):
    ItemEvents(history)(messages.FrameSeen("cam.video", 0, 17, 5000, {}), 20)
    (frame,) = history.of("cam.video")
    assert (frame.value, bounds(frame)) == (17, (5000, 20, 20))


def test_brightness_began_at_some_time_since_the_frame_before(history):
    note = RegionEvents(history, "cam.video[1,1 2×2]", 20)
    note(1000, 30.0)
    note(17_000, 180.0)
    first, second = history.of("cam.video[1,1 2×2]")
    assert bounds(first) == (1000, 20, 20)
    assert first.previous is None
    assert bounds(second) == (17_000, 16_020, 20)
    assert second.previous == 30
