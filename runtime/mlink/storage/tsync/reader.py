"""Reads tsync files and checks every checksum; recovers the complete blocks of a damaged file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.storage.inside import Source, as_file
from mlink.storage.limits import check_memory
from mlink.storage.tsync.layout import (
    MAX_HEADER,
    TERMINATOR_SIZE,
    TsyncHeader,
    decode_header,
)

_LATEST_USEC = 2.0**60
_LOOKED = 1_000_000
"""Blocks behind a damaged one that are examined."""
_PART_BYTES = 4 << 20
_AT_ONCE = 1 << 18
"""Times that are converted at once: numbers in between would take several times their memory."""
"""Bytes that are read at once, unless a block has more."""


@dataclass(kw_only=True, slots=True)
class TsyncScan:
    """What is in a tsync file, without its times."""

    header: TsyncHeader
    pairs: int = 0
    """Pairs of the intact part."""
    last: tuple[int, int] | None = None
    """The last pair of the intact part."""
    problem: str = ""
    """What is wrong after the intact part; "" when the file is complete."""
    whole_size: int = 0
    """Size of the intact part in bytes, from the beginning of the file."""
    pairs_behind: int = 0
    """Pairs of intact blocks behind the problem: it is not a torn end, if there are some."""


@dataclass(kw_only=True, slots=True)
class TsyncData(TsyncScan):
    """The content of a tsync file, or of the part of it that is intact."""

    times: NDArray[np.int64]
    """(N, 2): first and second time of each pair, in the columns' units."""


Pairs: TypeAlias = NDArray[np.int64]
"""Some pairs in succession, as in `TsyncData.times`."""
Use: TypeAlias = Callable[[TsyncHeader, Pairs], object]


def scan_tsync(
    source: Source, use: Use = lambda _header, _pairs: None, *, salvage: bool = False
) -> TsyncScan:
    """Read a file in parts: its times may need several times the memory of all of it.

    Args:
        source: The file.
        use: Called with each part of the intact pairs, in order.
        salvage: Accept a damaged file: its intact blocks are read.

    Raises:
        StorageError: The file cannot be read, is no tsync file, or (without `salvage`) is damaged.
    """
    path = as_file(source)
    with path.opened() as file:
        try:
            header, start = decode_header(file.read(MAX_HEADER))
        except (ValueError, RecursionError) as error:
            raise StorageError(
                f"{path} cannot be read as a tsync file: {error}",
                remedy="If it is a tsync file, its beginning is lost: restore it from a copy.",
            ) from error
        found = TsyncScan(header=header, whole_size=start)
        file.seek(start)
        _scan(_Blocks(file, header), found, use)
    if found.problem and not salvage:
        remedy = "`mlink repair` keeps the intact pairs; `mlink info` counts them."
        raise StorageError(
            f"{path} is damaged: {found.problem}; {found.pairs} pairs before that are intact",
            remedy="Restore it from a copy." if found.pairs_behind else remedy,
        )
    return found


def read_tsync(source: Source, *, salvage: bool = False) -> TsyncData:
    """Read a file.

    Args:
        source: The file.
        salvage: Return the intact blocks of a damaged file instead of raising.

    Raises:
        StorageError: The file cannot be read, is no tsync file, or (without `salvage`) is damaged.
    """
    times = _Growing(source, np.empty((0, 2), np.int64))
    found = scan_tsync(source, times.add, salvage=salvage)
    facts = {item.name: getattr(found, item.name) for item in fields(TsyncScan)}
    return TsyncData(times=times.array, **facts)


def read_times(source: Source) -> NDArray[np.int64]:
    """Return the second time of each pair of a file's intact blocks, in µs.

    Raises:
        StorageError: The file cannot be read, is no tsync file, or has a time that is too large to
            be one of a recording.
    """
    times = _Growing(source, np.empty(0, np.int64))
    scan_tsync(source, lambda head, part: times.add(head, second_usec(head, part)), salvage=True)
    return times.array


def second_usec(header: TsyncHeader, pairs: Pairs) -> NDArray[np.int64]:
    """Return the second time of each pair, in µs.

    Raises:
        StorageError: One is too large to be a time of a recording.
    """
    return in_usec("a tsync file", pairs[:, 1], header.columns[1].unit.usec)


