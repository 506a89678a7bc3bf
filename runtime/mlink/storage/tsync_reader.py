"""Reads tsync files and checks every checksum; recovers the complete blocks of a damaged file."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.storage.inside import Source, as_file
from mlink.storage.tsync_format import (
    MAX_HEADER,
    TERMINATOR_SIZE,
    TsyncHeader,
    decode_header,
)

_LATEST_USEC = 2.0**60
_LOOKED = 1_000_000
"""Blocks behind a damaged one that are examined."""


@dataclass(frozen=True, slots=True)
class TsyncData:
    """The content of a tsync file, or of the part of it that is intact."""

    header: TsyncHeader
    times: NDArray[np.int64]
    """(N, 2): first and second time of each pair, in the columns' units."""
    problem: str = ""
    """What is wrong after the intact part; "" when the file is complete."""
    whole_size: int = 0
    """Size of the intact part in bytes, from the beginning of the file."""
    pairs_behind: int = 0
    """Pairs of intact blocks behind the problem: it is not a torn end, if there are some."""

    @property
    def times_usec(self) -> NDArray[np.int64]:
        """The second time of each pair, in µs.

        Raises:
            StorageError: One is too large to be a time of a recording.
        """
        return in_usec("a tsync file", self.times[:, 1], self.header.columns[1].unit.usec)


def read_tsync(source: Source, *, salvage: bool = False) -> TsyncData:
    """Read a file.

    Args:
        source: The file.
        salvage: Return the intact blocks of a damaged file instead of raising.

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
        file.seek(start)
        blocks, end, problem = _read_blocks(file, header)
        file.seek(start + end)
        behind = _pairs_behind(file, header) if problem else 0
    if problem and not salvage:
        remedy = "`mlink repair` keeps the intact pairs; `mlink info` counts them."
        raise StorageError(
            f"{path} is damaged: {problem}; {sum(map(len, blocks))} pairs before that are intact",
            remedy="Restore it from a copy." if behind else remedy,
        )
    return TsyncData(header, _as_int64(blocks), problem, start + end, behind)


def _read_blocks(file: BinaryIO, header: TsyncHeader) -> tuple[list[NDArray[Any]], int, str]:
    """Return the intact blocks, the position after them, and what is wrong there."""
    block_bytes = header.block_size * header.pair_dtype.itemsize + TERMINATOR_SIZE
    blocks: list[NDArray[Any]] = []
    position = 0
    while data := file.read(block_bytes):
        pairs, problem = _block(data, header, f"block {len(blocks) + 1}")
        if pairs is None:
            return blocks, position, problem
        blocks.append(pairs)
        position += len(data)
    return blocks, position, ""


def _block(data: bytes, header: TsyncHeader, name: str) -> tuple[NDArray[Any] | None, str]:
    """Return the pairs of a block, or what is wrong with it."""
    content, end = data[:-TERMINATOR_SIZE], data[-TERMINATOR_SIZE:]
    if not content or len(content) % header.pair_dtype.itemsize:
        return None, f"it ends within {name}"
    if end[:8] != header.generation.terminator:
        return None, f"{name} has no terminator"
    if struct.unpack("<Q", end[8:])[0] != xxhash.xxh3_64_intdigest(content):
        return None, f"the checksum of {name} is wrong"
    return np.frombuffer(content, header.pair_dtype), ""


def _pairs_behind(file: BinaryIO, header: TsyncHeader) -> int:
    """Return the number of pairs in intact blocks behind a damaged one, at which `file` is.

    Blocks have one size, so that each is found without the one before. At most _LOOKED are.
    """
    size = header.block_size * header.pair_dtype.itemsize + TERMINATOR_SIZE
    file.seek(size, os.SEEK_CUR)
    found = 0
    for _ in range(_LOOKED):
        if not (data := file.read(size)):
            break
        pairs, _ = _block(data, header, "")
        found += 0 if pairs is None else len(pairs)
    return found


def _as_int64(blocks: list[NDArray[Any]]) -> NDArray[np.int64]:
    if not blocks:
        return np.empty((0, 2), np.int64)
    pairs = np.concatenate(blocks)
    return np.stack([pairs["a"].astype(np.int64), pairs["b"].astype(np.int64)], axis=1)


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
    found = times * scale
    if not (np.abs(found) < _LATEST_USEC).all():  # also where it is NaN
        raise StorageError(f"{what} has a time that is no number, or is far too large")
    return np.rint(found).astype(np.int64)
