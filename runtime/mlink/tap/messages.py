"""Messages between the `hil-tap` module and the test process: length, then msgpack."""

from __future__ import annotations

import socket
import struct
from typing import TypeAlias, TypeVar

import msgspec

from mlink.errors import ControlError

_LENGTH = struct.Struct("<I")


class _Message(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Base of all messages."""


class Hello(_Message, frozen=True):
    """The run has started: its zero on CLOCK_MONOTONIC in ns, and what the streams are."""

    t0_ns: int
    recording_dir: str
    metadata: dict[str, bytes]
    """Stream ("module.port") → packed metadata."""


class Reading(_Message, frozen=True):
    """A LineReading of a stream."""

    stream: str
    line: int
    value: int
    time_usec: int


class Command(_Message, frozen=True):
    """A LineCommand of a stream, when it came here, and since when it may have been waiting."""

    stream: str
    kind: int
    line: int
    value: int
    time_usec: int
    since_usec: int


class Row(_Message, frozen=True):
    """A TableRow of a stream, when it came here, and since when it may have been waiting."""

    stream: str
    cells: list[str]
    time_usec: int
    since_usec: int


class FrameSeen(_Message, frozen=True):
    """A frame of a stream; its pixels stay with the tap. `values` are its regions' means."""

    stream: str
    index: int
    time_usec: int
    values: dict[int, float]


class Lost(_Message, frozen=True):
    """Items of a stream that did not reach the tap."""

    stream: str
    count: int


class Drained(_Message, frozen=True):
    """All that was on its way to the tap at this master time has been told."""

    time_usec: int


class RegionAdded(_Message, frozen=True):
    """A region is watched; its means in the frames that are still kept."""

    region: int
    samples: list[tuple[int, int, float]]
    """(frame index, time in µs, mean)"""


class Pixels(_Message, frozen=True):
    """A frame that was asked for; `shape` is empty when it is no longer kept."""

    request: int
    index: int
    time_usec: int
    shape: tuple[int, ...]
    dtype: str
    data: bytes


class AddRegion(_Message, frozen=True):
    """Ask for the mean brightness of a rectangle in each frame of a stream."""

    region: int
    stream: str
    x: int
    y: int
    width: int
    height: int


class Fetch(_Message, frozen=True):
    """Ask for the pixels of a frame by its index, or of the newest (-1)."""

    request: int
    stream: str
    index: int


class Order(_Message, frozen=True):
    """Drive a tester's line to a level, or (None) make it an input with pull-up."""

    tester: str
    line: int
    level: bool | None


FromTap: TypeAlias = (
    Hello | Reading | Command | Row | FrameSeen | Lost | Drained | RegionAdded | Pixels
)
ToTap: TypeAlias = AddRegion | Fetch | Order

_encoder = msgspec.msgpack.Encoder()
_from_tap: msgspec.msgpack.Decoder[FromTap] = msgspec.msgpack.Decoder(FromTap)
_to_tap: msgspec.msgpack.Decoder[ToTap] = msgspec.msgpack.Decoder(ToTap)


def pack(message: FromTap | ToTap) -> bytes:
    """Return a message as it goes over the socket."""
    data = _encoder.encode(message)
    return _LENGTH.pack(len(data)) + data


class Receiver:
    """Cuts messages out of a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def from_tap(self) -> FromTap | None:
        """Return the next message of the tap; None at the end."""
        data = self._next()
        return None if data is None else _decode(_from_tap, data)

    def to_tap(self) -> ToTap | None:
        """Return the next message of the test process; None at the end."""
        data = self._next()
        return None if data is None else _decode(_to_tap, data)

    def close(self) -> None:
        """Close the buffer over the socket."""
        self._file.close()

    def _next(self) -> bytes | None:
        try:
            head = self._file.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                return None
            size = _LENGTH.unpack(head)[0]
            data = self._file.read(size)
        except (OSError, ValueError):
            return None
        return data if len(data) == size else None


_MessageT = TypeVar("_MessageT")


def _decode(decoder: msgspec.msgpack.Decoder[_MessageT], data: bytes) -> _MessageT:
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ControlError(f"tap and test do not understand each other: {error}") from error
