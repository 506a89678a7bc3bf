"""Messages between a tap and its subscriber: a length of 4 bytes (little endian), then msgpack.

They never leave the machine, and both ends are of the same version: no compatibility is kept.
"""

from __future__ import annotations

import socket
import struct
from typing import TypeAlias, TypeVar

import msgspec

from mlink.errors import ControlError

_LENGTH = struct.Struct("<I")


class _Message(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Base of all messages; the tag, first in the array, is the class's name."""


class Hello(_Message, frozen=True):
    """The run has started."""

    t0_ns: int
    """Zero of the master time on CLOCK_MONOTONIC."""
    recording_dir: str
    """Folder of the recording; "" when the run is not recorded."""
    metadata: dict[str, bytes]
    """Stream ("module.port") → packed metadata."""


class Reading(_Message, frozen=True):
    """A LineReading of a stream, with its own time; `seq` is its number in the stream, from 0."""

    stream: str
    seq: int
    line: int
    value: int
    time_usec: int


class Command(_Message, frozen=True):
    """A LineCommand of a stream, and the master time at which it was sent.

    Commands carry no time of their own.
    """

    stream: str
    seq: int
    kind: int
    line: int
    value: int
    time_usec: int


class Row(_Message, frozen=True):
    """A TableRow of a stream, and the master time at which it was sent."""

    stream: str
    seq: int
    cells: list[str]
    time_usec: int


class FrameSeen(_Message, frozen=True):
    """A frame of a stream, without its pixels, which the tap keeps for a while.

    `Fetch` asks for the pixels while the tap still has them.
    """

    stream: str
    seq: int
    index: int
    time_usec: int
    values: dict[int, float]
    """Number of a region → mean brightness in this frame."""


class Drained(_Message, frozen=True):
    """Everything sent to the tap before this master time has been forwarded.

    All items that follow this message were sent later.
    """

    time_usec: int
    taken: dict[str, int]
    """Stream → how many of its items were forwarded, or were lost before the tap."""
    doubtful: list[str]
    """Streams of which more may be lost: the tap's queue may have been full."""
    last: bool
    """Whether all streams have ended."""


class RegionAdded(_Message, frozen=True):
    """Answer to AddRegion: means of the region in the frames that the tap still keeps."""

    region: int
    samples: list[tuple[int, int, float]]
    """(frame index, time in µs, mean)"""


class Pixels(_Message, frozen=True):
    """Answer to Fetch; `shape` is empty when the frame is no longer kept."""

    request: int
    index: int
    time_usec: int
    shape: tuple[int, ...]
    dtype: str
    data: bytes


class Echo(_Message, frozen=True):
    """Request, and its answer: all items that the tap has handled are on their way before it.

    The sender chooses `request`, a number that the answer repeats, with an account of the items.
    """

    request: int
    account: Drained | None = None


class AddRegion(_Message, frozen=True):
    """Request the mean brightness of a rectangle, in pixels, in each frame of a stream.

    The sender chooses `region`, a number that later messages repeat.
    """

    region: int
    stream: str
    x: int
    y: int
    width: int
    height: int


class Fetch(_Message, frozen=True):
    """Request the pixels of a frame by its index, or of the newest (-1).

    The sender chooses `request`, a number that the answer repeats.
    """

    request: int
    stream: str
    index: int


class Drive(_Message, frozen=True):
    """Drive a board's line to a level, or (None) make it an input with pull-up."""

    board: str
    line: int
    level: bool | None


FromTap: TypeAlias = (
    Hello | Reading | Command | Row | FrameSeen | Drained | RegionAdded | Pixels | Echo
)
ToTap: TypeAlias = AddRegion | Fetch | Drive | Echo

_encoder = msgspec.msgpack.Encoder()
_from_tap: msgspec.msgpack.Decoder[FromTap] = msgspec.msgpack.Decoder(FromTap)
_to_tap: msgspec.msgpack.Decoder[ToTap] = msgspec.msgpack.Decoder(ToTap)


def pack(message: FromTap | ToTap) -> bytes:
    """Return a message as the bytes to send."""
    data = _encoder.encode(message)
    return _LENGTH.pack(len(data)) + data


class Receiver:
    """Reads messages from a stream socket, blocking; a broken connection counts as its end."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def from_tap(self) -> FromTap | None:
        """Return the next message of the tap; None at the end.

        Raises:
            ControlError: The bytes are not a message.
        """
        data = self._next()
        return None if data is None else _decode(_from_tap, data)

    def to_tap(self) -> ToTap | None:
        """Return the next message of the subscriber; None at the end.

        Raises:
            ControlError: The bytes are not a message.
        """
        data = self._next()
        return None if data is None else _decode(_to_tap, data)

    def close(self) -> None:
        """Close the read buffer; the socket stays open."""
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
        raise ControlError(f"a tap and its subscriber disagree on a message: {error}") from error
