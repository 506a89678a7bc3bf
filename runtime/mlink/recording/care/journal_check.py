"""Checks a module's journal, and cuts off what a kill left half-written at its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mlink.errors import StorageError
from mlink.metadata import decode_metadata
from mlink.recording.care.checks import Checked
from mlink.recording.journal import (
    Header,
    Item,
    Record,
    Sent,
    Stop,
    StreamMetadata,
    read_journal,
    record_batches,
)
from mlink.recording.journal_file import frame_behind
from mlink.storage.failures import storage_errors
from mlink.storage.tree import UnitFolder
from mlink.transport.codec import is_small, small_decoder
from mlink.types import DataType

COUNT = "record_count"
"""Attribute of a journal's dataset: how many records were written, known when it was closed."""

Decoder = Callable[[bytes], object]


@dataclass(slots=True)
class JournalState:
    """What a journal's file holds."""

    records: int = 0
    first_usec: int | None = None
    last_usec: int | None = None
    stopped: bool = False
    """Whether the module saw the run's stop."""
    went_back: int = 0
    """Records that are earlier than the one before them."""
    most_back_usec: int = 0
    whole_bytes: int = 0
    """Where its last whole frame ends."""
    torn_bytes: int = 0
    """What is there behind it."""
    damage: list[str] = field(default_factory=list)


def examine_journal(path: Path) -> JournalState:
    """Read a journal to its end and say in which state it is; StorageError from the disk only."""
    found = JournalState()
    with storage_errors(path, "read"):
        size = path.stat().st_size
    try:
        if size:
            _read_all(path, found)
    except StorageError as error:
        found.damage.append(error.message)
        return found
    found.torn_bytes = size - found.whole_bytes
    if found.torn_bytes and (behind := frame_behind(path, found.whole_bytes)) is not None:
        found.damage.append(
            f"{path.name}: bytes {found.whole_bytes} to {behind} cannot be read, what follows can"
        )
    return found


def check_journal(unit: UnitFolder) -> Checked:
    """Count records; find torn ends, damage, and times that go back."""
    found = Checked(items=0)
    for name in _present(unit):
        state = examine_journal(unit.path / name)
        _add(found, name, state)
        written = unit.attributes.get(COUNT)
        if state.damage or state.torn_bytes:
            continue
        if written is not None and written != found.items:
            found.damage.append(f"{found.items} records are there, {written} were written")
        elif not state.stopped:
            found.notes.append(f"{name}: it ends before the module saw the run's stop")
    return found


def cut_journals(unit: UnitFolder) -> tuple[dict[str, Any], list[str], list[str]]:
    """Cut torn ends off.

    Returns attributes to write, what was done, and files that hold no record at all.

    Raises:
        StorageError: Something before the end is damaged; nothing is touched then.
    """
    told: list[str] = []
    empty: list[str] = []
    records = 0
    for name in _present(unit):
        path = unit.path / name
        state = examine_journal(path)
        if state.damage:
            raise StorageError(state.damage[0], remedy="Restore it from a copy, or replay without.")
        records += state.records
        if not state.whole_bytes:
            empty.append(name)
            told.append(f"{name} was begun but holds no record; it is left out of the manifest")
        elif state.torn_bytes:
            with storage_errors(path), path.open("rb+") as file:
                file.truncate(state.whole_bytes)
                os.fsync(file.fileno())
            told.append(f"{name}: cut off {state.torn_bytes} bytes of records that are not whole")
    return {COUNT: records}, told, empty


def _read_all(path: Path, found: JournalState) -> None:
    check: _PayloadCheck | None = None
    for end, records in record_batches(path):
        if check is None:
            check = _PayloadCheck(read_journal(path).header)
        for record in records:
            time_usec = record.time_usec
            if found.last_usec is not None and time_usec < found.last_usec:
                found.went_back += 1
                found.most_back_usec = max(found.most_back_usec, found.last_usec - time_usec)
            else:
                found.last_usec = time_usec
            if found.first_usec is None:
                found.first_usec = time_usec
            found.stopped |= isinstance(record, Stop)
            if (problem := check(record)) and not found.damage:
                found.damage.append(
                    f"{path.name}: an item met at {time_usec} µs cannot be read: {problem}"
                )
        found.records += len(records)
        found.whole_bytes = end


class _PayloadCheck:
    """Says why a record's own content is not what its port carries; "" when it is."""

    def __init__(self, header: Header) -> None:
        self._met = [_decoder(port.data_type) for port in header.inputs]
        self._sent = [_decoder(port.data_type) for port in header.outputs]

    def __call__(self, record: Record) -> str:
        try:
            match record:
                case Item(port=port, what=what):
                    decode = self._met[port]
                    if (decode is not None) is not isinstance(what, bytes):
                        return "it is not of its input's type"
                    if decode is not None and isinstance(what, bytes):
                        decode(what)
                case Sent(port=port, payload=payload):
                    if (decode := self._sent[port]) is None:
                        return "it is not of its output's type"
                    decode(payload)
                case StreamMetadata(packed=packed):
                    decode_metadata(packed)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            return str(error)
        return ""


def _decoder(data_type: str) -> Decoder | None:
    kind = DataType(data_type)
    return small_decoder(kind) if is_small(kind) else None


def _add(found: Checked, name: str, state: JournalState) -> None:
    found.items = (found.items or 0) + state.records
    found.first_usec, found.last_usec = state.first_usec, state.last_usec
    found.damage += state.damage
    if state.torn_bytes and not state.damage:
        found.unfinished.append(
            f"{name} ends within its records: {state.torn_bytes} bytes are not whole"
        )
    elif not state.whole_bytes and not state.damage:
        found.unfinished.append(f"{name} was begun but holds no record")
    if state.went_back:
        found.notes.append(
            f"{name}: {state.went_back} records are earlier than the one before, by "
            f"{state.most_back_usec} µs at most: threads of the module's own cause this"
        )


def _present(unit: UnitFolder) -> list[str]:
    return [name for name in unit.part_names("data") if (unit.path / name).is_file()]
