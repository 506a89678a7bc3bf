"""Matroska files by their elements: their end, their checksums, and the size of what is no picture.

The container is specified in RFC 9559, its elements (id, size, content) in RFC 8794.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAGIC = b"\x1a\x45\xdf\xa3"
"""The first bytes of each Matroska file."""
_SEGMENT_ID = 0x18538067
_CLUSTER_ID = 0x1F43B675
_SEEK_HEAD_ID = 0x114D9B74
_SEEK_ID, _SEEK_POSITION_ID = 0x4DBB, 0x53AC
_TAGS_ID = 0x1254C367
_TAG_ID = 0x7373
_TRACKS_ID, _TRACK_ID = 0x1654AE6B, 0xAE
_COMPRESSION = (0x6D80, 0x6240, 0x5034, 0x4254)
"""Where a track states how its pictures are compressed beside their codec; see `_compression`."""
_STRIPPED = 3
_CRC_ID = b"\xbf\x84"
_HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_UNKNOWN = -1
_WIDEST = 12
"""Bytes of the longest id and size."""

_LIMITS = {_TAGS_ID: 256 << 10, 0x1941A469: 16 << 20, 0x1043A770: 256 << 10}
"""Bytes that a file may have of elements that recordings hardly use: Tags, Attachments, Chapters.

FFmpeg's time grows with the cube of the number of tags (2,000 take 5 s), and it keeps a multiple of
attachments in memory.
"""
_NAMES = {_TAGS_ID: "tags", 0x1941A469: "attachments", 0x1043A770: "chapters"}
_MOST_TAGS = 300
_MOST_ELEMENTS = 1000
"""Elements that a file may have before its first pictures."""
_FREE_ELEMENTS, _ELEMENT_BYTES = 4096, 64
"""Elements that are looked at, beside those for which a file has so many bytes each."""

_DAMAGED = "its beginning is damaged"
_MANY = "it has more parts before its pictures than any recording"
_CUT = "it ends before its first pictures"


class _Element(NamedTuple):
    """Where an element stands in its file."""

    id: int
    at: int
    """Of its content."""
    size: int
    """Of its content; _UNKNOWN when it was not closed."""


def segment_end(file: BinaryIO) -> int | None:
    """Return where a Matroska file ends, by its first bytes; None when it was not closed."""
    segment = _segment(file)
    return segment.at + segment.size if segment and segment.size != _UNKNOWN else None


def wrong_checksum(path: Path) -> str:
    """Describe the first part of a Matroska file that differs from its checksum; "" if none does.

    FFmpeg writes these checksums, but does not compare them; few codecs have some of their own.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        if not (segment := _segment(file)):
            return ""
        for element in _elements(file, segment.at, end):
            if element.size == _UNKNOWN or element.at + element.size > end:  # a kill cut it off
                return ""
            file.seek(element.at)
            if element.size >= 6 and file.read(2) == _CRC_ID:
                wanted, found = int.from_bytes(file.read(4), "little"), 0
                for part in _chunks(file, element.size - 6):
                    found = zlib.crc32(part, found)
                if found != wanted:
                    return (
                        f"the {element.size} bytes from {element.at} on differ from their checksum"
                    )
    return ""


def check_extras(file: BinaryIO, end: int) -> None:
    """Refuse a Matroska file with more tags, attachments or chapters than a recording has.

    Looks at what FFmpeg reads when it opens the file: all before the first pictures, and what the
    lists of positions (SeekHead) name.

    Args:
        file: The file.
        end: Its size in bytes.

    Raises:
        ValueError: It has more, or its beginning cannot be read.
    """
    if not (segment := _segment(file)):
        raise ValueError(_CUT if end < _HEAD_BYTES else _DAMAGED)
    _check_beginning(file, segment.at, end)
    found = dict.fromkeys(_LIMITS, 0)
    tags = 0
    positions = [segment.at]
    known: set[int] = set()
    while positions:
        for element in _elements(file, positions.pop(), end):
            if element.at in known or element.id == _CLUSTER_ID:
                break
            known.add(element.at)
            if element.id in found:
                found[element.id] += element.size if element.size >= 0 else end
            if element.id == _TAGS_ID:
                inner = _elements(file, element.at, element.at + _LIMITS[_TAGS_ID])
                tags += sum(each.id == _TAG_ID for each in inner)
            elif element.id == _SEEK_HEAD_ID:
                positions += _positions(file, segment.at, element)
            elif element.id == _TRACKS_ID:
                for track in _inside(file, element, _TRACK_ID):
                    if _compression(file, track) not in (None, _STRIPPED):
                        raise ValueError("its pictures are compressed once more, as no recorder's")
            if tags > _MOST_TAGS or max(len(known), len(positions)) > _MOST_ELEMENTS:
                raise ValueError(_MANY)
    for kind, size in found.items():
        if size > _LIMITS[kind]:
            limit = _LIMITS[kind] >> 10
            raise ValueError(f"it has more than the {limit} kB of {_NAMES[kind]} allowed")


