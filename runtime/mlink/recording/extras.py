"""Bounds on what video files of strangers have beside pictures: FFmpeg has none for it.

It reads all texts of a file when it opens it, in a time that grows with the square or the cube of
their number, and cannot be interrupted then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlink.recording import matroska

_TEXTS = (b"udta", b"meta", b"ilst")
"""Types of boxes with texts (ISO/IEC 14496-12, 8.10.1 and 8.11.1; `ilst` is QuickTime's)."""
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
    for kind, at, length in mp4_boxes(file, end):
        if kind not in _MEDIA:
            texts += _text_bytes(file, at, length if length >= _BOX_BYTES else end - at)
        if texts > _MOST_TEXT_BYTES:
            raise ValueError(f"it has more than the {_MOST_TEXT_BYTES >> 10} kB of texts allowed")


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


def _text_bytes(file: BinaryIO, at: int, length: int) -> int:
    """Return the sum of the sizes of all boxes with texts in a part of a file."""
    file.seek(at)
    total, before = 0, b""
    while length > 0 and (part := file.read(min(length, _PART_BYTES))):
        length -= len(part)
        part = before + part
        for kind in _TEXTS:
            found = part.find(kind, 4)
            while found >= 0:
                total += int.from_bytes(part[found - 4 : found], "big")
                if total > _MOST_TEXT_BYTES:
                    return total
                found = part.find(kind, found + 4)
        before = part[-7:]  # a size and a type may lie across two parts
    return total
