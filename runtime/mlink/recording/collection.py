"""A recording, open for reading: its streams by name, with times on the master timer."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlink.closing import ClosesOnExit
from mlink.errors import StorageError
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.sync_points import SyncPoints
from mlink.recording.table import Table
from mlink.recording.video import Video
from mlink.storage.account import recorded_by
from mlink.storage.naming import VIDEOS, name_from_source
from mlink.storage.tree import UnitFolder, collection_folder, units_below

if TYPE_CHECKING:
    from mlink.recording.plot.overview import Overview

_KINDS: dict[str, type[RecordedStream]] = {
    "video": Video,
    "table": Table,
    "json": Signals,
    "zarr": Signals,
    "tsync": SyncPoints,
}


def _other_names(name: str, unit: UnitFolder) -> Iterator[set[str]]:
    """Yield further names of a stream, the closest ones first."""
    yield {name.rpartition("/")[2]}
    yield {f"{name}/{part.partition('.')[0]}" for part in unit.part_names("data")}
    recorder = recorded_by(unit.attributes)
    yield set() if recorder is None else {recorder.module}
    stream = unit.attributes.get("stream")
    named = name_from_source(stream) if isinstance(stream, dict) else ""
    yield {named, f"{VIDEOS}/{named}"} if unit.kind == "video" else {named}


StreamT = TypeVar("StreamT", bound=RecordedStream)


class Recording(ClosesOnExit, Mapping[str, RecordedStream]):
    """Mapping from names ("video", "events/table") to streams, each opened at its first use.

    Raises:
        StorageError: The folder is not a recording; or, on access, there is no such stream.
    """

    def __init__(self, path: Path) -> None:
        root = collection_folder(path)
        self.path = path
        self.manifest: dict[str, Any] = root.manifest
        self.attributes: dict[str, Any] = root.attributes
        units = list(units_below(path))
        self._units: dict[str, UnitFolder] = {
            unit.name: unit for unit in units if unit.type == "dataset"
        }
        self.problems: dict[str, str] = {
            unit.name: unit.problem for unit in units if unit.problem and not unit.type
        }
        """Folders of which nothing can be read, by name, and why."""
        self._open: dict[str, RecordedStream] = {}

    @property
    def collection_id(self) -> str:
        """The UUID of the recording.

        A UUIDv7, the same as the run's.
        """
        return str(self.manifest.get("collection_id", ""))

    @property
    def length_s(self) -> float | None:
        """Length of the run in s; None when its end was not written."""
        msec = self.attributes.get("recording_length_msec")
        return None if msec is None else float(msec) / 1000

    def video(self, name: str = "") -> Video:
        """Return a video; without a name the only one.

        Raises:
            StorageError: There is no such video, or several and no name was given.
        """
        return self._of_kind(name, Video, "videos")

    def table(self, name: str = "") -> Table:
        """Return a table; without a name the only one.

        Raises:
            StorageError: There is no such table, or several and no name was given.
        """
        return self._of_kind(name, Table, "tables")

    def signals(self, name: str = "") -> Signals:
        """Return signals; without a name the only ones.

        Raises:
            StorageError: There are no such signals, or several and no name was given.
        """
        return self._of_kind(name, Signals, "signals")

    def of_kind(self, kind: type[RecordedStream]) -> list[str]:
        """Return the names of all streams of a kind that contain data."""
        return [name for name, unit in self._units.items() if _KINDS.get(unit.kind) is kind]

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each stream: "video", "table", "json", "zarr", "tsync", "journal" or another."""
        return {name: unit.kind for name, unit in self._units.items()}

    def plot(self) -> Overview:
        """Draw the run: videos, levels, traces, events, texts, losses over time.

        Returns:
            The picture, which a notebook shows; `save(path)` writes it to a file.

        Raises:
            StorageError: Nothing in the recording has times.
        """
        from mlink.recording.plot.overview import plot_recording

        return plot_recording(self)

    def release(self, name: str) -> None:
        """Close a stream and forget what was read of it; its next use reads it again."""
        stream = self._open.pop(self._resolved(name), None)
        if stream is not None:
            stream.close()

    def close(self) -> None:
        """Close all files; calling it again does nothing."""
        for stream in self._open.values():
            stream.close()
        self._open.clear()

    def __getitem__(self, name: str) -> RecordedStream:
        if name in self.problems:
            raise StorageError(self.problems[name], remedy="mlink verify lists what is damaged.")
        name = self._resolved(name)
        if name not in self._units:
            close = difflib.get_close_matches(name, self._units, n=1)
            known = f"There are: {', '.join(self._units)}."
            if close:
                known = f"Did you mean '{close[0]}'?"
            raise StorageError(f"{self.path} has no stream '{name}'", remedy=known)
        if name not in self._open:
            unit = self._units[name]
            if unit.refused:
                raise StorageError(unit.problem)
            unit.refuse_not_files()
            kind = _KINDS.get(unit.kind, RecordedStream)
            self._open[name] = kind(unit)
        return self._open[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._resolved(name) in self._units

    def __iter__(self) -> Iterator[str]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def _resolved(self, name: str) -> str:
        """Return a stream's name for another one of it; the closest counts.

        "eye" is "videos/eye", "events/table" the dataset "events" with the file table.csv, and
        "video" what the module "video" of the bench recorded. In recordings of earlier versions
        "videos/eye" is what came from the module "eye", whatever its dataset is called.
        """
        if name in self._units:
            return name
        others = [(full, list(_other_names(full, unit))) for full, unit in self._units.items()]
        for at in range(len(others[0][1]) if others else 0):
            found = [full for full, names in others if name in names[at]]
            if len(found) == 1:
                return found[0]
        return name

    def _of_kind(self, name: str, kind: type[StreamT], what: str) -> StreamT:
        names = [name] if name else self.of_kind(kind)
        if len(names) != 1:
            raise StorageError(
                f"{self.path} has {len(names)} {what}",
                remedy=f"Name one of: {', '.join(names)}." if names else "Look at: mlink info",
            )
        stream = self[names[0]]
        if not isinstance(stream, kind):
            raise StorageError(f"'{name}' is a {type(stream).__name__}, not a {kind.__name__}")
        return stream
