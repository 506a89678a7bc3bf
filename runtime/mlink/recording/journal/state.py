"""Reads a journal to its end: counts its records, and finds torn and damaged parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from mlink.errors import StorageError
from mlink.metadata import decode_metadata
from mlink.recording.journal.file import frame_behind
from mlink.recording.journal.reading import (
    Header,
    Item,
    Record,
    Sent,
    Stop,
    StreamMetadata,
    read_journal,
    record_batches,
)
from mlink.storage.inside import RecordingFile, Source, as_file
from mlink.transport.codec import is_small, small_decoder
from mlink.types import DataType

Decoder = Callable[[bytes], object]


@dataclass(slots=True)
class JournalState:
    """Contents and condition of a journal file.

    Times are µs of the master timer. `damage` has texts for people.
    """

    records: int = 0
    first_usec: int | None = None
    last_usec: int | None = None
    stop_usec: int | None = None
    """Master time at which the module was asked to stop; None when the run was killed."""
    went_back: int = 0
    """Records that are earlier than the one before them."""
    most_back_usec: int = 0
    whole_bytes: int = 0
    """End of its last complete frame."""
    torn_bytes: int = 0
    """Bytes behind that end."""
    damage: list[str] = field(default_factory=list)


def examine_journal(source: Source) -> JournalState:
    """Read a journal to its end. Damage is returned, not raised.

    Raises:
        StorageError: The file cannot be read from the disk.
    """
    found = JournalState()
    path = as_file(source)
    with path.open() as file:
        size = os.fstat(file.fileno()).st_size
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


def _read_all(path: RecordingFile, found: JournalState) -> None:
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
            if found.stop_usec is None and isinstance(record, Stop):
                found.stop_usec = time_usec
            if (problem := check(record)) and not found.damage:
                found.damage.append(
                    f"{path.name}: the item at {time_usec} µs cannot be read: {problem}"
                )
        found.records += len(records)
        found.whole_bytes = end


class _PayloadCheck:
    """Returns why the content of a record does not match its port; "" when it does."""

    def __init__(self, header: Header) -> None:
        self._received = [_decoder(port.data_type) for port in header.inputs]
        self._sent = [_decoder(port.data_type) for port in header.outputs]

    def __call__(self, record: Record) -> str:
        try:
            match record:
                case Item(port=port, what=what):
                    decode = self._received[port]
                    if (decode is not None) is not isinstance(what, bytes):
                        return "it does not have the type of its input"
                    if decode is not None and isinstance(what, bytes):
                        decode(what)
                case Sent(port=port, payload=payload):
                    if (decode := self._sent[port]) is None:
                        return "it does not have the type of its output"
                    decode(payload)
                case StreamMetadata(packed=packed):
                    decode_metadata(packed)
        except (TypeError, ValueError, RecursionError) as error:
            return str(error)
        return ""


def _decoder(data_type: str) -> Decoder | None:
    kind = DataType.from_name(data_type)
    return small_decoder(kind) if is_small(kind) else None
