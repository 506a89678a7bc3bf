"""Reads tsync files and checks every checksum; recovers the complete blocks of a damaged file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.storage.failures import storage_errors
from mlink.storage.tsync_format import TERMINATOR_SIZE, TsyncHeader, decode_header


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


def read_tsync(path: Path, *, salvage: bool = False) -> TsyncData:
    """Read a file.

    Args:
        path: The file.
        salvage: Return the intact blocks of a damaged file instead of raising.

    Raises:
        StorageError: The file cannot be read, is no tsync file, or (without `salvage`) is damaged.
    """
    with storage_errors(path, "read"):
        data = path.read_bytes()
    try:
        header, start = decode_header(data)
    except ValueError as error:
        raise StorageError(
            f"{path} cannot be read as a tsync file: {error}",
            remedy="If it is a tsync file, its beginning is lost: restore it from a copy.",
        ) from error
    blocks, end, problem = _read_blocks(memoryview(data)[start:], header)
    behind = _pairs_behind(memoryview(data)[start + end :], header) if problem else 0
    if problem and not salvage:
        remedy = "`mlink repair` keeps the intact pairs; `mlink info` counts them."
        raise StorageError(
            f"{path} is damaged: {problem}; {sum(map(len, blocks))} pairs before that are intact",
            remedy="Restore it from a copy." if behind else remedy,
        )
    return TsyncData(header, _as_int64(blocks), problem, start + end, behind)


def _read_blocks(data: memoryview, header: TsyncHeader) -> tuple[list[NDArray[Any]], int, str]:
    """Return the intact blocks, the position after them, and what is wrong there."""
    dtype = header.pair_dtype
    block_bytes = header.block_size * dtype.itemsize + TERMINATOR_SIZE
    blocks: list[NDArray[Any]] = []
    position = 0
    while position < len(data):
        size = min(block_bytes, len(data) - position)
        content = data[position : position + size - TERMINATOR_SIZE]
        if size <= TERMINATOR_SIZE or len(content) % dtype.itemsize:
            return blocks, position, f"it ends within block {len(blocks) + 1}"
        terminator = data[position + size - TERMINATOR_SIZE : position + size - 8]
        (digest,) = struct.unpack("<Q", data[position + size - 8 : position + size])
        if terminator != header.generation.terminator:
            return blocks, position, f"block {len(blocks) + 1} has no terminator"
        if digest != xxhash.xxh3_64_intdigest(content):
            return blocks, position, f"the checksum of block {len(blocks) + 1} is wrong"
        blocks.append(np.frombuffer(content, dtype))
        position += size
    return blocks, position, ""


def _pairs_behind(data: memoryview, header: TsyncHeader) -> int:
    """Return the number of pairs in intact blocks behind a damaged one, with which `data` begins.

    Blocks have one size, so that each is found without the one before.
    """
    size = header.block_size * header.pair_dtype.itemsize + TERMINATOR_SIZE
    rest = (data[at:] for at in range(size, len(data), size))
    return sum(len(pairs) for each in rest for pairs in _read_blocks(each[:size], header)[0])


def _as_int64(blocks: list[NDArray[Any]]) -> NDArray[np.int64]:
    if not blocks:
        return np.empty((0, 2), np.int64)
    pairs = np.concatenate(blocks)
    return np.stack([pairs["a"].astype(np.int64), pairs["b"].astype(np.int64)], axis=1)
