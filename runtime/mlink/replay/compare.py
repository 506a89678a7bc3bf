"""Differences between a replay and the recorded run, as a regression test of scripts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mlink.recording
from mlink.errors import StorageError
from mlink.recording.collection import Recording
from mlink.recording.journal.reading import Journal, Sent, read_journal
from mlink.recording.signals import Signals
from mlink.recording.stream import RecordedStream
from mlink.recording.table import Table
from mlink.recording.video import Video
from mlink.tap.catalog import COMMANDS
from mlink.transport.codec import is_small, small_decoder
from mlink.types import DataType

_PIECE_BYTES = 1 << 20
_SHOWN = 160
"""Largest length of an item's text in a message."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Comparison of one stream or dataset: counts of items, and the first difference.

    `str()` gives one line for people.
    """

    name: str
    """ "module.port" of what a script sent, or the name of a dataset."""
    before: int
    """Items in the recorded run."""
    now: int
    """Items in the replay."""
    difference: str = ""
    """The first difference as text; "" when all items are equal."""

    @property
    def same(self) -> bool:
        """Whether all items are equal."""
        return not self.difference

    def __str__(self) -> str:
        return f"{self.name}: {self.difference or f'{self.now} equal items'}"


def compare(recording: Path | str, replayed: Path | str) -> list[Compared]:
    """Compare a replay with the recorded run, item by item.

    It compares the small items that scripts sent (if both runs have journals, which contain them),
    and the datasets of the same name or recorder: rows, values, pictures and their times.

    Args:
        recording: Folder of the recorded run.
        replayed: Folder of the replay's recording.

    Raises:
        StorageError: One of the recordings cannot be read, or they have nothing to compare.
    """
    with mlink.recording.open(recording) as before, mlink.recording.open(replayed) as now:
        found: list[Compared] = []
        again = {now[name].name for name in before if name in now}
        for name in before:
            if "journal" in (kinds := (before.kinds[name], now.kinds.get(name))):
                if kinds == ("journal", "journal"):
                    found += _compare_sent(_journal(before, name), _journal(now, name))
            elif name not in now and before.kinds[name] == "tsync":
                continue  # the clock of a device, and a replay has no devices
            elif name == COMMANDS:
                continue  # what people did; scripts get it from their journals
            elif name not in now:
                found.append(Compared(name, _count(before[name]), 0, "is not in the replay"))
            else:
                found.append(_compare_datasets(name, before[name], now[name]))
        found += [
            Compared(name, 0, _count(now[name]), "is new in the replay")
            for name in now
            if name not in again and now.kinds[name] != "journal"
        ]
    if not found:
        raise StorageError(
            f"{recording} and {replayed} have no journals or datasets to compare",
            remedy="Record the run with --replayable, or record what the scripts send.",
        )
    return found


def _journal(recording: Recording, name: str) -> Journal:
    dataset = recording[name]
    return read_journal(dataset.file(dataset.part_names[0]))


def _compare_sent(before: Journal, now: Journal) -> list[Compared]:
    """Compare the small items that a module sent on each of its outputs."""
    found = []
    for port in before.header.outputs:
        data_type = DataType.from_name(port.data_type)
        if not is_small(data_type):
            continue
        decode = small_decoder(data_type)
        was, then = _sent(before, port.id)
        is_now, _ = _sent(now, port.id)
        at = _first_difference(was, is_now)
        text = ""
        if at is not None:
            old = _item(decode(was[at]), then[at]) if at < len(was) else "nothing"
            new = _item(decode(is_now[at])) if at < len(is_now) else "nothing"
            text = f"item {at + 1} was {old}, now {new}{_counts(was, is_now)}"
        found.append(Compared(f"{before.header.module}.{port.id}", len(was), len(is_now), text))
    return found


def _sent(journal: Journal, port: str) -> tuple[list[bytes], list[int]]:
    numbers = [number for number, known in enumerate(journal.header.outputs) if known.id == port]
    sent = [record for record in journal.of_kind(Sent) if record.port in numbers]
    return [record.payload for record in sent], [record.time_usec for record in sent]


def _compare_datasets(name: str, before: RecordedStream, now: RecordedStream) -> Compared:
    if type(before) is not type(now):
        text = f"was a {type(before).__name__}, now is a {type(now).__name__}"
        return Compared(name, _count(before), _count(now), text)
    was, is_now = list(_items(before)), list(_items(now))
    at = _first_difference(was, is_now)
    text = ""
    if at is not None:
        old = _item(was[at]) if at < len(was) else "nothing"
        new = _item(is_now[at]) if at < len(is_now) else "nothing"
        text = f"item {at + 1} was {old}, now {new}{_counts(was, is_now)}"
    return Compared(name, len(was), len(is_now), text)


def _items(dataset: RecordedStream) -> Iterable[Any]:
    """Yield the items of a dataset as values that can be compared and printed."""
    if isinstance(dataset, Video):
        for frame in dataset:
            digest = hashlib.blake2b(
                np.ascontiguousarray(frame.mat).data, digest_size=8
            ).hexdigest()
            yield f"frame {frame.index} at {frame.time_usec} µs with pixels {digest}"
    elif isinstance(dataset, Table):
        yield from dataset.rows
    elif isinstance(dataset, Signals):
        values = dataset.values.tolist()
        stamps = dataset.timestamps.tolist() or [None] * len(values)
        for stamp, row in zip(stamps, values, strict=True):
            # as text, since NaN is not equal to itself
            yield repr(row) if stamp is None else f"{row} at {stamp}"
    else:
        for name in dataset.part_names:
            if dataset.file(name).exists():
                content = hashlib.blake2b(digest_size=8)
                with dataset.file(name).open() as file:
                    while piece := file.read(_PIECE_BYTES):
                        content.update(piece)
                yield f"{name} {content.hexdigest()}"


def _count(dataset: RecordedStream) -> int:
    return len(dataset) if isinstance(dataset, Video | Table | Signals) else 0


def _first_difference(before: Sequence[Any], now: Sequence[Any]) -> int | None:
    for at, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            return at
    return None if len(before) == len(now) else min(len(before), len(now))


def _counts(before: Sequence[Any], now: Sequence[Any]) -> str:
    return "" if len(before) == len(now) else f" ({len(before)} items before, now {len(now)})"


def _item(item: Any, time_usec: int | None = None) -> str:
    text = item if isinstance(item, str) else repr(item)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return text if time_usec is None else f"{text} at {time_usec / 1e6:.6f} s"
