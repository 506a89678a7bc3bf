"""Repairs tsync files that a crash cut off, and shortens them to the items that exist.

For recordings that no process writes any more; running recorders use TsyncWriter.
"""

from __future__ import annotations

import os
import struct

import numpy as np
import xxhash
from numpy.typing import NDArray

from mlink.errors import StorageError
from mlink.storage.failures import storage_errors
from mlink.storage.inside import Source, as_file
from mlink.storage.tsync_format import (
    MAX_HEADER,
    TERMINATOR_SIZE,
    TimeUnit,
    TsyncHeader,
    decode_header,
)
from mlink.storage.tsync_reader import TsyncData, read_tsync


def torn_pairs(source: Source, torn: TsyncData) -> NDArray[np.void]:
    """Return the pairs of an incomplete last block that are trustworthy without a checksum.

    A pair is trusted if its first time is exactly the next item's number and its second is not
    before that of the pair before: damaged bytes hardly ever satisfy both. Without item numbers
    (files of two clocks) no pair is trusted.

    Args:
        source: The file.
        torn: What `read_tsync(source, salvage=True)` returned for it.

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
    number, last = (
        (int(torn.times[-1, 0]) + 1, int(torn.times[-1, 1])) if len(torn.times) else (0, 0)
    )
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
    found = read_tsync(path, salvage=True)
    if not found.problem:
        return ""
    if found.pairs_behind:
        raise StorageError(
            f"{path.name} is damaged: {found.problem}; {len(found.times)} pairs before and "
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
        f"{path.name}: {found.problem}; kept {len(found.times)} intact pairs and {len(pairs)} pairs"
        f" of the incomplete block, removed {max(0, lost)} bytes after them"
    )


def cut_tsync(source: Source, pairs: int) -> list[int]:
    """Keep the first `pairs` pairs of a file; return the second times of those removed.

    Raises:
        StorageError: The file is damaged, or cannot be read or written.
    """
    file = as_file(source)
    found = read_tsync(file)
    cut = [int(time) for time in found.times[pairs:, 1]]
    if not cut:
        return []
    header = found.header
    kept = np.empty(pairs, header.pair_dtype)
    kept["a"], kept["b"] = found.times[:pairs, 0], found.times[:pairs, 1]
    blocks = [
        _block(header, kept[at : at + header.block_size])
        for at in range(0, pairs, header.block_size)
    ]
    with file.open() as old:
        data = old.read(MAX_HEADER)
    _, head = decode_header(data)
    with file.replacement() as draft:
        draft.write(data[:head] + b"".join(blocks))
    return cut


def _block(header: TsyncHeader, pairs: NDArray[np.void]) -> bytes:
    content = pairs.tobytes()
    digest = struct.pack("<Q", xxhash.xxh3_64_intdigest(content))
    end = header.generation.terminator + digest
    assert len(end) == TERMINATOR_SIZE
    return content + end
