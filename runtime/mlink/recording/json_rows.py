"""Rows of a recorded JSON table, `{…,"columns":[…],"data":[[…],[…]]}`, read piece by piece.

So a file may be larger than the memory, and one that inflates without end is refused.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from mlink.storage.failures import storage_errors
from mlink.storage.inside import RecordingFile, stored
from mlink.storage.limits import check_size, read_limit

Batch = tuple[dict[str, Any], list[Any]]
"""What the file has beside its rows, with the titles of its "columns"; and some rows."""
_AT_ONCE = 1 << 16
"""Compressed bytes that are inflated at once."""
_FED_BYTES = 1 << 10
"""Compressed bytes inflated at once: they expand to at most 32 MB."""
_WINDOW = 1 << 27
"""Memory that zstd may need for what it has inflated, as other programs allow it."""
_PIECE = 1 << 20
"""Characters that are parsed at once."""
_LONGEST = 8 << 20
"""Characters of a head, or of a row; what is longer is not of a recorder."""
_TRIES = 8
_ROWS = re.compile(rb'"data"\s*:\s*\[')
_INFINITE = {math.inf: msgspec.Raw(b"1e999"), -math.inf: msgspec.Raw(b"-1e999")}
_END_OF_ROW = re.compile(rb"\]\s*,")


class NotRowsError(ValueError):
    """A file is JSON, but not a table of rows."""


def json_rows(file: RecordingFile) -> Iterator[Batch]:
    """Yield the rows of a file, some at a time; at least one batch, which may be empty.

    Args:
        file: A .json or .json.zst file.

    Raises:
        NotRowsError: It is JSON, but not a table of rows.
        ValueError: It is torn, or not strict JSON.
        StorageError: It cannot be read from the disk, or has more than a file may give.
    """
    pieces = inflated(file)
    text, ended = bytearray(), False
    head: dict[str, Any] | None = None
    while not ended:
        wanted = max(_PIECE, 2 * len(text))
        while len(text) < wanted and not ended:
            piece = next(pieces, None)
            text += piece or b""
            ended = piece is None
        if head is None and ended:
            yield _whole(_parsed(bytes(text)))
            return
        if head is None and (found := _ROWS.search(text)) is not None:
            head, _ = _whole(_parsed(bytes(text[: found.end()]) + b"]}"))
            del text[: found.end()]
            yield head, []
        if head is not None:
            if ended:
                yield head, _whole(_parsed(b'{"data":[' + bytes(text)))[1]
                return
            batch, used = _complete_rows(text)
            del text[:used]
            if batch:
                yield head, batch
        if len(text) > _LONGEST:
            raise NotRowsError("it has no rows of a recorder")


def _complete_rows(text: bytearray) -> tuple[list[Any], int]:
    """Return the complete rows at the beginning of a text, and the bytes that they take."""
    end, tries = len(text), 0
    while tries < _TRIES and (end := text.rfind(b"]", 0, end)) >= 0:
        if (comma := _END_OF_ROW.match(text, end)) is None:
            continue
        tries += 1
        try:  # fails where the bracket is of a list or a text within a row
            return _parsed(b"[" + bytes(text[: end + 1]) + b"]"), comma.end()
        except ValueError:
            continue
    return [], 0


def _whole(content: Any) -> Batch:
    rows = content.pop("data", []) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise NotRowsError("it has no list of rows")
    columns = content.setdefault("columns", [])
    if not isinstance(columns, list) or not all(isinstance(title, str) for title in columns):
        raise NotRowsError("the titles of its columns are no texts")
    return content, rows


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except RecursionError:
        raise NotRowsError("it is nested too deep") from None


def refuse_constant(word: str) -> Any:
    """Refuse NaN and Infinity, which Python's json module reads."""
    raise ValueError(f"{word} is not JSON")


def json_row(row: list[Any]) -> list[Any]:
    """Return a row for msgspec's encoder, which writes ±∞ as null like NaN: as ±1e999.

    That is a number of JSON too, and so large that readers take it as infinite.
    """
    return [_INFINITE.get(value, value) if isinstance(value, float) else value for value in row]


def inflated(file: RecordingFile) -> Iterator[bytes]:
    """Yield the text of a .json or .json.zst file, piece by piece.

    Raises:
        ValueError: It cannot be decompressed from here on.
        StorageError: It cannot be read from the disk, or has more than a file may give.
    """
    with file.open() as opened, storage_errors(file.path, "read"):
        if not file.name.endswith(".zst"):
            while piece := opened.read(_AT_ONCE):
                yield piece
            return
        import zstandard

        limit, total = read_limit(stored(os.fstat(opened.fileno()))), 0
        try:
            frame = zstandard.ZstdDecompressor(max_window_size=max(limit, _WINDOW)).decompressobj()
            while not frame.eof and (piece := opened.read(_FED_BYTES)):
                text = frame.decompress(piece)
                total += len(text)
                check_size(f"{file.name}, inflated,", total, limit)
                yield text
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error


def bytes_behind(file: RecordingFile) -> int:
    """Return the number of bytes after the end of a compressed file's frame."""
    if not file.name.endswith(".zst"):
        return 0
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    with file.open() as opened, storage_errors(file.path, "read"):
        while not frame.eof and (piece := opened.read(_FED_BYTES)):
            frame.decompress(piece)
        return len(frame.unused_data) + os.fstat(opened.fileno()).st_size - opened.tell()
