"""Repairs tsync files that a crash cut off, and shortens them to the items that exist.

For recordings that no process writes any more; running recorders use TsyncWriter.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack

import numpy as np
import xxhash
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.storage.failures import storage_errors
from mlink.storage.inside import Source, as_file
from mlink.storage.tsync.layout import (
    MAX_HEADER,
    TERMINATOR_SIZE,
    TimeUnit,
    TsyncHeader,
    decode_header,
)
from mlink.storage.tsync.reader import Pairs, TsyncScan, scan_tsync

_COPIED_BYTES = 4 << 20


def torn_pairs(source: Source, torn: TsyncScan) -> NDArray[np.void]:
    """Return the pairs of an incomplete last block that are trustworthy without a checksum.

    A pair is trusted if its first time is exactly the next item's number and its second is not
    before that of the pair before: damaged bytes hardly ever satisfy both. Without item numbers
    (files of two clocks) no pair is trusted.

    Args:
        source: The file.
        torn: What `scan_tsync(source, salvage=True)` returned for it.

    Raises:
        StorageError: The file cannot be read.
    """
    header = torn.header
    dtype = header.pair_dtype
    if header.columns[0].unit is not TimeUnit.INDEX:
        return np.empty(0, dtype)
    file = as_file(source)
    with file.open() as opened, storage_errors(file.path, "read"):
        opened.seek(torn.whole_size)
        rest = opened.read(header.block_size * dtype.itemsize)
    pairs = np.frombuffer(rest[: len(rest) - len(rest) % dtype.itemsize], dtype)
    number, last = (torn.last[0] + 1, torn.last[1]) if torn.last else (0, 0)
    count = 0
    for pair in pairs:
        if int(pair["a"]) != number or int(pair["b"]) < last:
            break
        number, last, count = number + 1, int(pair["b"]), count + 1
    return pairs[:count]


def repair_tsync(source: Source) -> str:
    """Repair a file that was cut off; intact blocks are not touched.

    Only what follows them is written: the pairs of the incomplete block that are trustworthy
    (`torn_pairs`), and the terminator and digest that the block lacked.

    Returns:
        What was done; "" when the file was complete.

    Raises:
        StorageError: The file cannot be read or written, is no tsync file, or is damaged before
            intact blocks; then it is not changed.
    """
    path = as_file(source)
    found = scan_tsync(path, salvage=True)
    if not found.problem:
        return ""
    if found.pairs_behind:
        raise StorageError(
            f"{path.name} is damaged: {found.problem}; {found.pairs} pairs before and "
            f"{found.pairs_behind} behind are intact, and nothing was changed",
            remedy="Restore it from a copy.",
        )
    pairs = torn_pairs(path, found)
    end = _block(found.header, pairs) if len(pairs) else b""
    with path.open(writable=True) as file, storage_errors(path.path):
        size = os.fstat(file.fileno()).st_size
        file.seek(found.whole_size)
        file.write(end)
        file.truncate()
        os.fsync(file.fileno())
    lost = size - found.whole_size - len(pairs) * found.header.pair_dtype.itemsize
    return (
        f"{path.name}: {found.problem}; kept {found.pairs} intact pairs and {len(pairs)} pairs"
        f" of the incomplete block, removed {max(0, lost)} bytes after them"
    )


def cut_tsync(source: Source, pairs: int, *, most: int, kept_as: str) -> tuple[int, list[int]]:
    """Keep the first `pairs` pairs of a file.

    Args:
        source: The file.
        pairs: Pairs that remain.
        most: Times that are returned, if there are no more.
        kept_as: Name under which the file as it was is kept, if more are cut off.

    Returns:
        The number of pairs that were cut off, and their second times; none if they are too many.

    Raises:
        StorageError: The file is damaged, or cannot be read or written; or a file has that name.
    """
    file = as_file(source)
    cut, times = times_from(file, pairs, most)
    if not cut:
        return 0, []
    with file.opened() as old, ExitStack() as stack:
        header, size = decode_header(old.read(MAX_HEADER))
        whole, rest = divmod(pairs, header.block_size)
        pair_bytes = header.pair_dtype.itemsize
        size += whole * (header.block_size * pair_bytes + TERMINATOR_SIZE)
        if cut > most:
            file.keep_as(kept_as)
        draft = stack.enter_context(file.replacement())
        old.seek(0)
        while size and (data := old.read(min(size, _COPIED_BYTES))):
            size -= draft.write(data)
        if rest:
            last = np.frombuffer(old.read(rest * pair_bytes), header.pair_dtype)
            draft.write(_block(header, last))
    return cut, times


def times_from(source: Source, number: int, most: int) -> tuple[int, list[int]]:
    """Return how many pairs are from a number on, and their second times if they are not too many.

    Args:
        source: The file.
        number: Of the first pair, from 0.
        most: Times that may be returned.

    Raises:
        StorageError: The file is damaged, or cannot be read.
    """
    count, times = -number, []

    def use(_header: TsyncHeader, pairs: Pairs) -> None:
        nonlocal count
        count += len(pairs)
        if 0 < count <= most:
            times.extend(pairs[-min(count, len(pairs)) :, 1].tolist())

    scan_tsync(source, use)
    return max(0, count), times if count <= most else []


def _block(header: TsyncHeader, pairs: NDArray[np.void]) -> bytes:
    content = pairs.tobytes()
    digest = struct.pack("<Q", xxhash.xxh3_64_intdigest(content))
    end = header.generation.terminator + digest
    assert len(end) == TERMINATOR_SIZE
    return content + end
