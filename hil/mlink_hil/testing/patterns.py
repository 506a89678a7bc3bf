"""Patterns that expectations look for: edges, readings, frames, rows, brightness of a region."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Protocol

from mlink.errors import BenchError
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.verdicts import hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks


class Channels(Protocol):
    """Finds the channel of a run that a pattern means; BenchError when that is not clear."""

    def line_channel(self, line: int, board: str | None) -> str:
        """Return the channel on which a line's edges have the best times."""

    def reading_channel(self, line: int, board: str | None) -> str:
        """Return the channel of a board's own reports on a line."""

    def frame_stream(self, camera: str | None) -> str:
        """Return the stream of a camera's frames."""

    def row_stream(self, table: str | None) -> str:
        """Return the stream of a module's rows."""

    def columns(self, stream: str) -> list[str]:
        """Return the names of a row stream's columns."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A pattern bound to a run.

    `channel` is where to look, `matches` decides on an event there, and `text` names the pattern in
    messages ("rising edge on uno.8").
    """

    channel: str
    matches: Callable[[Event], bool]
    text: str

    def surely_matches(self, event: Event) -> bool | None:
        """Return whether an event matches; None when what was lost before it leaves that open."""
        if not event.after_loss:
            return self.matches(event)
        before = (event.previous, event.value, float(not event.value), -math.inf, math.inf)
        answers = {self.matches(replace(event, previous=each)) for each in before}
        return answers.pop() if len(answers) == 1 else None


Pattern = Callable[[Channels], Bound]


def edge(line: int, *, rising: bool | None = None, board: str | None = None) -> Pattern:
    """Match a change of a line's level.

    On a virtual board that is the pin itself; on a real one it is what the board reports, or its
    tester where the line is wired to one.

    Args:
        line: Number of the line (the pin).
        rising: True for a rising, False for a falling edge, None for both.
        board: Device or module of the board; None for the only one.
    """
    kind = {True: "rising edge", False: "falling edge", None: "edge"}[rising]

    def matches(event: Event) -> bool:
        if event.previous is None or bool(event.previous) == bool(event.value):
            return False
        return rising is None or bool(event.value) is rising

    def bind(channels: Channels) -> Bound:
        channel = channels.line_channel(line, board)
        return Bound(channel, matches, f"{kind} on {channel}")

    return bind


def reading(
    line: int,
    *,
    value: int | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    board: str | None = None,
) -> Pattern:
    """Match a reading that the board itself sends.

    Args:
        line: Number of the line (the pin).
        value: Its value; None for any.
        at_least: Lowest value.
        at_most: Highest value.
        board: Device or module of the board; None for the only one.

    Raises:
        BenchError: No reading can match.
    """
    low, high = (
        (-math.inf if at_least is None else at_least),
        (math.inf if at_most is None else at_most),
    )
    if not low <= (low if value is None else value) <= high:  # also where one is no number
        raise BenchError(
            f"reading(value={value}, at_least={at_least}, at_most={at_most}): no value fits",
            remedy="Write limits that do not exclude each other, or the value alone.",
        )
    text = _range_text(value, at_least, at_most)

    def matches(event: Event) -> bool:
        return (
            (value is None or event.value == value)
            and (at_least is None or event.value >= at_least)
            and (at_most is None or event.value <= at_most)
        )

    def bind(channels: Channels) -> Bound:
        channel = channels.reading_channel(line, board)
        return Bound(channel, matches, f"reading{text} on {channel}")

    return bind


def frame(camera: str | None = None, *, index: int | None = None) -> Pattern:
    """Match a frame of a camera.

    Args:
        camera: Module, device or stream of the camera; None for the only one.
        index: Number of the frame, from 0; None for any frame.

    Raises:
        BenchError: No frame has such a number.
    """
    if index is not None and not index >= 0:
        raise BenchError(
            f"frame(index={index}): frames have numbers from 0",
            remedy="Leave out `index` for any frame; camera.picture() is the newest one.",
        )

    def matches(event: Event) -> bool:
        return index is None or event.value == index

    def bind(channels: Channels) -> Bound:
        stream = channels.frame_stream(camera)
        return Bound(stream, matches, f"frame{'' if index is None else f' {index}'} of {stream}")

    return bind


def row(table: str | None = None, **cells: object) -> Pattern:
    """Match a table row.

    Args:
        table: The stream ("loop.table-out") or its module; None for the only stream of a script.
        cells: Values of cells by the names of their columns; others may be anything. The cells of a
            row are text, as in the CSV file. A number matches each text of its value: 110 and
            110.0 both match "110", "110.0" and "1.1e2". True and False match their words, in
            capitals or not ("true", "True"). Anything else matches its `str()` exactly.

    Raises:
        ValueError: The table has no such column (raised by the expectation).
    """

    def bind(channels: Channels) -> Bound:
        stream = channels.row_stream(table)
        columns = channels.columns(stream)
        wanted = {}
        for name, value in cells.items():
            if name not in columns:
                raise ValueError(
                    f"{stream} has no column {name!r}; it has {', '.join(columns) or 'no header'}"
                )
            wanted[columns.index(name)] = value

        def matches(event: Event) -> bool:
            return all(
                number < len(event.cells) and _is_text_of(event.cells[number], value)
                for number, value in wanted.items()
            )

        what = ", ".join(f"{name}={value}" for name, value in cells.items())
        return Bound(stream, matches, f"row {what} of {stream}".replace("row  ", "row "))

    return bind


def crosses(channel: str, level: float, *, upwards: bool) -> Pattern:
    """Match a value that passes a level; see `Region.brightens` and `Region.darkens`.

    Args:
        channel: A channel of values.
        level: The level: upwards it must be reached, downwards fallen below.
        upwards: The direction.

    Raises:
        BenchError: No value passes such a level.
    """
    if not level > 0:
        raise BenchError(
            f"{channel} cannot pass the level {level:g}: brightness is 0 or higher",
            remedy="Write a level above 0; white is 255 in a picture of 8 bits.",
        )

    def matches(event: Event) -> bool:
        if event.previous is None:
            return False
        if upwards:
            return event.previous < level <= event.value
        return event.previous >= level > event.value

    def bind(_channels: Channels) -> Bound:
        way = "above" if upwards else "below"
        return Bound(channel, matches, f"{channel} going {way} {level:g}")

    return bind


def _is_text_of(text: str, value: object) -> bool:
    """Return whether the text of a cell stands for a value (see `row`)."""
    if text == str(value):
        return True
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if not isinstance(value, Real) or "_" in text:  # a number may have _ in Python only
        return False
    for number in (int, float):  # a whole number of any length is compared exactly
        try:
            return bool(number(text) == value)
        except (ValueError, OverflowError):
            continue
    return False


def _range_text(value: int | None, at_least: float | None, at_most: float | None) -> str:
    parts = [
        f"{sign} {limit:g}"
        for sign, limit in (("=", value), ("≥", at_least), ("≤", at_most))
        if limit is not None
    ]
    return f" {', '.join(parts)}" if parts else ""
