"""What a page shows of a recording: its overview, stretches of its streams, and pictures.

All is read by the accessors of `mlink.recording`, which bound what the files of a stranger give.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlink import recording
from mlink.errors import StorageError
from mlink.opencv import cv2
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.table import Table
from mlink.recording.times import add_times
from mlink.recording.video import Video
from mlink.storage.failures import UNEXPECTED, damage_of
from mlink.storage.inspect import DatasetSummary, inspect_recording
from mlink.view.messages import FARTHEST, Items
from mlink.view.picture import make_picture
from mlink.view.thin import plain, thinned
from mlink.view.wire import packed_picture

_BINS = 600
"""Parts of the run for which the overview counts items."""
_MOST_STREAMS, _MOST_GAPS, _MOST_LINES = 500, 1_000, 64
_MOST_POINTS = 4_000
_MOST_ROWS = 100
_MOST_CELLS, _CELL_LENGTH = 64, 500


class StreamOverview(msgspec.Struct, kw_only=True):
    """One dataset of a recording."""

    name: str
    kind: str
    """"video", "table", "json", "zarr", "tsync", "journal", "other" or "empty"."""
    entries: int | None
    lost: int | None
    not_taken: int | None
    rate_hz: float | None
    size: int
    uncertainty_usec: float | None
    timestamp_source: str
    counts: list[int] = []
    """Items in each of 600 equal parts of the run; empty where they have no times."""
    gaps: list[int] = []
    """Master times at which the recorder found that items were lost."""
    problems: list[str] = []


class RecordingOverview(msgspec.Struct, kw_only=True):
    """A recording, as its page shows it at first."""

    name: str
    path: str
    closed: bool
    success: bool | None
    failure: str
    length_s: float | None
    first_usec: int
    last_usec: int
    facts: dict[str, str]
    """What the manifest knows beside: when, by whom, of which subject, with what."""
    streams: list[StreamOverview]
    problems: list[str]


class RecordedView:
    """Answers the questions of a page about one recording.

    Args:
        path: The folder of the recording.

    Raises:
        StorageError: It is not a recording.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recording = recording.open(path)
        self._times: dict[str, tuple[NDArray[np.int64], NDArray[np.intp] | None]] = {}
        self._lines: dict[str, dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}

    @cached_property
    def overview(self) -> RecordingOverview:
        """The recording and its streams."""
        summary = inspect_recording(self._path)
        left_out = len(summary.datasets) - _MOST_STREAMS
        datasets = summary.datasets[:_MOST_STREAMS]
        add_times(datasets, self._recording)
        firsts = [each.first_usec for each in datasets if each.first_usec is not None]
        lasts = [each.last_usec for each in datasets if each.last_usec is not None]
        first = max(-FARTHEST, min([0, *firsts]))
        last = min(FARTHEST, max([first + 1, round((summary.length_s or 0) * 1e6), *lasts]))
        attributes = summary.attributes
        facts = {
            "recorded": summary.time_created[:19].replace("T", " "),
            "by": ", ".join(summary.authors),
            "subject": str(attributes.get("subject_id") or ""),
            "comment": str(attributes.get("user_comment") or ""),
            "with": summary.generator,
            "on": str(attributes.get("machine_node") or ""),
            "time": "virtual" if attributes.get("time") == "virtual" else "",
        }
        return RecordingOverview(
            name=summary.name,
            path=summary.path,
            closed=summary.closed,
            success=summary.success,
            failure=summary.failure_reason if summary.closed else "",
            length_s=summary.length_s,
            first_usec=first,
            last_usec=last,
            facts={key: text[:_CELL_LENGTH] for key, text in facts.items() if text},
            streams=[self._stream(each, first, last) for each in datasets],
            problems=summary.problems[:_MOST_ROWS]
            + ([f"{left_out} more datasets are not shown"] if left_out > 0 else []),
        )

    def part(self, name: str, begin_usec: int, end_usec: int, most: int) -> Items:
        """Return a stretch of a stream, as the live page gets its items.

        Args:
            name: The stream.
            begin_usec: Start of the stretch. What comes before and holds is part of it.
            end_usec: Its end; of rows the moment about which they are wanted.
            most: Points of a channel or line that the page can show.

        Raises:
            StorageError: There is no such stream, or it cannot be read.
        """
        stream = self._recording[name]
        most = max(10, min(most, _MOST_POINTS))
        try:
            return self._part(stream, begin_usec, end_usec, most)
        except StorageError:
            raise
        except UNEXPECTED as error:
            raise StorageError(f"'{name}' cannot be shown: {damage_of(error)}") from error

    def picture(self, name: str, time_usec: int, width: int) -> bytes:
        """Return the frame at a time, as the live page gets its pictures.

        Raises:
            StorageError: There is no such video, it has no frames, or cannot be decoded.
        """
        video = self._recording[name]
        if not isinstance(video, Video):
            raise StorageError(f"'{name}' has no pictures")
        if not len(video):
            raise StorageError(f"'{name}' has no frames")
        times = video.times_usec
        index = max(0, video.index_at(time_usec))
        try:
            picture = make_picture(name, video[index], width, time_usec, video.bits)
        except StorageError:
            raise
        except (*UNEXPECTED, cv2.error) as error:
            raise StorageError(f"frame {index} cannot be shown: {damage_of(error)}") from error
        beside = {
            "before_usec": int(times[index - 1]) if index else None,
            "after_usec": int(times[index + 1]) if index + 1 < len(times) else None,
        }
        return packed_picture(picture, beside)

    # -- overview --------------------------------------------------------------------------------

    def _stream(self, summary: DatasetSummary, first: int, last: int) -> StreamOverview:
        attributes, problems = summary.attributes, list(summary.problems)
        counts: list[int] = []
        gaps = []
        if summary.first_usec is not None and summary.kind != "journal":
            try:
                times = np.asarray(self._recording[summary.name].times_usec)
                found, _ = np.histogram(times, bins=_BINS, range=(first, last))
                counts = [int(count) for count in found]
            except UNEXPECTED as error:
                problems.append(damage_of(error))
        with suppress(*UNEXPECTED):
            gaps = [int(gap["found_at_usec"]) for gap in attributes.get("gaps", ())[:_MOST_GAPS]]
        return StreamOverview(
            name=summary.name,
            kind=summary.kind,
            entries=summary.entries,
            lost=summary.lost,
            not_taken=summary.not_taken,
            rate_hz=summary.rate_hz,
            size=summary.size,
            uncertainty_usec=_number(attributes.get("uncertainty_usec")),
            timestamp_source=str(attributes.get("timestamp_source", ""))[:_CELL_LENGTH],
            counts=counts,
            gaps=gaps,
            problems=problems[:_MOST_ROWS],
        )

    # -- stretches -------------------------------------------------------------------------------

    def _part(self, stream: RecordedStream, begin: int, end: int, most: int) -> Items:
        if isinstance(stream, Signals) and stream.values.dtype != object:
            if stream.names[:1] == ["line_id"] and len(stream.names) > 1:
                return self._levels(stream, begin, end, most)
            return self._curves(stream, begin, end, most)
        times, order = self._ordered(stream)
        now = int(np.searchsorted(times, end, side="right"))
        start, stop = max(0, now - _MOST_ROWS // 2), now + _MOST_ROWS // 2
        rows = range(start, min(stop, len(times))) if order is None else order[start:stop].tolist()
        columns: dict[str, list[Any]] = {"time_usec": times[start:stop].tolist()}
        columns["cells"] = _cells(stream, rows)
        about = {"titles": _titles(stream), "now": now - start - 1}
        return Items(stream.name, columns, len(times), last=about)

    def _levels(self, stream: Signals, begin: int, end: int, most: int) -> Items:
        if stream.name not in self._lines:
            times, order = self._ordered(stream)
            values = stream.values if order is None else stream.values[order]
            self._lines[stream.name] = {
                int(line): (times[of_line], values[of_line, 1].astype(np.float64))
                for line in np.unique(values[:, 0])[:_MOST_LINES]
                if np.isfinite(line) and len(of_line := np.flatnonzero(values[:, 0] == line))
            }
        columns: dict[str, list[Any]] = {"line": [], "value": [], "time_usec": []}
        for line, (times, values) in self._lines[stream.name].items():
            about = _about(times, begin, end)
            found, data = thinned(times[about], values[about, np.newaxis], most)
            columns["line"] += [line] * len(found)
            columns["value"] += plain(data[:, 0])
            columns["time_usec"] += found.tolist()
        return Items(stream.name, columns, len(stream))

    def _curves(self, stream: Signals, begin: int, end: int, most: int) -> Items:
        times, order = self._ordered(stream)
        about = _about(times, begin, end)
        rows = about if order is None else order[about]
        data = stream.values[rows, :_MOST_LINES].astype(np.float64)
        data = data * float(stream.attributes.get("data_scale", 1.0))
        data += float(stream.attributes.get("data_offset", 0.0))
        found, thin = thinned(times[about], data, most)
        columns: dict[str, list[Any]] = {"time_usec": found.tolist()}
        columns["data"] = [plain(channel) for channel in thin.T]
        names = [str(name)[:_CELL_LENGTH] for name in stream.names[:_MOST_LINES]]
        return Items(stream.name, columns, len(stream), last={"titles": names, "unit": stream.unit})

    def _ordered(self, stream: RecordedStream) -> tuple[NDArray[np.int64], NDArray[np.intp] | None]:
        """Return the times of a stream in order, and the order if it is not that of the file."""
        if stream.name not in self._times:
            times = np.clip(stream.times_usec, -FARTHEST, FARTHEST)
            order = None
            if len(times) > 1 and bool((np.diff(times) < 0).any()):
                order = np.argsort(times, kind="stable")
                times = times[order]
            self._times[stream.name] = times, order
        return self._times[stream.name]


def _about(times: NDArray[np.int64], begin: int, end: int) -> slice:
    """Return the items of a stretch, with the one before it and the one after it."""
    first, last = np.searchsorted(times, [begin, end])
    return slice(max(0, int(first) - 1), int(last) + 1)


def _titles(stream: RecordedStream) -> list[str]:
    found = stream.header if isinstance(stream, Table) else [*stream.columns()]
    return [str(title)[:_CELL_LENGTH] for title in found[:_MOST_CELLS]]


def _cells(stream: RecordedStream, rows: Any) -> list[list[str]]:
    if isinstance(stream, Table):
        found: Callable[[int], list[Any]] = lambda at: stream.rows[at]  # noqa: E731
    else:
        columns = list(stream.columns().values())[:_MOST_CELLS]
        found = lambda at: [column[at] for column in columns]  # noqa: E731
    return [[str(cell)[:_CELL_LENGTH] for cell in found(at)[:_MOST_CELLS]] for at in rows]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
