"""Checks of videos and tsync files: as many times as pictures, complete, in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlink.recording.care.checks import Checked, present
from mlink.recording.video_file import VideoFacts, VideoProbe, bytes_behind, probe
from mlink.storage.manifest import MANIFEST
from mlink.storage.tree import UnitFolder
from mlink.storage.tsync.layout import TimeUnit, TsyncHeader, TsyncMode
from mlink.storage.tsync.reader import Pairs, TsyncScan, scan_tsync, second_usec
from mlink.storage.tsync.repair import torn_pairs

_KINDS = {
    f"{name}{bits}": (channels, bits)
    for name, channels in (("gray", 1), ("bgr", 3), ("bgra", 4))
    for bits in (8, 16)
}
"""Kind of recorded frames → channels and bits."""
_EXACT = {"ffvhuff", "ffv1", "raw"}
"""Codecs that store the channels of the frames; others may store grey as colour, and no alpha."""


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
            if probed.about is not None:
                found.damage += [f"{name} {text}" for text in contradictions(unit, probed.about)]
            if probed.finished and (surplus := bytes_behind(unit.file(name))):
                found.damage.append(f"{name} goes on for {surplus} bytes after its end")
        if tsync_name is None:
            continue
        order = _Order(last)
        tsync = _check_tsync(found, unit, tsync_name, order)
        if tsync.pairs_behind:  # which times are missing is not known
            last = None
            continue
        times = tsync.pairs
        if tsync.problem:  # some pairs of the torn block can be saved
            times += len(torn_pairs(unit.file(tsync_name), tsync))
        _compare(found, name or tsync_name, probed.frames, times)
        order.report(found, tsync_name)
        last = order.last
    written = unit.attributes.get("frame_count")
    if written is None and found.items:
        found.unfinished.append("the attribute frame_count is missing")
    elif isinstance(written, int) and written != found.items:
        found.damage.append(f"{found.items} frames are there, {written} were written")
    return found


def _has_stranger(unit: UnitFolder, *, tsync: bool) -> bool:
    return any(name.endswith(".tsync") == tsync for name in unit.strangers)


def check_tsync_only(unit: UnitFolder) -> Checked:
    """Check a dataset of tsync files only, e.g. the pairs of a clock synchroniser."""
    found = Checked()
    for name in unit.tsync_names:
        if unit.file(name).exists():
            order = _Order()
            tsync = _check_tsync(found, unit, name, order)
            if tsync.header.mode is TsyncMode.CONTINUOUS:
                order.report(found, name)
    return found


def _check_tsync(found: Checked, unit: UnitFolder, name: str, order: _Order) -> TsyncScan:
    """Check owner and checksums of a tsync file; add its times to the counts and their order."""
    found.times = found.times or 0
    file = unit.file(name)

    def use(header: TsyncHeader, pairs: Pairs) -> None:
        found.add_times(second_usec(header, pairs))
        order.add(header, pairs)

    tsync = scan_tsync(file, use, salvage=True)
    if str(tsync.header.collection_id) != str(unit.manifest.get("collection_id")):
        found.damage.append(f"{name} is of another recording ({tsync.header.collection_id})")
    if tsync.pairs_behind:
        text = f"{tsync.pairs} pairs before and {tsync.pairs_behind} behind are intact"
        found.damage.append(f"{file.name} is damaged: {tsync.problem}; {text}")
    elif tsync.problem:
        found.unfinished.append(f"{file.name} is torn: {tsync.problem}")
    return tsync


def _add_file(found: Checked, name: str, probed: VideoProbe, *, decode: bool) -> None:
    if not probed.finished:
        found.unfinished.append(f"{name} was not closed: its length and index are missing")
        if probed.problem and not probed.frames:
            found.unfinished.append(f"{name} contains no pictures: {probed.problem}")
    elif probed.problem and decode:
        found.damage.append(f"{name} has errors when decoded: {probed.problem}")
    elif probed.problem:
        found.damage.append(f"{name} can be read up to frame {probed.frames}: {probed.problem}")


def contradictions(unit: UnitFolder, about: VideoFacts) -> Iterator[str]:
    """Yield what a video file says otherwise than its dataset: it is of another one, or changed."""
    manifest, attributes = unit.manifest, unit.attributes
    video, encoder = attributes.get("video", {}), attributes.get("encoder", {})
    run = str(manifest.get("collection_id", "")).replace("-", "")
    if about.collection_id and about.collection_id != run:
        yield f"is of another recording ({about.collection_id})"
    source = attributes.get("stream", {}).get("src_mod_name")
    if source and " via " in about.title and not about.title.endswith(f" via {source}"):
        yield f"is '{about.title}', but its dataset has the frames of {source}"
    elif _is_of_other_dataset(unit, about.title):
        yield f"is '{about.title}', of the dataset beside its own"
    size = about.width, about.height
    stated = video.get("frame_width", size[0]), video.get("frame_height", size[1])
    if stated != size:
        yield "has pictures of {}×{} px, not of {}×{}".format(*size, *stated)
    kind = video.get("pixels")
    if kind is None or not about.channels or _is_being_encoded(unit):
        return
    codec = encoder.get("codec", about.codec)
    if codec != about.codec:
        yield f"is encoded with {about.codec}, not with {codec}"
    found = f"{about.channels} channel(s) of {about.bits} bits"
    if kind not in _KINDS:
        yield f"has {found}; the attribute pixels is '{kind}', which no recorder writes"
        return
    channels, bits = _KINDS[kind]
    exact = about.codec in _EXACT
    if (about.bits > 8) != (bits > 8) or (
        about.channels != channels if exact else about.channels < min(channels, 3)
    ):
        yield f"has {found}, but the attribute pixels is '{kind}'"
    elif video.get("colored", channels > 1) != (channels > 1):
        yield f"has {found}; the attributes pixels and colored contradict each other"


def _is_of_other_dataset(unit: UnitFolder, title: str) -> bool:
    """Return whether a recorder has written this title into a video of the folder's neighbour."""
    name = title.partition(" via ")[0]
    if not name or {"/", "\0"} & set(name) or name in (".", "..", unit.path.name):
        return False
    beside = UnitFolder(unit.path.parent / name, str(Path(unit.name).parent / name))
    return beside.file(MANIFEST).exists()


