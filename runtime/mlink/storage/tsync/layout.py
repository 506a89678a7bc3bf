"""Constants, types and header of tsync files.

docs/tsync-format.md describes every byte; the format is that of Syntalos.
"""

from __future__ import annotations

import enum
import json
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

MAJOR, MINOR = 1, 2
TERMINATOR_SIZE = 16
"""Bytes at the end of a block: terminator and digest, 8 bytes each."""

_NO_STRING = 0xFFFFFFFF
_MAX_STRING = 1 << 20
MAX_HEADER = 8 << 20
"""Bytes within which a header ends: five texts, and some numbers."""
MAX_BLOCK = 1 << 20
"""Most pairs of a block: all of it is read at once."""


class Generation(enum.Enum):
    """The two kinds of tsync file: (magic number, terminator, whether string lengths are hashed).

    V2 is that of Syntalos 2.x.
    """

    V3 = (0xB28FE2434E53548A, 0x00000000009198E2, True)
    V2 = (0xF223434E5953548A, 0x1126000000000000, False)

    @property
    def magic(self) -> bytes:
        """The file's first eight bytes."""
        return struct.pack("<Q", self.value[0])

    @property
    def terminator(self) -> bytes:
        """The eight bytes between a block's content and its digest."""
        return struct.pack("<Q", self.value[1])

    @property
    def hashes_lengths(self) -> bool:
        """Whether a string's length prefix is part of the header's digest."""
        return bool(self.value[2])


class TsyncMode(enum.IntEnum):
    """Whether a file maps every time, or only points at which two clocks were compared."""

    CONTINUOUS = 0
    SYNCPOINTS = 1


class TimeUnit(enum.IntEnum):
    """Unit of a time; INDEX counts items.

    Values are those of the file format.
    """

    INDEX = 0
    NANOSECONDS = 1
    MICROSECONDS = 2
    MILLISECONDS = 3
    SECONDS = 4

    @property
    def usec(self) -> float:
        """Length of one step in µs; 1 for INDEX."""
        return _USEC[self]


_USEC = {
    TimeUnit.INDEX: 1.0,
    TimeUnit.NANOSECONDS: 0.001,
    TimeUnit.MICROSECONDS: 1.0,
    TimeUnit.MILLISECONDS: 1e3,
    TimeUnit.SECONDS: 1e6,
}


class TimeType(enum.IntEnum):
    """Integer type in which a time is stored.

    Values are those of the file format.
    """

    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """The little-endian NumPy type."""
        return np.dtype(f"<{self.code}")

    @property
    def code(self) -> str:
        """The type's letter for `struct`."""
        return _CODES[self]

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value; UINT64 ends with int64, in which readers hold times."""
        info = np.iinfo(self.dtype)
        return int(info.min), min(int(info.max), 2**63 - 1)


_CODES = {
    TimeType.INT16: "h",
    TimeType.INT32: "i",
    TimeType.INT64: "q",
    TimeType.UINT16: "H",
    TimeType.UINT32: "I",
    TimeType.UINT64: "Q",
}


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """One of the two times of a file."""

    name: str
    unit: TimeUnit
    type: TimeType


FRAME_NUMBER = TimeColumn("frame-no", TimeUnit.INDEX, TimeType.UINT32)
MASTER_TIME = TimeColumn("master-time", TimeUnit.MICROSECONDS, TimeType.UINT64)


@dataclass(frozen=True, slots=True)
class TsyncHeader:
    """The header of a tsync file: everything before its first pair of times."""

    columns: tuple[TimeColumn, TimeColumn]
    collection_id: uuid.UUID
    mode: TsyncMode = TsyncMode.CONTINUOUS
    generator: str = "mlink"
    time_created: int = 0
    """Unix time in s."""
    block_size: int = 128
    """Pairs in a block."""
    custom: Mapping[str, Any] = field(default_factory=dict)
    """Free values; `tolerance_us` is a known one."""
    generation: Generation = Generation.V3
    version: tuple[int, int] = (MAJOR, MINOR)

    @property
    def pair_dtype(self) -> np.dtype[Any]:
        """The NumPy type of a pair of times in the file, with fields "a" and "b"."""
        first, second = self.columns
        return np.dtype([("a", first.type.dtype), ("b", second.type.dtype)])

    def encode(self) -> bytes:
        """Return the header's bytes, from the magic number to the digest."""
        writer = _HeaderWriter(self.generation)
        writer.pack("<HHq", *self.version, self.time_created)
        writer.text(self.generator)
        writer.text(str(self.collection_id))
        writer.text(json.dumps(dict(self.custom)) if self.custom else "")
        writer.pack("<Hi", self.mode, self.block_size)
        for column in self.columns:
            writer.text(column.name)
            writer.pack("<HH", column.unit, column.type)
        return writer.finish()


