"""Checks of videos and tsync files: as many times as pictures, complete, in order."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from mlink.recording.care.checks import Checked, present
from mlink.recording.video_file import VideoProbe, bytes_behind, probe
from mlink.storage.inside import RecordingFile
from mlink.storage.tree import UnitFolder
from mlink.storage.tsync_format import TimeUnit, TsyncMode
from mlink.storage.tsync_reader import TsyncData, read_tsync
from mlink.storage.tsync_repair import torn_pairs


def check_video(unit: UnitFolder, *, decode: bool) -> Checked:
    """Compare the pictures of each file with its times.

    Args:
        unit: The dataset.
        decode: Also decode every picture, which is slow.
    """
    found = Checked(items=0, times=0)
    parts = present(unit)
    tsync_names = [name for name in unit.tsync_names if unit.file(name).exists()]
    if len(tsync_names) != len(parts):
        # A kill may come between the two entries of a new file: the other one is there then.
        entered = not _has_stranger(unit, tsync=len(tsync_names) < len(parts))
        text = f"{len(parts)} video file(s), but {len(tsync_names)} tsync file(s)"
        (found.damage if entered else found.unfinished).append(text)
    last = None
    for name, tsync_name in itertools.zip_longest(parts, tsync_names):
        probed = VideoProbe(0, finished=True)
        if name is not None:
            probed = probe(unit.file(name), decode=decode)
            found.items = (found.items or 0) + probed.frames
            _add_file(found, name, probed, decode=decode)
            if probed.finished and (surplus := bytes_behind(unit.file(name))):
                found.damage.append(f"{name} goes on for {surplus} bytes after its end")
        if tsync_name is None:
            continue
        tsync = check_tsync(found, unit.file(tsync_name))
        if tsync is None:
            continue
        times = len(tsync.times)
        if tsync.pairs_behind:  # which times are missing is not known
            last = None
            continue
        if tsync.problem:  # some pairs of the torn block can be saved
            times += len(torn_pairs(unit.file(tsync_name), tsync))
        _compare(found, name or tsync_name, probed.frames, times)
        last = _check_order(found, tsync_name, tsync, last)
    written = unit.attributes.get("frame_count")
    if written is None and found.items:
        found.unfinished.append("the attribute frame_count is missing")
    elif isinstance(written, int) and written != found.items:
        found.damage.append(f"{found.items} frames are there, {written} were written")
    return found


def _has_stranger(unit: UnitFolder, *, tsync: bool) -> bool:
    return any(name.endswith(".tsync") == tsync for name in unit.strangers)


def check_tsync(found: Checked, file: RecordingFile) -> TsyncData | None:
    """Check the checksums of a tsync file and add its times; None when it cannot be read."""
    tsync = read_tsync(file, salvage=True)
    if tsync.pairs_behind:
        text = f"{len(tsync.times)} pairs before and {tsync.pairs_behind} behind are intact"
        found.damage.append(f"{file.name} is damaged: {tsync.problem}; {text}")
    elif tsync.problem:
        found.unfinished.append(f"{file.name} is torn: {tsync.problem}")
    found.add_times(tsync)
    return tsync


def check_tsync_only(unit: UnitFolder) -> Checked:
    """Check a dataset of tsync files only, e.g. the pairs of a clock synchroniser."""
    found = Checked()
    for name in unit.tsync_names:
        if unit.file(name).exists():
            tsync = check_tsync(found, unit.file(name))
            if tsync is not None and tsync.header.mode is TsyncMode.CONTINUOUS:
                _check_order(found, name, tsync, None)
    return found


def _add_file(found: Checked, name: str, probed: VideoProbe, *, decode: bool) -> None:
    if not probed.finished:
        found.unfinished.append(f"{name} was not closed: its length and index are missing")
        if probed.problem and not probed.frames:
            found.unfinished.append(f"{name} contains no pictures: {probed.problem}")
    elif probed.problem and decode:
        found.damage.append(f"{name} has errors when decoded: {probed.problem}")
    elif probed.problem:
        found.damage.append(f"{name} can be read up to frame {probed.frames}: {probed.problem}")


def _compare(found: Checked, name: str, frames: int, times: int) -> None:
    if frames > times:
        found.damage.append(f"{name}: {frames} frames, but only {times} times")
    elif frames < times:
        found.unfinished.append(
            f"{name}: {frames} frames, {times} times; the last {times - frames} have no picture"
        )


def _check_order(found: Checked, name: str, tsync: TsyncData, last: int | None) -> int | None:
    times: NDArray[np.int64] = tsync.times
    if not len(times):
        return last
    if tsync.header.columns[0].unit is TimeUnit.INDEX and not np.array_equal(
        times[:, 0], np.arange(len(times)) + times[0, 0]
    ):
        found.damage.append(f"{name}: frame numbers are not consecutive")
    steps = np.diff(times[:, 1], prepend=times[0, 1] if last is None else last)[last is None :]
    if backwards := int((steps < 0).sum()):
        found.damage.append(f"{name}: {backwards} time(s) are earlier than the one before")
    if repeated := int((steps == 0).sum()):
        found.notes.append(f"{name}: {repeated} time(s) are equal to the one before")
    return int(times[-1, 1])