def _is_being_encoded(unit: UnitFolder) -> bool:
    return bool(unit.attributes.get("deferred_encoding", {}).get("state") == "pending")


def _compare(found: Checked, name: str, frames: int, times: int) -> None:
    if frames > times:
        found.damage.append(f"{name}: {frames} frames, but only {times} times")
    elif frames < times:
        found.unfinished.append(
            f"{name}: {frames} frames, {times} times; the last {times - frames} have no picture"
        )


@dataclass(slots=True)
class _Order:
    """Whether the pairs of a tsync file are in order."""

    last: int | None = None
    """The time before the next one."""
    _next_number: int | None = None
    _consecutive: bool = True
    _backwards: int = 0
    _repeated: int = 0

    def add(self, header: TsyncHeader, pairs: Pairs) -> None:
        numbers, times = pairs[:, 0], pairs[:, 1]
        if header.columns[0].unit is TimeUnit.INDEX:
            first = int(numbers[0]) if self._next_number is None else self._next_number
            self._consecutive &= int(numbers[0]) == first and bool((np.diff(numbers) == 1).all())
            self._next_number = int(numbers[-1]) + 1
        before = times[:1] if self.last is None else [self.last]
        steps = np.diff(times, prepend=before)[self.last is None :]
        self._backwards += int((steps < 0).sum())
        self._repeated += int((steps == 0).sum())
        self.last = int(times[-1])

    def report(self, found: Checked, name: str) -> None:
        if not self._consecutive:
            found.damage.append(f"{name}: frame numbers are not consecutive")
        if self._backwards:
            text = f"{self._backwards} time(s) are earlier than the one before"
            found.damage.append(f"{name}: {text}")
        if self._repeated:
            found.notes.append(f"{name}: {self._repeated} time(s) are equal to the one before")
