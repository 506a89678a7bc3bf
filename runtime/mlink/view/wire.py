"""Messages of the view as bytes: between a run and the program, and pictures for a page."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec

from mlink.errors import ControlError
from mlink.view.messages import FromRun, Picture, ToRun

LIMIT = 32 << 20
"""Longest message between a run and the program, in bytes: a large picture."""
_LENGTH = struct.Struct("<I")

_encode = msgspec.msgpack.Encoder().encode
_from_run: msgspec.msgpack.Decoder[FromRun] = msgspec.msgpack.Decoder(FromRun)
_to_run: msgspec.msgpack.Decoder[ToRun] = msgspec.msgpack.Decoder(ToRun)


def pack(message: FromRun | ToRun) -> bytes:
    """Return a message as the bytes to send: a length of 4 bytes (little endian), then msgpack."""
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


async def read_from_run(reader: asyncio.StreamReader) -> FromRun | None:
    """Return the next message of a run or of its feed; None at the end.

    Raises:
        ControlError: The bytes are not a message.
    """
    try:
        (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if size > LIMIT:
            raise ControlError(f"a message of {size:,} bytes is longer than {LIMIT:,}")
        return _from_run.decode(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, OSError):
        return None
    except msgspec.MsgspecError as error:
        raise ControlError(f"a run and its view disagree on a message: {error}") from error


def packed_picture(picture: Picture, more: dict[str, Any] | None = None) -> bytes:
    """Return a picture as a page gets it: the length of its head, the head as JSON, the JPEG."""
    head = msgspec.to_builtins(msgspec.structs.replace(picture, jpeg=b"")) | (more or {})
    text = msgspec.json.encode(head)
    return _LENGTH.pack(len(text)) + text + picture.jpeg


class ToRunBuffer:
    """Cuts what arrives at a run's or a feed's end into messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[ToRun]:
        """Return the messages that are complete.

        Raises:
            ControlError: The bytes are not a message.
        """
        self._data += data
        found: list[ToRun] = []
        while len(self._data) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._data)
            if size > LIMIT:
                raise ControlError(f"a message of {size:,} bytes is longer than {LIMIT:,}")
            end = _LENGTH.size + size
            if len(self._data) < end:
                break
            try:
                found.append(_to_run.decode(self._data[_LENGTH.size : end]))
            except msgspec.MsgspecError as error:
                raise ControlError(f"a run and its view disagree on a message: {error}") from error
            del self._data[:end]
        return found
