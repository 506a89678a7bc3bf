"""What the message of a failed expectation shows besides its first line."""

from __future__ import annotations

from collections.abc import Sequence

from mlink_hil.testing.observed.events import Event, Window
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.patterns import Bound
from mlink_hil.testing.report.timeline_text import draw_timeline, list_events

_SHORTEST_SPAN_USEC = 200
_STIMULI = 3
"""How many of the newest stimuli are shown first."""


def nearest_event(history: History, bound: Bound, window: Window) -> str:
    """Describe the matching event nearest to a window in which there was none.

    Returns:
        The end of a sentence ("; the next came after 6843 µs, 1843 µs too late"), or "".
    """
    events = [e for e in history.of(bound.channel) if bound.matches(e)]
    if not events:
        return "; there was none in the whole run"
    nearest = min(events, key=lambda e: abs(e.time_usec - window.origin.time_usec))
    later = [e for e in events if e.time_usec > window.origin.time_usec]
    nearest = later[0] if later else nearest
    usec = nearest.time_usec - window.origin.time_usec
    if usec > window.high_usec:
        return f"; the next came after {usec} µs, {usec - window.high_usec} µs too late"
    return f"; the nearest was {-usec} µs before it" if usec < 0 else ""


def window_timeline(
    history: History,
    window: Window,
    *,
    now_usec: int,
    stimuli: Sequence[Event] = (),
    channels: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a timeline around a window, and a list of its events.

    Args:
        history: The run's events.
        window: The window; the timeline begins a little before it.
        now_usec: Master time after which nothing is known yet.
        stimuli: What the test has driven; their channels are shown first.
        channels: Channels to show next.
    """
    span = max(window.high_usec - min(window.low_usec, 0), _SHORTEST_SPAN_USEC)
    zero = window.origin.time_usec
    start = zero + min(window.low_usec, 0) - span // 4
    end = zero + window.high_usec + span // 2
    for channel in channels:  # a late event is shown too, unless it is far away
        later = [e for e in history.of(channel, end) if e.time_usec < end + 8 * span]
        if later and not any(e.caused for e in later):
            end = max(end, later[0].time_usec + span // 4)
    first = list(dict.fromkeys([*(e.channel for e in stimuli[-_STIMULI:]), *channels]))
    marks = [(zero, str(window.origin.channel)), (zero + window.high_usec, "deadline")]
    lines = draw_timeline(history, start, end, now_usec=now_usec, marks=marks, first=first)
    return [*lines, "", *list_events(history, first, start, end, zero)]
