"""Reads tsync files, with every checksum checked; gives back what a torn file still holds."""

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
    """A tsync file's content; `problem` says what is wrong with its end, "" when it is whole."""

    header: TsyncHeader
    times: NDArray[np.int64]
    """(N, 2): first and second time of each pair, in the columns' units."""
    problem: str = ""
    whole_size: int = 0
    """Bytes from the file's beginning that are whole; what follows is damaged."""


def read_tsync(path: Path, *, salvage: bool = False) -> TsyncData:
    """Read a file. A damaged one is a StorageError, or with `salvage` gives its whole blocks."""
    with storage_errors(path, "read"):
        data = path.read_bytes()
    try:
        header, start = decode_header(data)
    except ValueError as error:
        raise StorageError(
            f"{path} cannot be read as a tsync file: {error}",
            remedy="The file is of another kind, or its beginning is lost; nothing can be read.",
        ) from error
    blocks, end, problem = _read_blocks(memoryview(data)[start:], header)
    if problem and not salvage:
        raise StorageError(
            f"{path} is damaged: {problem}; {sum(map(len, blocks))} pairs before that are whole",
            remedy="`mlink info` shows what is there; the pairs before the damage can be read.",
        )
    return TsyncData(header, _as_int64(blocks), problem, start + end)


def _read_blocks(data: memoryview, header: TsyncHeader) -> tuple[list[NDArray[Any]], int, str]:
    """Return the whole blocks, the position behind them, and what is wrong there."""
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
            return blocks, position, f"block {len(blocks) + 1} does not end where it should"
        if digest != xxhash.xxh3_64_intdigest(content):
            return blocks, position, f"the checksum of block {len(blocks) + 1} is wrong"
        blocks.append(np.frombuffer(content, dtype))
        position += size
    return blocks, position, ""


def _as_int64(blocks: list[NDArray[Any]]) -> NDArray[np.int64]:
    if not blocks:
        return np.empty((0, 2), np.int64)
    pairs = np.concatenate(blocks)
    return np.stack([pairs["a"].astype(np.int64), pairs["b"].astype(np.int64)], axis=1)
