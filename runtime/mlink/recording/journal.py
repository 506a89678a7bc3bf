"""A module's journal: what it met in a run, when, and what it sent; read back for a replay.

The file is a sequence of zstd frames, each one msgpack array of records. The first record is the
header, a map. The others are arrays [kind, master time in µs, …]:

    ITEM   input number, sequence number in its stream, and what it was: the item's own msgpack
           (small types), [index, time_usec] (frames), [first timestamp, rows] (signal blocks)
    TIMER  a delayed call is made: its number, from 0, and its delay in µs
    WAIT   a wait has ended: how long it was to be, in µs
    START, STOP, FINISH    start() was called; a stop was asked; stop() was called
    SENT   output number, the item's own msgpack (small types only)
    METADATA   input number, what its source said of the stream (mlink.metadata), at the start
    CLOCK  the module asked for the time, and this was the answer
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from mlink.errors import StorageError
from mlink.metadata import Metadata, decode_metadata
from mlink.storage.failures import storage_errors

GROUP = "journal"
"""Group of a recording that holds the journals, a dataset for each module."""
SUFFIX = ".journal.msgpack.zst"


class Kind(enum.IntEnum):
    """What a record tells."""

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
    """A port in a header; records give its position."""

    id: str
    data_type: str
    source: str = ""
    """ "module.port" of an input."""


class Header(msgspec.Struct, frozen=True):
    """What a journal is about."""

    module: str
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


Record = list[Any]


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal, read whole."""

    header: Header
    records: list[Record]
    torn: bool = False
    """Whether it ends within a frame: its writer was killed."""

    def metadata_of(self, source: str) -> Metadata:
        """Return what a source said of its stream; empty when this module did not hear it."""
        for _, _, number, packed in self.of_kind(Kind.METADATA):
            if self.header.inputs[number].source == source:
                return decode_metadata(packed)
        return {}

    def items_of(self, source: str) -> Iterator[tuple[int, bytes]]:
        """Yield (time met in µs, the item's msgpack) of a stream of small items."""
        numbers = {
            number for number, port in enumerate(self.header.inputs) if port.source == source
        }
        for _, time_usec, number, _, payload in self.of_kind(Kind.ITEM):
            if number in numbers:
                yield time_usec, payload

    @property
    def stop_usec(self) -> int | None:
        """When a stop was asked; None when the run was killed."""
        return next((record[1] for record in self.of_kind(Kind.STOP)), None)

    def of_kind(self, kind: Kind) -> Iterator[Record]:
        """Yield the records of one kind."""
        return (record for record in self.records if record[0] == kind)


def read_journal(path: Path) -> Journal:
    """Read a journal; StorageError when its beginning cannot be read."""
    with storage_errors(path, "read"):
        data = path.read_bytes()
    found: list[Any] = []
    torn = False
    while data:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        try:
            content = decompressor.decompress(data)
            if not decompressor.eof:
                torn = True
                break
            found += msgspec.msgpack.decode(content, type=list[Any])
        except (zstandard.ZstdError, msgspec.MsgspecError):
            torn = True
            break
        data = decompressor.unused_data
    if not found:
        raise StorageError(
            f"{path} is no journal, or its beginning is lost",
            remedy="Replay without it: move its folder out of the recording.",
        )
    header = msgspec.convert(found[0], Header)
    return Journal(header, found[1:], torn)