def _check_beginning(file: BinaryIO, at: int, end: int) -> None:
    """Refuse a file whose elements do not follow one another up to its first pictures.

    FFmpeg would search what is damaged for further elements, and reports an error of the disk for
    what is cut off.
    """
    for number, element in enumerate(_elements(file, at, end)):
        if element.id == _CLUSTER_ID:
            return
        if number == _MOST_ELEMENTS:
            raise ValueError(_MANY)
        if element.size == _UNKNOWN:
            raise ValueError(_DAMAGED)
        at = element.at + element.size
    if at != end:
        raise ValueError(_CUT if at > end - _WIDEST else _DAMAGED)


def _inside(file: BinaryIO, outer: _Element, kind: int) -> Iterator[_Element]:
    """Yield the elements of a kind that are in another one."""
    end = outer.at + min(outer.size, _CHUNK_BYTES)
    return (each for each in _elements(file, outer.at, end) if each.id == kind)


def _compression(file: BinaryIO, track: _Element) -> int | None:
    """Return the ContentCompAlgo of a track, RFC 9559 5.1.4.1.31; None if it has none.

    0 to 2 inflate: a file of some MB would take FFmpeg minutes.
    """
    encodings, encoding, compression, algorithm = _COMPRESSION
    for outer in _inside(file, track, encodings):
        for one in _inside(file, outer, encoding):
            for found in _inside(file, one, compression):
                for value in _inside(file, found, algorithm):
                    file.seek(value.at)
                    return int.from_bytes(file.read(min(max(value.size, 0), 8)), "big")
                return 0
    return None


def _positions(file: BinaryIO, origin: int, head: _Element) -> Iterator[int]:
    """Yield the places that a SeekHead names."""
    for seek in _elements(file, head.at, head.at + min(head.size, _CHUNK_BYTES)):
        if seek.id == _SEEK_ID:
            for value in _elements(file, seek.at, seek.at + seek.size):
                if value.id == _SEEK_POSITION_ID and 0 <= value.size <= 8:
                    file.seek(value.at)
                    yield origin + int.from_bytes(file.read(value.size), "big")


def _segment(file: BinaryIO) -> _Element | None:
    """Return the element with all others; None if the file is no Matroska."""
    found = _elements(file, 0, _HEAD_BYTES)
    return next((element for element in found if element.id == _SEGMENT_ID), None)


def _elements(file: BinaryIO, at: int, end: int) -> Iterator[_Element]:
    """Yield the elements from a place on, without what is inside them.

    Raises:
        ValueError: They are more than a recording has.
    """
    left = _FREE_ELEMENTS + (end - at) // _ELEMENT_BYTES
    while at < end:
        if not (left := left - 1):
            raise ValueError("it has more parts than any recording")
        file.seek(at)
        head = file.read(_WIDEST)
        width = 9 - head[0].bit_length() if head and head[0] else 9
        if width > 4:
            return
        size, used = _element_size(head[width:])
        if not used:
            return
        at += width + used
        yield _Element(int.from_bytes(head[:width], "big"), at, size)
        if size == _UNKNOWN:
            return
        at += size


def _element_size(data: bytes) -> tuple[int, int]:
    """Return (size of an element's content or _UNKNOWN, bytes that the size takes, 0 if none)."""
    used = 9 - data[0].bit_length() if data and data[0] else 9
    if used > min(8, len(data)):
        return _UNKNOWN, 0
    value = int.from_bytes(data[:used], "big") & ((1 << 7 * used) - 1)
    return (_UNKNOWN if value == (1 << 7 * used) - 1 else value), used


def _chunks(file: BinaryIO, count: int) -> Iterator[bytes]:
    while count > 0 and (part := file.read(min(count, _CHUNK_BYTES))):
        count -= len(part)
        yield part