class _Growing:
    """An array to which parts are added; large enough for all pairs that the file can have."""

    def __init__(self, source: Source, empty: NDArray[np.int64]) -> None:
        self._what, self._size = str(source), as_file(source).size()
        self._all, self._count = empty, 0

    def add(self, header: TsyncHeader, part: NDArray[np.int64]) -> None:
        end = self._count + len(part)
        check_memory(self._what, end * part[:1].nbytes)
        if end > len(self._all):  # at first, and when a recorder has written more meanwhile
            more = max(self._size // header.pair_dtype.itemsize, end)
            new = np.empty((more, *part.shape[1:]), np.int64)  # only pages in use cost memory
            self._all = np.concatenate([self._all, new]) if self._count else new
        self._all[self._count : end] = part
        self._count = end

    @property
    def array(self) -> NDArray[np.int64]:
        return self._all[: self._count]


class _Blocks:
    """The blocks of an open file, from where it is."""

    def __init__(self, file: BinaryIO, header: TsyncHeader) -> None:
        self.file, self.header = file, header
        content = header.block_size * header.pair_dtype.itemsize
        self.size = content + TERMINATOR_SIZE
        self._layout = np.dtype([("content", f"V{content}"), ("end", "V8"), ("digest", "<u8")])
        self._at_once = max(1, _PART_BYTES // self.size)

    def parts(self) -> Iterator[tuple[bytes, NDArray[Any], NDArray[np.bool_]]]:
        """Yield many blocks at once: their bytes, the whole blocks, and which are intact.

        The last block of a file may be shorter, and is then not among the whole ones.
        """
        ends = np.void(self.header.generation.terminator)
        while data := self.file.read(self._at_once * self.size):
            blocks = np.frombuffer(data, self._layout, len(data) // self.size)
            digests = map(xxhash.xxh3_64_intdigest, blocks["content"].tolist())
            is_right = np.fromiter(digests, np.uint64, len(blocks)) == blocks["digest"]
            yield data, blocks, is_right & (blocks["end"] == ends)

    def rest(self, data: bytes) -> bytes:
        """Return the last, shorter block in the bytes of a part."""
        return data[len(data) - len(data) % self.size :]


def _scan(blocks: _Blocks, found: TsyncScan, use: Use) -> None:
    number = 1
    for data, whole, intact in blocks.parts():
        count = len(whole) if intact.all() else int(intact.argmin())
        content = whole["content"][:count].tobytes()
        size = count * blocks.size
        if count < len(whole):
            damaged = data[size : size + blocks.size]
            _, found.problem = _block(damaged, found.header, f"block {number + count}")
        elif rest := blocks.rest(data):
            last, found.problem = _block(rest, found.header, f"block {number + count}")
            if last is not None:
                content, size = content + last, len(data)
        _add(found, use, content)
        found.whole_size += size
        number += count
        if found.problem:
            blocks.file.seek(found.whole_size + blocks.size)
            found.pairs_behind = _pairs_behind(blocks)
            return


def _add(found: TsyncScan, use: Use, content: bytes) -> None:
    if not content:
        return
    recorded = np.frombuffer(content, found.header.pair_dtype)
    pairs = np.empty((len(recorded), 2), np.int64)
    pairs[:, 0], pairs[:, 1] = recorded["a"], recorded["b"]
    found.pairs += len(pairs)
    found.last = int(pairs[-1, 0]), int(pairs[-1, 1])
    use(found.header, pairs)


def _block(data: bytes, header: TsyncHeader, name: str) -> tuple[bytes | None, str]:
    """Return the pairs of a block, or what is wrong with it."""
    content, end = data[:-TERMINATOR_SIZE], data[-TERMINATOR_SIZE:]
    if not content or len(content) % header.pair_dtype.itemsize:
        return None, f"it ends within {name}"
    if end[:8] != header.generation.terminator:
        return None, f"{name} has no terminator"
    if struct.unpack("<Q", end[8:])[0] != xxhash.xxh3_64_intdigest(content):
        return None, f"the checksum of {name} is wrong"
    return content, ""


def _pairs_behind(blocks: _Blocks) -> int:
    """Return the number of pairs in intact blocks from where the file is.

    Blocks have one size, so that each is found without the one before. At most about _LOOKED are.
    """
    found = looked = 0
    for data, whole, intact in blocks.parts():
        found += int(intact.sum()) * blocks.header.block_size
        last, _ = _block(blocks.rest(data), blocks.header, "")
        found += len(last or b"") // blocks.header.pair_dtype.itemsize
        looked += len(whole)
        if looked >= _LOOKED:
            break
    return found


def in_usec(what: str, times: NDArray[Any], scale: float) -> NDArray[np.int64]:
    """Convert recorded times to µs.

    Args:
        what: What has these times, for the message.
        times: The times, as recorded.
        scale: Length of one of their units, in µs.

    Raises:
        StorageError: One is no number, or too large to be a time.
    """
    if times.dtype.kind not in "iuf":
        raise StorageError(f"{what} has times that are no numbers")
    usec = np.empty(times.shape, np.int64)
    for at in range(0, len(times), _AT_ONCE):
        with np.errstate(over="ignore", invalid="ignore"):
            found = times[at : at + _AT_ONCE] * scale
        if not (np.abs(found) < _LATEST_USEC).all():  # also where it is NaN
            raise StorageError(f"{what} has a time that is no number, or is far too large")
        usec[at : at + _AT_ONCE] = np.rint(found)
    return usec
