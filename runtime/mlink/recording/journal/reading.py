"""The journal of a module: what it received and sent in a run, and when; read by a replay.

The file is a sequence of zstd frames. Each contains one msgpack array of records. The first record
is the header, a map. The others are arrays [kind, master time in µs, …]:

    ITEM       an item was delivered: input number, sequence number in its stream, and the item:
               its msgpack (small types), [index, time_usec] (frames), [first timestamp, rows]
               (signal blocks)
    TIMER      a delayed call was made: its number, from 0, its delay in µs, and how late in µs
    WAIT       a wait ended: its intended length in µs, and how late in µs
    START, STOP, FINISH    start() was called; a stop was requested; stop() was called
    SENT       an item was sent: output number, its msgpack (small types only)
    METADATA   input number, metadata of its stream (mlink.metadata), at the start
    CLOCK      the module read the time, with this result

How late is left out up to LATE_USEC. It is counted from the event whose handler has requested the
call or wait: a process that stood still in between was late, too.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from mlink.errors import StorageError
from mlink.metadata import Metadata, decode_metadata
from mlink.recording.journal.file import whole_frames
from mlink.storage.inside import RecordingFile, Source, as_file
from mlink.types import DataType

GROUP = "journal"
"""Group of a recording that contains the journals, one dataset per module."""
COUNT = "record_count"
"""Attribute of a journal's dataset: number of records, written when the journal is closed."""
LATE_USEC = 100_000
"""Delay of a call or wait in µs from which it is recorded."""
_REMEDY = "See `mlink verify`. To replay without it, move its folder out of the recording."

_RECORDS, _RECORDS_PER_BYTE = 4 << 20, 4
"""Records that are read of any file, or for each of its bytes; a writer's have more bytes."""

_LATEST_USEC = 1 << 53
"""Bound of all times, either side of 0: 285 years."""

Number = Annotated[int, msgspec.Meta(ge=0, lt=_LATEST_USEC)]
Time = Annotated[int, msgspec.Meta(gt=-_LATEST_USEC, lt=_LATEST_USEC)]


class Kind(enum.IntEnum):
    """Kinds of records.

    The first element of each record (a msgpack array) is its kind, the second its master time, µs.
    """

    ITEM = 0
    TIMER = 1
    WAIT = 2
    START = 3
    STOP = 4
    SENT = 5
    CLOCK = 6
    METADATA = 7
    FINISH = 8


class Port(msgspec.Struct, array_like=True, frozen=True):
    """A port in a header; records refer to it by its position."""

    id: str
    data_type: str
    source: str = ""
    """ "module.port" of an input."""


class Header(msgspec.Struct, frozen=True):
    """First record of a journal: the module and its ports."""

    module: str
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


class _Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    time_usec: Time


class Item(_Record, tag=int(Kind.ITEM)):
    """An item was delivered to the module.

    `port` is the position of the input in the header, `seq` the item's number in its stream.
    """

    port: Number
    seq: int
    what: bytes | tuple[int, int]


class Timer(_Record, tag=int(Kind.TIMER)):
    """A delayed call was made."""

    number: Number
    delay_usec: int
    late_usec: Number = 0


class Wait(_Record, tag=int(Kind.WAIT)):
    """A wait ended."""

    length_usec: int
    late_usec: Number = 0


class Start(_Record, tag=int(Kind.START)):
    """start() was called."""


class Stop(_Record, tag=int(Kind.STOP)):
    """A stop was requested."""


class Sent(_Record, tag=int(Kind.SENT)):
    """The module sent an item.

    `port` is the position of the output in the header, `payload` the item as it was sent.
    """

    port: Number
    payload: bytes


class ClockAnswer(_Record, tag=int(Kind.CLOCK)):
    """The module read the time."""


class StreamMetadata(_Record, tag=int(Kind.METADATA)):
    """Metadata of the stream of an input.

    `port` is the position of the input in the header, `packed` the msgpack of the metadata.
    """

    port: Number
    packed: bytes


class Finish(_Record, tag=int(Kind.FINISH)):
    """stop() was called."""


