"""Bounds on what video files of strangers have beside pictures: FFmpeg has none for it.

It reads all texts of a file when it opens it, in a time that grows with the square or the cube of
their number, and cannot be interrupted then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlink.recording import matroska

_TEXTS = (b"udta", b"meta", b"ilst")
"""Types of boxes with texts (ISO/IEC 14496-12, 8.10.1 and 8.11.1; `ilst` is QuickTime's)."""
_TABLES = (b"stsz", b"stz2", b"trun")
"""Types of boxes that announce pictures: FFmpeg takes 36 bytes of memory for each."""
_PACKED = b"cmov"
_MOST_PICTURES = 8_000_000
"""Pictures of a file: 37 hours at 60 Hz."""
_OF_INTEREST = re.compile(b"|".join((*_TEXTS, *_TABLES, _PACKED)))
_LOOKED_BYTES = 16
"""Bytes of a box from its type on."""
_MEDIA = (b"mdat", b"free", b"skip", b"wide")
_MOST_TEXT_BYTES = 1 << 20
_MOST_CHUNKS = 2000
"""Of an AVI, before its pictures; those of FFmpeg have about 20."""
_PART_BYTES = 1 << 20
_BOX_BYTES = 8
"""A box has its length and its type at least."""


def check_extras(path: Path) -> None:
    """Refuse a video file that FFmpeg might not open within seconds.

    Args:
        path: A Matroska, MP4 or AVI file, by its content; its name does not matter.

    Raises:
        ValueError: It has more beside its pictures than a recording has.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        start = file.read(4)
        if start == matroska.MAGIC:
            matroska.check_extras(file, end)
        elif start == b"RIFF":
            _check_avi(file)
        else:
            _check_mp4(file, end)


def _check_avi(file: BinaryIO) -> None:
    at = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12 or head[8:] == b"movi":
            return
        size = int.from_bytes(head[4:8], "little")
        at += 12 if head[:4] in (b"LIST", b"RIFF") else 8 + size + size % 2
    raise ValueError(f"it has more than {_MOST_CHUNKS} parts before its pictures")


def _check_mp4(file: BinaryIO, end: int) -> None:
    texts = 0
    pictures = dict.fromkeys(_TABLES, 0)
    for outer, at, length in mp4_boxes(file, end):
        if outer in _MEDIA:
            continue
        length = min(length if length >= _BOX_BYTES else end, end - at)
        for kind, size, start in _inner_boxes(file, at, length):
            if kind == _PACKED:
                raise ValueError("its head is compressed, as no recorder's")
            if kind in pictures:
                pictures[kind] += _pictures(kind, start)
            else:
                texts += size
            if texts > _MOST_TEXT_BYTES:
                limit = _MOST_TEXT_BYTES >> 10
                raise ValueError(f"it has more than the {limit} kB of texts allowed")
            if max(pictures.values()) > _MOST_PICTURES:
                raise ValueError(f"it announces more than {_MOST_PICTURES:,} pictures")


def mp4_boxes(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, place and length of each outermost box of an MP4 file.

    The length of the last one may go beyond the end, or be less than a box has: it was not closed.
    """
    at = 0
    while at + _BOX_BYTES <= end:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        yield kind, at, length
        if length < _BOX_BYTES:
            return
        at += length


def _inner_boxes(file: BinaryIO, at: int, length: int) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield type, size and first bytes of all boxes of interest in a part of a file."""
    file.seek(at)
    kept = b""
    while length > 0 and (part := file.read(min(length, _PART_BYTES))):
        length -= len(part)
        part = kept + part + (b"" if length else bytes(_LOOKED_BYTES))
        for found in _OF_INTEREST.finditer(part, 4, max(4, len(part) - _LOOKED_BYTES + 4)):
            place = found.start()
            size = int.from_bytes(part[place - 4 : place], "big")
            yield found[0], size, part[place + 4 : place + _LOOKED_BYTES]
        kept = part[-_LOOKED_BYTES - 3 :]  # a box may lie across two parts


def _pictures(kind: bytes, start: bytes) -> int:
    """Return how many pictures a box announces, by its first bytes."""
    if kind in (b"stsz", b"stz2"):  # version, flags; a size; their number
        return int.from_bytes(start[8:12], "big")
    return int.from_bytes(start[4:8], "big")  # version, flags; their number
