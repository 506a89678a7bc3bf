"""A board with mlink's firmware as far as its extension goes: answers queries at once.

`answers` turns the bytes that a host sends into the messages that come back. The chip's clock is
CLOCK_MONOTONIC in ticks of 0.5 µs, and an exchange takes WAY_NS each way: an answer has to be
handed on with an arrival of 2 × WAY_NS after the question. Nothing here has a port or a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from mlink_drivers.firmata.chip.messages import MAGIC, ChipStatus, ExtensionId, Feature
from mlink_drivers.firmata.wire.protocol import Message, PinState, Sysex

TICK_HZ = 2_000_000
WAY_NS = 1_000_000
"""Longer than the bytes of a question take at 57,600 baud."""
WRAP = 1 << 32
ALL_FEATURES = Feature(0xFF)


def number(value: int, count: int) -> bytes:
    return bytes(value >> 7 * at & 0x7F for at in range(count))


def now_ticks(now_ns: int | None = None) -> int:
    return (time.monotonic_ns() if now_ns is None else now_ns) // 500 % WRAP


def messages_in(data: bytes) -> list[bytes]:
    """The sysex messages among bytes to a board, without F0 and F7."""
    found = []
    at = data.find(b"\xf0")
    while at >= 0:
        end = data.index(b"\xf7", at)
        found.append(data[at + 1 : end])
        at = data.find(b"\xf0", end)
    return found


def edge_block(sequence: int, edges: Iterable[tuple[int, bool, int]]) -> Sysex:
    """A block of (pin, level, ticks)."""
    edges = list(edges)
    before = edges[0][2] if edges else 0
    body = b"\2" + bytes((sequence,)) + number(before, 5)
    for pin, level, ticks in edges:
        distance, before = ticks - before, ticks
        body += bytes((pin, distance & 0x7F, (distance >> 7 & 0x3F) | (0x40 if level else 0)))
    return Sysex(ExtensionId.EDGES, body)


def edge_watch(pin: int, level: bool, ticks: int) -> Sysex:
    return Sysex(ExtensionId.EDGES, bytes((1, pin, 3, int(level))) + number(ticks, 5))


def events_lost(total: int) -> Sysex:
    return Sysex(ExtensionId.EDGES, b"\3" + number(total, 3))


def scans_missed(total: int) -> Sysex:
    return Sysex(ExtensionId.ANALOG_BLOCKS, b"\3" + number(total, 3))


def analog_block(sequence: int, ticks: int, values: Iterable[int]) -> Sysex:
    body = b"".join(number(value, 2) for value in values)
    head = b"\2" + bytes((sequence,)) + number(ticks, 5)
    return Sysex(ExtensionId.ANALOG_BLOCKS, head + body)


def reflex_fired(index: int, edge_ticks: int, action_ticks: int) -> Sysex:
    times = number(edge_ticks, 5) + number(action_ticks, 5)
    return Sysex(ExtensionId.REFLEXES, bytes((2, index)) + times)


def pulse_ended(pin: int, first_ticks: int, last_ticks: int) -> Sysex:
    times = number(first_ticks, 5) + number(last_ticks, 5)
    return Sysex(ExtensionId.PULSES, bytes((2, pin, 0)) + times + number(1, 3))


def counter_report(index: int, tag: int, ticks: int, count: int, last_ticks: int) -> Sysex:
    totals = b"".join(number(value, 5) for value in (ticks, count, count, last_ticks, 0))
    return Sysex(ExtensionId.COUNTERS, bytes((2, index, tag, 0)) + totals + number(0, 2) * 2)


def safe_state_tripped(ticks: int) -> Sysex:
    return Sysex(ExtensionId.SAFE_STATE, b"\2" + number(ticks, 5))


def baud_answer(step: int, baud_rate: int, *, refused: bool = False) -> Sysex:
    return Sysex(ExtensionId.BAUD, bytes((step, int(refused))) + number(baud_rate, 5))


class FakeChip:
    """Answers to the extension's queries; a test changes its attributes to make it misbehave."""

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.has_extension = True
        self._now_ns = now_ns
        self.features = ALL_FEATURES
        self.highest_baud = 1_000_000
        self.keeps_time = True
        self.refuses_baud = False
        self.confirms_baud = True
        self.status = ChipStatus(*[0] * 11)
        self.sent: list[bytes] = []
        """Every sysex message that it got, without F0 and F7."""
        self._baud_rate = 57_600

    def answers(self, data: bytes) -> list[Message]:
        """What comes back for bytes that a host sends."""
        found: list[Message] = []
        for body in messages_in(data):
            self.sent.append(body)
            answer = self._answer(body[0], body[1:])
            if answer is not None:
                found.append(answer)
        return found

    def _answer(self, sysex_id: int, body: bytes) -> Message | None:
        if sysex_id == 0x6D:
            return PinState(body[0], 1, 0)
        if not self.has_extension:
            return None
        if sysex_id == ExtensionId.FEATURES:
            return self._features()
        if sysex_id == ExtensionId.CLOCK and self.keeps_time:
            ticks = (now_ticks(self._now_ns()) + WAY_NS // 500) % WRAP
            return Sysex(ExtensionId.CLOCK, body[:1] + b"\1" + number(ticks, 5) * 2)
        if sysex_id == ExtensionId.BAUD:
            if body[0] == 0:
                self._baud_rate = sum(byte << 7 * at for at, byte in enumerate(body[1:]))
                return baud_answer(0, self._baud_rate, refused=self.refuses_baud)
            return baud_answer(1, self._baud_rate) if self.confirms_baud else None
        if sysex_id == ExtensionId.STATUS:
            counts = [getattr(self.status, name) for name in ChipStatus.__struct_fields__[:11]]
            data = number(counts[0], 5) + b"".join(number(count, 3) for count in counts[1:])
            return Sysex(ExtensionId.STATUS, data)
        return None

    def _features(self) -> Sysex:
        numbers = [(1, 1), (TICK_HZ, 5), (int(self.features), 2), (64, 2), (4, 1), (8, 1)]
        numbers += [(64, 2), (100, 2), (self.highest_baud, 5), (20, 1)]
        flags = bytes(3 if 2 <= pin < 14 else 0 for pin in range(20))
        body = b"".join(number(value, count) for value, count in numbers)
        return Sysex(ExtensionId.FEATURES, MAGIC + body + flags)
