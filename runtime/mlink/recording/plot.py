"""An overview of a recording as a picture: a strip of each video, a raster of its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.opencv import cv2
from mlink.recording.collection import Recording
from mlink.recording.stream import RecordedStream
from mlink.recording.video import Video
from mlink.storage.failures import storage_errors

WIDTH, LEFT, RIGHT = 1400, 170, 20
"""px: the whole picture, the names at its left, the margin at its right."""
_STRIP_PICTURES, _STRIP_HEIGHT, _RASTER_HEIGHT, _GAP, _AXIS = 8, 150, 34, 10, 40
_INK, _FAINT, _EVENT = (40, 40, 40), (200, 200, 200), (160, 80, 20)
_MAX_LINES = 40
"""Kinds of events that a raster shows, each in a line of its own; the rest is left out."""

Picture = NDArray[np.uint8]


def plot_recording(recording: Recording, path: Path) -> None:
    """Write the overview as a PNG (or whatever the name's ending says)."""
    opened = {name: recording[name] for name in recording}
    times = {name: found for name, stream in opened.items() if len(found := _times(stream))}
    if not times:
        raise StorageError(f"{recording.path} holds nothing with times: there is nothing to plot")
    first = min(0, *(int(found[0]) for found in times.values()))
    last = max(int(found[-1]) for found in times.values())
    span = (first, max(last, first + 1))
    rows: list[Picture] = []
    for name, stream in opened.items():
        if isinstance(stream, Video) and len(stream):
            rows.append(_strip(name, stream, span))
        if name in times:
            rows += _rasters(name, stream, times[name], span)
    rows.append(_axis(span))
    image = np.vstack([_canvas(_GAP), *rows])
    try:
        _, data = cv2.imencode(path.suffix or ".png", image)
    except cv2.error as error:
        raise StorageError(
            f"no picture can be written as '{path.suffix}'", remedy="Name the file ….png."
        ) from error
    with storage_errors(path):
        path.write_bytes(data.tobytes())


def _times(stream: RecordedStream) -> NDArray[np.int64]:
    try:
        return stream.times_usec
    except StorageError:
        return np.empty(0, np.int64)  # such as a table without a column of times


def _strip(name: str, video: Video, span: tuple[int, int]) -> Picture:
    """Draw pictures where their times are on the axis, evenly spread."""
    row = _canvas(_STRIP_HEIGHT)
    _write(row, name, 20)
    _write(row, f"{len(video)} frames", 40)
    if video.lost:
        _write(row, f"{video.lost} lost", 60)
    width = (WIDTH - LEFT - RIGHT) // _STRIP_PICTURES
    for at in range(_STRIP_PICTURES):
        middle = LEFT + at * width + width // 2
        time = span[0] + (middle - LEFT) * (span[1] - span[0]) // (WIDTH - LEFT - RIGHT)
        if not video.times_usec[0] <= time <= video.times_usec[-1]:
            continue
        picture = _shown(video.nearest(time).mat)
        scale = min((width - 6) / picture.shape[1], (_STRIP_HEIGHT - _GAP) / picture.shape[0])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        left = LEFT + at * width + (width - size[0]) // 2
        row[: size[1], left : left + size[0]] = small
    return row


def _shown(mat: NDArray[Any]) -> Picture:
    """Return a picture in 8-bit BGR."""
    if mat.dtype != np.uint8:
        mat = cv2.convertScaleAbs(mat, alpha=255 / max(1, int(mat.max())))
    if mat.ndim == 2 or mat.shape[2] == 1:
        return np.asarray(cv2.cvtColor(mat, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(mat[..., :3], np.uint8)


def _rasters(
    name: str, stream: RecordedStream, times: NDArray[np.int64], span: tuple[int, int]
) -> list[Picture]:
    """Draw a tick for each item; readings have a line for each line of the board."""
    kinds = {name: times}
    ids = getattr(stream, "names", None)
    if ids and list(ids[:1]) == ["line_id"]:
        lines = stream.values[:, 0]  # type: ignore[attr-defined]
        kinds = {f"{name} line {line}": times[lines == line] for line in np.unique(lines)}
    return [_raster(*item, span) for item in list(kinds.items())[:_MAX_LINES]]


def _raster(name: str, times: NDArray[np.int64], span: tuple[int, int]) -> Picture:
    row = _canvas(_RASTER_HEIGHT)
    _write(row, name, 20)
    scale = (WIDTH - LEFT - RIGHT - 1) / (span[1] - span[0])
    columns = np.unique(LEFT + ((times - span[0]) * scale).astype(np.int64))
    row[2 : _RASTER_HEIGHT - _GAP, columns] = _EVENT
    return row


def _axis(span: tuple[int, int]) -> Picture:
    row = _canvas(_AXIS)
    length_s = (span[1] - span[0]) / 1e6
    step = 10.0 ** np.floor(np.log10(max(length_s, 1e-6)))
    step = next(s for s in (step / 5, step / 2, step, step * 2) if length_s / s <= 12)
    scale = (WIDTH - LEFT - RIGHT) / length_s
    cv2.line(row, (LEFT, 4), (WIDTH - RIGHT, 4), _FAINT, 1)
    for number in range(int(length_s / step) + 1):
        x = LEFT + round(number * step * scale)
        cv2.line(row, (x, 0), (x, 8), _INK, 1)
        _write(row, f"{span[0] / 1e6 + number * step:g} s", 26, x - 10)
    return row


def _canvas(height: int) -> Picture:
    return np.full((height, WIDTH, 3), 255, np.uint8)


def _write(row: Picture, text: str, y: int, x: int = 8) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's letters have no others
    cv2.putText(row, plain[-24:], (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
