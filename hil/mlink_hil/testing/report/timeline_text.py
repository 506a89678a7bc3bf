"""A timeline as text, for messages in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History

_COLUMNS = 64
_MAX_CHANNELS = 10
_MAX_EVENTS = 12
_HIGH, _LOW, _BOTH, _TICK = "▔", "▁", "│", "╷"


def draw_timeline(
    history: History,
    start_usec: int,
    end_usec: int,
    *,
    now_usec: int,
    marks: Sequence[tuple[int, str]] = (),
    first: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a timeline: one for each channel, marks above and times below.

    Args:
        history: The run's events.
        start_usec: Master time at the left.
        end_usec: Master time at the right.
        now_usec: Nothing is drawn after this master time.
        marks: (master time, label) of marks above the channels.
        first: Channels to show first, even without events; others follow if they have any.
    """
    end_usec = max(end_usec, start_usec + 1)
    channels = list(dict.fromkeys([*first, *history.channels()]))
    known = _column(now_usec, start_usec, end_usec) + 1
    rows = []
    for channel in channels:
        events = history.of(channel, start_usec, end_usec)
        if not events and channel not in first:
            continue
        before = history.last(channel, start_usec)
        drawn = _row(events, before, start_usec, end_usec)
        rows.append((channel, drawn[:known]))
    width = max((len(channel) for channel, _ in rows[:_MAX_CHANNELS]), default=8)
    lines = _mark_lines(marks, start_usec, end_usec, width)
    lines += [f"  {channel:>{width}} {drawn}" for channel, drawn in rows[:_MAX_CHANNELS]]
    if len(rows) > _MAX_CHANNELS:
        lines.append(f"  {'…':>{width}} {len(rows) - _MAX_CHANNELS} more channels")
    left, right = f"{start_usec / 1000:.3f} ms", f"{end_usec / 1000:.3f} ms"
    lines.append(f"  {'':>{width}} {left}{right:>{_COLUMNS - len(left)}}")
    return lines


def list_events(
    history: History, channels: Sequence[str], start_usec: int, end_usec: int, zero_usec: int
) -> list[str]:
    """Return a line for each event of some channels, 12 at most.

    Args:
        history: The run's events.
        channels: The channels.
        start_usec: First master time.
        end_usec: Last master time.
        zero_usec: Master time to which the listed times are relative.
    """
    events = sorted(
        (event for channel in channels for event in history.of(channel, start_usec, end_usec)),
        key=lambda event: event.time_usec,
    )
    lines = [
        f"  {event.time_usec - zero_usec:+10d} µs  {_bounds(event):14}  {event.channel} → "
        f"{' '.join(event.cells) if event.cells else f'{event.value:g}'}"
        for event in events[:_MAX_EVENTS]
    ]
    if len(events) > _MAX_EVENTS:
        lines.append(f"  … {len(events) - _MAX_EVENTS} more")
    return lines


def _bounds(event: Event) -> str:
    if event.early_usec == event.late_usec:
        return f"±{event.early_usec}" if event.early_usec else ""
    return f"-{event.early_usec}/+{event.late_usec}"


def _column(time_usec: int, start_usec: int, end_usec: int) -> int:
    place = (time_usec - start_usec) * _COLUMNS // (end_usec - start_usec)
    return min(max(place, 0), _COLUMNS - 1)


def _row(events: list[Event], before: Event | None, start_usec: int, end_usec: int) -> str:
    """Return the drawing of a channel: a wave for a line's levels, ticks for anything else."""
    if not _is_line(events, before):
        ticks = [" "] * _COLUMNS
        for event in events:
            ticks[_column(event.time_usec, start_usec, end_usec)] = _TICK
        return "".join(ticks)
    level = _first_level(events, before)
    drawn = [" " if level is None else (_HIGH if level else _LOW)] * _COLUMNS
    touched: set[int] = set()
    for event in events:
        place = _column(event.time_usec, start_usec, end_usec)
        now = bool(event.value)
        for column in range(place, _COLUMNS):
            drawn[column] = _HIGH if now else _LOW
        if place in touched:
            drawn[place] = _BOTH  # more than one change within a column
        touched.add(place)
    return "".join(drawn)


def _is_line(events: list[Event], before: Event | None) -> bool:
    """Return whether a channel has only the levels 0 and 1, and no rows."""
    known = [*events, *([before] if before else [])]
    return bool(known) and all(not event.cells and event.value in (0, 1) for event in known)


def _first_level(events: list[Event], before: Event | None) -> bool | None:
    if before is not None:
        return bool(before.value)
    if events and events[0].previous is not None:
        return bool(events[0].previous)
    return None


def _mark_lines(
    marks: Sequence[tuple[int, str]], start_usec: int, end_usec: int, width: int
) -> list[str]:
    lines = []
    for time_usec, label in marks:
        place = _column(time_usec, start_usec, end_usec)
        text = f"▼ {label}" if place < _COLUMNS // 2 else f"{label} ▼"
        indent = place if place < _COLUMNS // 2 else max(0, place - len(label) - 1)
        lines.append(f"  {'':>{width}} {'':>{indent}}{text}")
    return lines
