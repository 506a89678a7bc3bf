"""What crosses from host to host: packets with numbers, until the other end has acknowledged them.

The connection below is reliable while it lasts. What was on the way when it was cut is sent again,
from packets that are kept until the receiver has acknowledged them (go-back-N). Nothing here knows
of threads, sockets or clocks.

Items keep their number in their stream, so that a gap is known at both ends: what found no room at
the sender has none in any packet, and what the sender has given up is below `Packet.base`.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any, Final

import msgspec

MOST_ITEM_BYTES: Final = 48 << 20
"""Size of the largest item: of one frame, after its codec."""
MOST_TOGETHER: Final = 512
"""Items in one packet."""
_TOGETHER_BYTES: Final = 32_000
"""Bytes of items in one packet, unless it has one alone: about what one batch of Zenoh holds."""
_NO_END: Final = -1

Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Item(msgspec.Struct, array_like=True, frozen=True):
    """One item of a stream."""

    seq: Number
    """Its number in the stream at its source."""
    sent_usec: Annotated[int, msgspec.Meta(ge=-(1 << 62), lt=1 << 62)]
    """Master time at which it was sent there, in µs."""
    body: Annotated[bytes, msgspec.Meta(max_length=MOST_ITEM_BYTES)]
    """The item (`mlink.hosts.run.items`)."""


class Packet(msgspec.Struct, tag="p", array_like=True, frozen=True):
    """Items that cross together."""

    number: Number
    base: Number
    """Packets below this number are not sent again."""
    items: Annotated[list[Item], msgspec.Meta(max_length=MOST_TOGETHER)]
    end: Annotated[int, msgspec.Meta(ge=_NO_END, lt=1 << 62)] = _NO_END
    """Number of items that the stream has had; -1 while it goes on."""


class Meta(msgspec.Struct, tag="m", array_like=True, frozen=True):
    """Metadata of the stream."""

    data: Annotated[bytes, msgspec.Meta(max_length=200_000)]
    final: bool
    """Whether its source has started, after which they do not change."""


class Ack(msgspec.Struct, tag="a", array_like=True, frozen=True):
    """What the receiver has."""

    next: Number
    """It has all packets below this number that were sent."""
    received: Number
    """Items that it has received."""
    lost: Number
    """Items that it knows to be lost."""
    again: bool = False
    """Whether it misses that packet, and has later ones."""
    ended: bool = False
    wants_meta: bool = False


class Outbox:
    """The sending end of one stream.

    Args:
        most_items: Items that it keeps; further ones are lost.
        most_bytes: Their bytes.
        newest: Keep the newest waiting item alone, and send no item twice.
        window: Packets that may be on their way.
        patience_s: After so long without an acknowledgement packets are sent again.
    """

    def __init__(
        self,
        *,
        most_items: int,
        most_bytes: int,
        newest: bool = False,
        window: int = 64,
        patience_s: float = 0.5,
    ) -> None:
        self._most_items, self._most_bytes = most_items, most_bytes
        self._newest = newest
        self._window = 2 if newest else window
        self._patience_s = patience_s
        self._waiting: deque[Item] = deque()
        self._flying: deque[Packet] = deque()
        """Sent, and not acknowledged yet."""
        self._bytes = self._items = 0
        """Of the items that are kept."""
        self._next = self._base = 0
        self._end = _NO_END
        self._end_is_sent = False
        self._moved_s = 0.0
        """When an acknowledgement brought something new, or packets were sent again."""
        self._is_asked_again = False
        self.dropped = 0
        """Items that found no room, or were replaced by newer ones."""
        self.resent = 0
        """Packets that were sent again."""
        self.ack = Ack(0, 0, 0)
        """The newest acknowledgement."""

    def offer(self, item: Item) -> bool:
        """Take an item to send; return whether there was room for it."""
        if self._newest and self._waiting:
            self._forget(self._waiting.popleft())
            self.dropped += 1
        size = len(item.body)
        if self._items >= self._most_items or self._bytes + size > self._most_bytes:
            self.dropped += 1
            return False
        self._waiting.append(item)
        self._items += 1
        self._bytes += size
        return True

    def end(self, count: int) -> None:
        """Send the end after what waits; the stream has had `count` items."""
        self._end = count

    @property
    def left(self) -> int:
        """Items that are kept: they wait, or are not acknowledged."""
        return self._items

    @property
    def has_ended(self) -> bool:
        """Whether the receiver has acknowledged the end."""
        return self.ack.ended

    def due(self, now_s: float) -> list[Packet]:
        """Return the packets to send now.

        Args:
            now_s: Time in s, of a clock that is never set.
        """
        again = self._due_again(now_s)
        new: list[Packet] = []
        while len(self._flying) < self._window and (packet := self._packed()) is not None:
            if not self._flying:
                self._moved_s = now_s
            self._flying.append(packet)
            new.append(packet)
        return again + new

    def _due_again(self, now_s: float) -> list[Packet]:
        if not self._flying:
            return []
        is_late = now_s - self._moved_s > self._patience_s
        if not (self._is_asked_again or is_late):
            return []
        self._moved_s, self._is_asked_again = now_s, False
        if self._newest and self._end == _NO_END:
            while self._flying:
                self._give_up(self._flying.popleft())
            return []
        self.resent += len(self._flying)
        return list(self._flying)

    def _give_up(self, packet: Packet) -> None:
        self._base = packet.number + 1
        for item in packet.items:
            self._forget(item)

    def _packed(self) -> Packet | None:
        """Return the next packet; None when there is nothing to send."""
        items: list[Item] = []
        size = 0
        while self._waiting and len(items) < MOST_TOGETHER:
            size += len(self._waiting[0].body)
            if items and size > _TOGETHER_BYTES:
                break
            items.append(self._waiting.popleft())
        ends = self._end != _NO_END and not self._waiting and not self._end_is_sent
        if not items and not ends:
            return None
        self._end_is_sent = ends
        packet = Packet(self._next, self._base, items, self._end if ends else _NO_END)
        self._next += 1
        return packet

    def acknowledge(self, ack: Ack, now_s: float) -> None:
        """Take an acknowledgement; older ones than the newest do nothing.

        Args:
            ack: The acknowledgement.
            now_s: Time in s, as in `due`.
        """
        if ack.next > self._next or ack.next < self.ack.next or self.ack.ended:
            return  # of somebody else, or overtaken
        if ack.next > self.ack.next:
            self._moved_s = now_s
        self.ack = ack
        while self._flying and self._flying[0].number < ack.next:
            for item in self._flying.popleft().items:
                self._forget(item)
        self._is_asked_again |= ack.again and bool(self._flying)

    def _forget(self, item: Item) -> None:
        self._items -= 1
        self._bytes -= len(item.body)


class Inbox:
    """The receiving end of one stream."""

    def __init__(self) -> None:
        self._next = 0
        self._seq = 0
        """Number in the stream that the next item has, if none is lost."""
        self._misses = False
        self.received = 0
        self.lost = 0
        """Items that were sent and will not come."""
        self.ended = False

    def take(self, packet: Packet) -> list[Item | int]:
        """Return what a packet brings, in the order of the stream.

        Args:
            packet: As received; packets may come twice, and later ones before earlier ones.

        Returns:
            Items, and the number of lost ones before the next. Nothing for a packet that came
            before, or that comes too early.
        """
        if self.ended or packet.number < self._next:
            return []
        if packet.number > self._next and packet.base <= self._next:
            self._misses = True
            return []
        self._misses = False
        self._next = packet.number + 1
        found: list[Item | int] = []
        for item in packet.items:
            if item.seq < self._seq:
                continue  # no sender numbers backwards
            self._skip_to(item.seq, found)
            found.append(item)
            self._seq = item.seq + 1
            self.received += 1
        if packet.end != _NO_END:
            self._skip_to(packet.end, found)
            self.ended = True
        return found

    def _skip_to(self, seq: int, found: list[Item | int]) -> None:
        if seq > self._seq:
            found.append(seq - self._seq)
            self.lost += seq - self._seq
            self._seq = seq

    def ack(self, *, wants_meta: bool = False) -> Ack:
        """Return the acknowledgement to send.

        Args:
            wants_meta: Whether the metadata have not come yet.
        """
        again, self._misses = self._misses, False
        return Ack(self._next, self.received, self.lost, again, self.ended, wants_meta)


Down = Packet | Meta
"""What the source's end sends."""
_encode = msgspec.msgpack.Encoder().encode
_down: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Packet | Meta)
_up = msgspec.msgpack.Decoder(Ack)


def encode(message: Packet | Meta | Ack) -> bytes:
    """Return a message as it crosses."""
    return _encode(message)


def read_down(data: bytes) -> Packet | Meta:
    """Return what the source's end has sent.

    Raises:
        msgspec.MsgspecError: It is no such message, or exceeds a limit.
    """
    message: Packet | Meta = _down.decode(data)
    return message


def read_up(data: bytes) -> Ack:
    """Return what the receiving end has sent.

    Raises:
        msgspec.MsgspecError: It is no acknowledgement.
    """
    return _up.decode(data)
