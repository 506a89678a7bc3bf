"""Rows of a recorded JSON table, `{…,"columns":[…],"data":[[…],[…]]}`, read piece by piece.

So a file may be larger than the memory, and one that inflates without end is refused. A `Reading`
is the one parser: of what is complete, and of what a crash or damage left.
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
_SPACE = re.compile(r"[ \t\r\n]*")


def _refuse_constant(word: str) -> Any:
    """Refuse NaN and Infinity, which Python's json module reads."""
    raise ValueError(f"{word} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


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
    reading = Reading(file)
    if reading.head is not None:
        yield reading.head, []
        for batch in reading.rows():
            yield reading.head, batch
    if reading.unreadable:
        raise ValueError(reading.unreadable)
    if not reading.ended:
        raise NotRowsError("it has no rows of a recorder")
    if reading.head is None:
        yield _whole(_parsed(bytes(reading.rest)))
    else:
        yield reading.head, _whole(_parsed(b'{"data":[' + bytes(reading.rest)))[1]


class Reading:
    """One pass over a file, which ends where nothing more of it is a complete row.

    Raises:
        NotRowsError: It is JSON, but not a table of rows.
        ValueError: Its head is no strict JSON.
        StorageError: It cannot be read from the disk, or has more than a file may give.
    """

    def __init__(self, file: RecordingFile) -> None:
        self._pieces = inflated(file)
        self.head: dict[str, Any] | None = None
        """What the file has beside its rows; None when no rows begin in it."""
        self.rest = bytearray()
        """Text that is not understood yet: at the end, all from the last row on."""
        self.used = 0
        """Bytes of text before `rest`."""
        self.ended = False
        """Whether all of the file's text was read, as far as it can be inflated."""
        self.unreadable = ""
        """Why the text cannot be inflated from there on."""
        while not self.ended and len(self.rest) <= _LONGEST:
            self._fill()
            if (found := _ROWS.search(self.rest)) is not None:
                self.head, _ = _whole(_parsed(bytes(self.rest[: found.end()]) + b"]}"))
                self._use(found.end())
                return

    def rows(self) -> Iterator[list[Any]]:
        """Yield the complete rows that another one follows, some at a time."""
        while True:
            batch, used = _complete_rows(self.rest)
            self._use(used)
            if batch:
                yield batch
            if self.ended or len(self.rest) > _LONGEST:
                return
            self._fill()

    def _use(self, count: int) -> None:
        del self.rest[:count]
        self.used += count

    def _fill(self) -> None:
        wanted = max(_PIECE, 2 * len(self.rest))
        while len(self.rest) < wanted and not self.ended:
            try:
                piece = next(self._pieces, None)
            except ValueError as error:
                self.unreadable, piece = str(error), None
            self.rest += piece or b""
            self.ended = piece is None


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
    return rows_one_by_one(text, followed=True) if tries == _TRIES else ([], 0)


def rows_one_by_one(text: bytearray, *, followed: bool) -> tuple[list[Any], int]:
    """Return the rows at the beginning of a text up to one that is none, and the bytes they take.

    Args:
        text: Begins with a row.
        followed: Whether only rows count that a comma follows. Its bytes count then too.
    """
    try:
        plain = text.decode()
    except UnicodeDecodeError as error:
        plain = text[: error.start].decode()
    rows: list[Any] = []
    at = end = 0
    while True:
        try:
            row, at = _decoder.raw_decode(plain, _space(plain, at))
        except (ValueError, RecursionError):
            break
        comma = _space(plain, at)
        is_followed = plain.startswith(",", comma)
        if is_followed or not followed:
            rows.append(row)
            end = comma + 1 if followed else at
        if not is_followed:
            break
        at = comma + 1
    return rows, len(plain[:end].encode())


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


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
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise NotRowsError("it is nested too deep") from None


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
