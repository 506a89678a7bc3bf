"""Overview picture of a recording: videos, lines, signals and events over time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.opencv import cv2
from mlink.recording.plot.canvas import (
    FAINT,
    GREY,
    INK,
    LEFT,
    LOSS,
    WIDTH,
    Picture,
    Scale,
    canvas,
    label,
    text_width,
    write,
)
from mlink.recording.plot.tracks import event_track, frame_track, level_track, strip, trace_track
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.table import TIME_COLUMNS, Table
from mlink.recording.video import Video
from mlink.storage.failures import UNEXPECTED, damage_of, storage_errors

__all__ = ["WIDTH", "Overview", "plot_recording"]

_MAX_TRACKS = 24
"""Largest number of lines or channels shown of one dataset, each in its own track."""
_TITLE, _AXIS, _NOTE = 54, 34, 20


class Drawn(Protocol):
    """What is drawn of a `mlink.recording` Recording."""

    path: Path
    manifest: dict[str, Any]
    attributes: dict[str, Any]

    @property
    def length_s(self) -> float | None:
        """Length of the run in s; None when its end was not written."""

    def __iter__(self) -> Iterator[str]: ...

    def __getitem__(self, name: str) -> RecordedStream: ...


@dataclass(frozen=True, slots=True)
class Overview:
    """The overview picture of a recording. A notebook shows it; `save` writes it to a file."""

    pixels: Picture
    """Blue, green and red as OpenCV has them; shape (height, width, 3)."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture.

        Args:
            path: The file; its suffix selects the format, e.g. ".png" (default) or ".jpg".

        Raises:
            StorageError: It cannot be written, or not in this format.
        """
        file = Path(path)
        try:
            _, data = cv2.imencode(file.suffix or ".png", self.pixels)
        except cv2.error as error:
            raise StorageError(
                f"no picture can be written as '{file.suffix}'", remedy="Name the file ….png."
            ) from error
        with storage_errors(file):
            file.write_bytes(data.tobytes())

    def _repr_png_(self) -> bytes:
        _, data = cv2.imencode(".png", self.pixels)
        return data.tobytes()


def plot_recording(recording: Drawn) -> Overview:
    """Draw the overview picture of a recording.

    Raises:
        StorageError: Nothing in the recording has times.
    """
    opened: dict[str, RecordedStream] = {}
    for name in recording:
        with suppress(*UNEXPECTED):  # `mlink info` names those that cannot be opened
            opened[name] = recording[name]
    times = {name: found for name, stream in opened.items() if len(found := _times(stream))}
    if not times:
        raise StorageError(f"{recording.path} has no data with times to plot")
    first = min(0, *(int(found[0]) for found in times.values()))
    last = max(int(found.max()) for found in times.values())
    scale = Scale(first, max(last, first + 1, round((recording.length_s or 0) * 1e6)))
    rows: list[Picture] = []
    for name, stream in opened.items():
        if name in times:
            try:
                rows += _tracks(name, stream, times[name], scale)
            except (*UNEXPECTED, cv2.error) as error:  # the others are drawn all the same
                rows.append(row := canvas(_AXIS))
                label(row, name, f"cannot be drawn: {damage_of(error)}")
    body = np.vstack(rows)
    _grid(body, scale)
    return Overview(np.vstack([_title(recording), body, _axis(scale), _left_out(opened, times)]))


def _times(stream: RecordedStream) -> NDArray[np.int64]:
    try:
        return stream.times_usec
    except UNEXPECTED:
        return np.empty(0, np.int64)  # a table without a column of times, or it is damaged


def _tracks(
    name: str, stream: RecordedStream, times: NDArray[np.int64], scale: Scale
) -> list[Picture]:
    """Draw the tracks of one dataset; losses are red."""
    if isinstance(stream, Video):
        return [strip(name, stream, scale), frame_track(stream, scale)]
    if isinstance(stream, Table):
        columns = stream.columns()
        numbers = {
            title: column
            for title, column in columns.items()
            if column.dtype != object and title.strip().lower() not in TIME_COLUMNS
        }
        texts = zip(*(each for each in columns.values() if each.dtype == object), strict=True)
        return [
            event_track(name, stream, times, scale, [" ".join(row) for row in texts]),
            *(
                trace_track(f"{name}: {title}", stream, times, column, scale)
                for title, column in list(numbers.items())[:_MAX_TRACKS]
            ),
        ]
    if not isinstance(stream, Signals) or stream.values.dtype == object:
        return [event_track(name, stream, times, scale)]
    if stream.names[:1] == ["line_id"]:
        lines = stream.values[:, 0]
        return [
            level_track(f"{name}: line {line}", times[of_line], stream.values[of_line, 1], scale)
            for line in np.unique(lines)[:_MAX_TRACKS]
            if len(of_line := np.flatnonzero(lines == line))
        ]
    return [
        trace_track(f"{name}: {channel}", stream, times, stream.physical[:, at], scale)
        for at, channel in enumerate(stream.names[:_MAX_TRACKS])
    ]


def _title(recording: Drawn) -> Picture:
    row = canvas(_TITLE)
    attributes = recording.attributes
    write(
        row, str(attributes.get("collection_name", recording.path.name)), 24, 8, size=0.62, bold=2
    )
    created = recording.manifest.get("time_created")
    facts = [f"{created:%Y-%m-%d %H:%M:%S}" if created is not None else ""]
    facts.append(
        f"{recording.length_s:g} s" if recording.length_s is not None else "end not written"
    )
    facts.append("in virtual time" if attributes.get("time") == "virtual" else "")
    facts.append(f"subject {attributes['subject_id']}" if attributes.get("subject_id") else "")
    facts.append(str(attributes.get("user_comment", "")))
    write(row, "   ".join(fact for fact in facts if fact), 44, 8, GREY)
    if not attributes.get("success", True):
        reason = str(attributes.get("failure_reason", "")).splitlines() or [""]
        write(row, f"failed: {reason[0][:110]}", 24, LEFT + 220, LOSS)
    return row


def _grid(body: Picture, scale: Scale) -> None:
    """Draw a faint vertical line at each mark of the axis, behind everything else."""
    for time_usec in scale.marks():
        column = body[:, scale.x(time_usec)]
        column[(column == 255).all(axis=1)] = FAINT


def _axis(scale: Scale) -> Picture:
    row = canvas(_AXIS)
    cv2.line(row, (LEFT, 2), (scale.right, 2), INK, 1)
    for time_usec in scale.marks():
        x = scale.x(time_usec)
        cv2.line(row, (x, 2), (x, 8), INK, 1)
        text = scale.shown(time_usec)
        width = text_width(text)
        write(row, text, 24, min(x - width // 2, WIDTH - width - 4))
    return row


def _left_out(opened: dict[str, RecordedStream], times: dict[str, NDArray[np.int64]]) -> Picture:
    """List the datasets that are not shown because they have no times."""
    names = [name for name in opened if name not in times and not name.startswith("journal/")]
    row = canvas(_NOTE if names else 1)
    if names:
        label(row, "")
        write(row, f"not shown (no times): {', '.join(names)}", 12, LEFT, GREY)
    return row
