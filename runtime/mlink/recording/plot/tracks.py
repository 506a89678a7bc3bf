"""Tracks of the overview picture: pictures, frames, line levels, signal traces, events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.opencv import cv2
from mlink.recording.plot.canvas import (
    EVENT,
    GREY,
    LEFT,
    LEVEL,
    LEVEL_FILL,
    LOSS,
    TRACE,
    Picture,
    Scale,
    canvas,
    label,
    text_width,
    write,
)
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.video import Video

_PICTURES, _STRIP_HEIGHT = 8, 122
_FRAMES_HEIGHT, _EVENTS_HEIGHT, _LEVEL_HEIGHT, _TRACE_HEIGHT = 26, 42, 46, 78
_PAD = 6
_TEXT_SIZE, _TEXT_HEIGHT, _TEXT_LINES, _TEXT_CHARACTERS = 0.36, 14, 4, 40
"""Texts of rows: scale of the font, height of a line in px, most lines, longest text."""


def strip(name: str, video: Video, scale: Scale) -> Picture:
    """Draw equally spaced pictures of a video, each nearest to its place on the time axis."""
    row = canvas(_STRIP_HEIGHT)
    about = video.attributes.get("video", {})
    size = f"{about['frame_width']} x {about['frame_height']}" if "frame_width" in about else ""
    facts = [f"{len(video)} frames", _rate(video.times_usec), size]
    label(row, name, *(fact for fact in [*facts, _lost(video)] if fact))
    width = scale.columns // _PICTURES
    for at in range(_PICTURES):
        middle = LEFT + at * width + width // 2
        share = (middle - LEFT) / (scale.columns - 1)
        time = round(scale.first_usec + share * (scale.last_usec - scale.first_usec))
        if not video.times_usec[0] <= time <= video.times_usec[-1]:
            continue
        picture = _shown(video.nearest(time).mat, video.bits)
        factor = min((width - _PAD) / picture.shape[1], (_STRIP_HEIGHT - 8) / picture.shape[0])
        fit = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
        small = cv2.resize(picture, fit, interpolation=cv2.INTER_AREA)
        left = LEFT + at * width + (width - fit[0]) // 2
        row[4 : 4 + fit[1], left : left + fit[0]] = small
    return row


def frame_track(video: Video, scale: Scale) -> Picture:
    """Draw a tick for each frame, and red marks where frames were lost."""
    row = canvas(_FRAMES_HEIGHT)
    write(row, "frames", 13, 8, GREY, size=0.36)
    _ticks(row, video.times_usec, scale)
    _losses(row, video, scale)
    return row


def event_track(
    name: str,
    stream: RecordedStream,
    times: NDArray[np.int64],
    scale: Scale,
    texts: Sequence[str] = (),
) -> Picture:
    """Draw a tick for each item, and below them the texts of as many as there is room for.

    Args:
        name: Title of the track.
        stream: The stream, for its losses.
        times: Time of each item in µs.
        scale: Time scale of the picture.
        texts: Text of each item; empty for none.
    """
    row = canvas(_EVENTS_HEIGHT)
    _ticks(row, times, scale)
    _losses(row, stream, scale)
    below, shown = _texts(times, texts, scale)
    some = f"{shown} of them with text" if shown < len(texts) else ""
    row = np.vstack([row, *below])
    label(row, name, *(fact for fact in (f"{len(times)} rows  {_lost(stream)}", some) if fact))
    return row


def level_track(name: str, times: NDArray[np.int64], values: NDArray[Any], scale: Scale) -> Picture:
    """Draw the level of a line; it holds until the next reading.

    Args:
        name: Title of the track.
        times: Time of each reading in µs.
        values: The readings.
        scale: Time scale of the picture.
    """
    row = canvas(_LEVEL_HEIGHT)
    low, high = 0.0, max(1.0, float(values.max()))
    changes = f"{len(times)} readings" + (f", up to {high:g}" if high > 1 else "")
    label(row, name, changes)
    base = _LEVEL_HEIGHT - 10
    for x, bottom, top, held in _columns(times, values, scale, low, high, base - 6):
        row[base - held : base, x] = LEVEL_FILL
        row[base - top - 1 : base - bottom + 1, x] = LEVEL
    return row


def trace_track(
    name: str, stream: RecordedStream, times: NDArray[np.int64], values: NDArray[Any], scale: Scale
) -> Picture:
    """Draw one channel: in each column from its smallest to its largest value.

    Args:
        name: Title of the track.
        stream: Signals, for their unit and losses, or a table.
        times: Time of each sample in µs; shape (samples,).
        values: Values of the channel in `data_unit`; shape (samples,).
        scale: Time scale of the picture.
    """
    row = canvas(_TRACE_HEIGHT)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    unit, rate = (stream.unit, _rate(times)) if isinstance(stream, Signals) else ("", "")
    label(row, name, f"{low:.4g} to {high:.4g} {unit}".strip(), rate, _lost(stream))
    base = _TRACE_HEIGHT - 10
    for x, bottom, top, _ in _columns(times, values, scale, low, high, base - 8):
        row[base - top - 1 : base - bottom + 1, x] = TRACE
    _losses(row, stream, scale)
    return row


def _texts(
    times: NDArray[np.int64], texts: Sequence[str], scale: Scale
) -> tuple[list[Picture], int]:
    """Return lines of texts, each at its time, and how many there was room for."""
    lines: list[Picture] = []
    ends: list[int] = []
    shown = 0
    for at in np.argsort(times, kind="stable").tolist() if texts else ():
        text = " ".join(texts[at].split())
        if len(text) > _TEXT_CHARACTERS:
            text = f"{text[: _TEXT_CHARACTERS - 2]}.."
        width = text_width(text, _TEXT_SIZE)
        x = min(scale.x(int(times[at])), scale.right - width)
        line = next((number for number, end in enumerate(ends) if end <= x), len(lines))
        if not text or line == _TEXT_LINES:
            shown += not text
            continue
        if line == len(lines):
            lines.append(canvas(_TEXT_HEIGHT))
            ends.append(0)
        write(lines[line], text, _TEXT_HEIGHT - 4, x, size=_TEXT_SIZE)
        ends[line] = x + width + _PAD
        shown += 1
    return lines, shown


def _columns(
    times: NDArray[np.int64],
    values: NDArray[Any],
    scale: Scale,
    low: float,
    high: float,
    height: int,
) -> list[tuple[int, int, int, int]]:
    """Return (x, smallest, largest, last) of each column in px; a value holds until the next."""
    order = np.argsort(times, kind="stable")
    span = high - low if high > low else 1.0
    filled = np.nan_to_num(values[order].astype(np.float64), nan=low, posinf=high, neginf=low)
    pixels = np.clip((filled - low) / span * height, 0, height).astype(np.int64)
    starts = np.searchsorted(times[order], scale.edges())
    found = []
    for column in range(scale.columns):
        first, end = int(starts[column]), int(starts[column + 1])
        part = pixels[max(0, first - 1) : end]  # the value before still holds
        if len(part):
            found.append((LEFT + column, int(part.min()), int(part.max()), int(part[-1])))
    return found


def _ticks(row: Picture, times: NDArray[np.int64], scale: Scale) -> None:
    columns = np.unique([scale.x(time) for time in times.tolist()])
    row[3 : row.shape[0] - 9, columns] = EVENT


def _losses(row: Picture, stream: RecordedStream, scale: Scale) -> None:
    for gap in stream.attributes.get("gaps", []):
        x = scale.x(int(gap.get("found_at_usec", 0)))
        row[row.shape[0] - 8 : row.shape[0] - 2, max(LEFT, x - 2) : x + 3] = LOSS


def _rate(times: NDArray[np.int64]) -> str:
    span = int(times[-1] - times[0]) if len(times) > 1 else 0
    return f"{(len(times) - 1) / span * 1e6:.4g} Hz" if span > 0 else ""


def _lost(stream: RecordedStream) -> str:
    return f"{stream.lost} lost" if stream.lost else ""


def _shown(mat: NDArray[Any], bits: int) -> Picture:
    """Return a picture in 8-bit BGR; where all of 16 bits are used, the greatest value is white."""
    if mat.dtype != np.uint8:
        top = (1 << bits) - 1 if bits < 8 * mat.itemsize else int(mat.max())
        mat = cv2.convertScaleAbs(mat, alpha=255 / max(1, top))
    if mat.ndim == 2 or mat.shape[2] == 1:
        return np.asarray(cv2.cvtColor(mat, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(mat[..., :3], np.uint8)
