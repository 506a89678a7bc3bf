"""Pending encodings of a recording: one job for each file that was recorded raw."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlink.errors import StorageError
from mlink.modules.video.deferred import ATTRIBUTE, DeferredEncoding
from mlink.storage.inside import RecordingFile
from mlink.storage.tree import UnitFolder, collection_folder, units_below
from mlink.storage.tsync.reader import scan_tsync


class Job(msgspec.Struct, kw_only=True):
    """One video file to encode, and the tsync file with the times of its frames."""

    folder: str
    """The dataset's folder."""
    dataset: str
    source: str
    tsync: str
    wanted: DeferredEncoding
    frames: int = 0
    """Frames of the file, by its times."""
    framerate: float = 0.0
    """Hz, as the source announced it; 0 when it is unknown."""
    pixels: str = ""
    """Kind of the recorded frames, e.g. "bgr8"."""
    bits: int = 0
    """Bits of their values that are used; 0: all."""

    @property
    def target(self) -> str:
        """Name of the encoded file."""
        return f"{Path(self.source).stem}.{self.wanted.extension}"

    def file(self, name: str) -> RecordingFile:
        """Return a file of the dataset, by its name."""
        return UnitFolder(Path(self.folder), self.dataset).file(name)

    @property
    def label(self) -> str:
        """Name of the file in messages and reports."""
        return f"{self.dataset}/{self.source}"


def pending_units(
    path: Path, failed: list[str] | None = None
) -> list[tuple[UnitFolder, DeferredEncoding]]:
    """Return the datasets of a recording that are not encoded yet, and how to encode each.

    Args:
        path: Folder of the recording.
        failed: Gets a text for each dataset with wrong settings, instead of an exception.

    Raises:
        StorageError: The folder is not a recording, or a dataset's settings are wrong.
    """
    collection_folder(path)
    found = []
    for unit in units_below(path):
        table = unit.attributes.get(ATTRIBUTE, {})
        if table.get("state") != "pending" or unit.refused:
            continue
        try:
            found.append((unit, _wanted(unit, table)))
        except StorageError as error:
            if failed is None:
                raise
            failed.append(f"{error.message}. {error.remedy}")
    return found


def jobs_of(unit: UnitFolder, wanted: DeferredEncoding) -> list[Job]:
    """Return a job for each video file of a dataset.

    Raises:
        StorageError: The dataset does not have one tsync file per video file.
    """
    unit.refuse_not_files()
    videos = [name for name in unit.part_names("data") if unit.file(name).exists()]
    times = unit.tsync_names
    if len(videos) != len(times):
        raise StorageError(
            f"{unit.name}: {len(videos)} video file(s), but {len(times)} tsync file(s)",
            remedy="A crash caused this: repair the recording with mlink repair.",
        )
    video = unit.attributes.get("video", {})
    return [
        Job(
            folder=str(unit.path),
            dataset=unit.name,
            source=name,
            tsync=tsync,
            wanted=wanted,
            frames=scan_tsync(unit.file(tsync)).pairs,
            framerate=float(video.get("framerate", 0.0)),
            pixels=wanted.pixels or str(video.get("pixels", "")),
            bits=wanted.bits,
        )
        for name, tsync in zip(videos, times, strict=True)
    ]


def _wanted(unit: UnitFolder, table: dict[str, object]) -> DeferredEncoding:
    try:
        return msgspec.convert(table, DeferredEncoding)
    except msgspec.ValidationError as error:
        raise StorageError(
            f"{unit.name}: wrong settings of the encoding: {error}",
            remedy=f"Correct [{ATTRIBUTE}] in {unit.path}/attributes.toml.",
        ) from error