Record: TypeAlias = (
    Item | Timer | Wait | Start | Stop | Sent | ClockAnswer | StreamMetadata | Finish
)
RecordT = TypeVar("RecordT", bound=_Record)
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_records = msgspec.msgpack.Decoder(list[Record]).decode
_decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_header = msgspec.msgpack.Decoder(Header).decode


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal file. Its records are not kept in memory: each call reads the file again."""

    file: RecordingFile
    header: Header

    def records(self) -> Iterator[Record]:
        """Yield all records, up to the end of the last complete frame.

        Raises:
            StorageError: A complete frame cannot be decoded.
        """
        for _, records in record_batches(self.file):
            yield from records

    def of_kind(self, kind: type[RecordT]) -> Iterator[RecordT]:
        """Yield the records of one kind."""
        return (record for record in self.records() if isinstance(record, kind))

    def metadata_of(self, source: str) -> Metadata:
        """Return the metadata of a stream "module.port"; empty when it is not an input here."""
        numbers = self._inputs_from(source)
        for record in self.of_kind(StreamMetadata):
            if record.port in numbers:
                return decode_metadata(record.packed)
        return {}

    def items_of(self, source: str) -> Iterator[tuple[int, bytes]]:
        """Yield (time of delivery in µs, msgpack of the item) of a stream of small items."""
        numbers = self._inputs_from(source)
        for record in self.of_kind(Item):
            if record.port in numbers and isinstance(record.what, bytes):
                yield record.time_usec, record.what

    def deliveries_of(self, source: str) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield (time of delivery in µs, what identifies the item) of frames or signal blocks."""
        numbers = self._inputs_from(source)
        for record in self.of_kind(Item):
            if record.port in numbers and not isinstance(record.what, bytes):
                yield record.time_usec, record.what

    def _inputs_from(self, source: str) -> set[int]:
        return {number for number, port in enumerate(self.header.inputs) if port.source == source}


def read_journal(source: Source) -> Journal:
    """Open a journal.

    Raises:
        StorageError: Its header cannot be read.
    """
    path = as_file(source)
    for _, content in whole_frames(path):
        return Journal(path, _split_first(path, content)[0])
    raise StorageError(f"{path} is not a journal, or its start is lost", remedy=_REMEDY)


def record_batches(source: Source) -> Iterator[tuple[int, list[Record]]]:
    """Yield (end in the file in bytes, its records) of each complete frame.

    Raises:
        StorageError: A complete frame contains something other than records.
    """
    path = as_file(source)
    header: Header | None = None
    count, most = 0, max(_RECORDS, _RECORDS_PER_BYTE * path.size())
    for end, content in whole_frames(path):
        count += min(_count(content), len(content))
        if count > most:
            raise _damage(path, f"more than {most:,} records", "its size is that of far fewer")
        if header is None:
            header, records = _split_first(path, content)
        else:
            try:
                records = _decode_records(content)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise _damage(path, f"the records before byte {end}", error) from error
        if not all(_is_of(record, header) for record in records):
            raise _damage(path, f"the records before byte {end}", "one has an unknown port")
        yield end, records


def _count(content: bytes) -> int:
    """Return the number of elements of an array in msgpack; 0 for what is no array."""
    first, number = content[:1], content[1:5]
    if first == b"\xdd":
        return int.from_bytes(number, "big")
    if first == b"\xdc":
        return int.from_bytes(number[:2], "big")
    return 0


def _split_first(path: RecordingFile, content: bytes) -> tuple[Header, list[Record]]:
    try:
        head, *others = _decode_raw(content)
        header = _decode_header(head)
        for port in (*header.inputs, *header.outputs):
            DataType.from_name(port.data_type)
    except (ValueError, KeyError, RecursionError) as error:  # also those of msgspec
        raise _damage(path, "its header", error) from error
    try:
        return header, [_decode_record(raw) for raw in others]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _damage(path, "its first records", error) from error


def _is_of(record: Record, header: Header) -> bool:
    if isinstance(record, Item | StreamMetadata):
        return record.port < len(header.inputs)
    return not isinstance(record, Sent) or record.port < len(header.outputs)


def _damage(path: RecordingFile, what: str, why: object) -> StorageError:
    return StorageError(f"{path.name}: {what} cannot be read: {why}", remedy=_REMEDY)