def decode_header(data: bytes) -> tuple[TsyncHeader, int]:
    """Decode the header at the beginning of a file.

    Returns:
        The header, and the position of the first block.

    Raises:
        ValueError: The data is no tsync file, or its header is damaged.
    """
    generation = next((g for g in Generation if data[:8] == g.magic), None)
    if generation is None:
        raise ValueError("it does not begin with a tsync magic number")
    reader = _HeaderReader(data, generation)
    try:
        major, minor, time_created = reader.unpack("<HHq")
        if (major, minor) != (MAJOR, MINOR):
            raise ValueError(f"its format version is {major}.{minor}, supported: {MAJOR}.{MINOR}")
        generator = reader.text()
        collection_id = reader.text()
        custom = reader.text()
        mode, block_size = reader.unpack("<Hi")
        columns = []
        for _ in range(2):
            name = reader.text()
            unit, time_type = reader.unpack("<HH")
            columns.append(TimeColumn(name, TimeUnit(unit), TimeType(time_type)))
        end = reader.finish()
    except struct.error as error:
        raise ValueError("it ends within its header") from error
    if not 0 < block_size <= MAX_BLOCK:
        raise ValueError(f"its blocks have {block_size} pairs, allowed are 1 to {MAX_BLOCK}")
    values = json.loads(custom) if custom else {}
    if not isinstance(values, dict):
        raise ValueError("the values in its header are no table")  # noqa: TRY004 - of a file
    header = TsyncHeader(
        columns=(columns[0], columns[1]),
        collection_id=uuid.UUID(collection_id) if collection_id else uuid.UUID(int=0),
        mode=TsyncMode(mode),
        generator=generator,
        time_created=time_created,
        block_size=block_size,
        custom=values,
        generation=generation,
        version=(major, minor),
    )
    return header, end


class _HeaderWriter:
    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._bytes = bytearray(generation.magic)
        self._hash = xxhash.xxh3_64()

    def pack(self, layout: str, *values: int) -> None:
        self._add(struct.pack(layout, *values))

    def text(self, value: str) -> None:
        data = value.encode()
        length = struct.pack("<I", len(data) if data else _NO_STRING)
        self._add(length, hashed=self._generation.hashes_lengths)
        self._add(data)

    def finish(self) -> bytes:
        self._add(bytes(-len(self._bytes) % 8))
        self._bytes += self._generation.terminator
        self._bytes += struct.pack("<Q", self._hash.intdigest())
        return bytes(self._bytes)

    def _add(self, data: bytes, *, hashed: bool = True) -> None:
        self._bytes += data
        if hashed:
            self._hash.update(data)


class _HeaderReader:
    def __init__(self, data: bytes, generation: Generation) -> None:
        self._data = data
        self._generation = generation
        self._position = 8
        self._hash = xxhash.xxh3_64()

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))

    def text(self) -> str:
        raw = self._take(4, hashed=self._generation.hashes_lengths)
        (length,) = struct.unpack("<I", raw)
        if length == _NO_STRING:
            return ""
        if length > _MAX_STRING:
            raise ValueError("a text in its header is too long")
        return self._take(length).decode()

    def finish(self) -> int:
        self._take(-self._position % 8)
        terminator = self._take(8, hashed=False)
        (digest,) = struct.unpack("<Q", self._take(8, hashed=False))
        if terminator != self._generation.terminator:
            raise ValueError("its header has no terminator")
        if digest != self._hash.intdigest():
            raise ValueError("its header's checksum is wrong")
        return self._position

    def _take(self, size: int, *, hashed: bool = True) -> bytes:
        piece = self._data[self._position : self._position + size]
        if len(piece) < size:
            raise struct.error("end of data")
        self._position += size
        if hashed:
            self._hash.update(piece)
        return piece
