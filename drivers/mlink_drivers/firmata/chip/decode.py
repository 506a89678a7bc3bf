"""Decodes the messages of a board with mlink's firmware (sysex 0x01 to 0x0C). Sans-IO.

firmware/PROTOCOL.md describes the bytes, messages.py has the values that result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from mlink.reflexes import Edges
from mlink_drivers.firmata.chip.messages import (
    MAGIC,
    AnalogBlock,
    BaudAnswer,
    ChipEdge,
    ChipStatus,
    ClockAnswer,
    CounterReport,
    CounterState,
    EdgeBlock,
    EdgeWatch,
    EventsLost,
    ExtensionId,
    ExtensionMessage,
    Feature,
    Features,
    I2CResult,
    I2CSpeed,
    I2CStatus,
    PulseEnd,
    ReflexFired,
    ReflexState,
    SafeStateSet,
    SafeStateTripped,
    ScansMissed,
    StepperHow,
    StepperReport,
    StepperState,
)
from mlink_drivers.firmata.wire.protocol import Sysex


class _Reader:
    """Reads numbers in 7-bit bytes, least significant first; IndexError at the end."""

    def __init__(self, data: bytes, sequence_bytes: int) -> None:
        self._data = data
        self._sequence_bytes = sequence_bytes
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int = 1) -> int:
        if self.left < count:
            raise IndexError(count)
        value = 0
        for shift in range(count):
            value |= self._data[self._at + shift] << 7 * shift
        self._at += count
        return value

    def sequence(self) -> int:
        return self.take(self._sequence_bytes)

    def ticks(self) -> int:
        return self.take(5)

    def bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]


def _features(reader: _Reader) -> ExtensionMessage | None:
    if reader.bytes(len(MAGIC)) != MAGIC:
        return None
    numbers = [reader.take(count) for count in (1, 5, 2, 2, 1, 1, 2, 2, 5, 1)]
    version, tick_hz, features, queue, slots, reflexes, longest, buffer, baud, pins = numbers
    flags = [reader.take() for _ in range(pins)]
    return Features(
        version=version,
        tick_hz=tick_hz,
        features=Feature(features),
        event_queue=queue,
        pulse_slots=slots,
        reflexes=reflexes,
        longest_sysex=longest,
        receive_buffer=buffer,
        highest_baud=baud,
        edge_pins=frozenset(pin for pin, flag in enumerate(flags) if flag & 1),
        output_pins=frozenset(pin for pin, flag in enumerate(flags) if flag & 2),
    )


_TICK_BYTES: Final = 5
_BYTES_PER_EDGE: Final = 3


def _edge_block(data: bytes, sequence_bytes: int) -> EdgeBlock | None:
    """Decode a block of edges inline, for speed: this adds to the latency of every edge."""
    size, head = len(data), 1 + sequence_bytes + _TICK_BYTES
    if size < head or (size - head) % _BYTES_PER_EDGE:
        return None
    sequence = data[1] if sequence_bytes == 1 else data[1] | data[2] << 7
    at = head - _TICK_BYTES
    ticks = data[at] | data[at + 1] << 7 | data[at + 2] << 14 | data[at + 3] << 21
    ticks |= data[at + 4] << 28
    edges = []
    for at in range(head, size, _BYTES_PER_EDGE):
        high = data[at + 2]
        ticks = (ticks + (data[at + 1] | (high & 0x3F) << 7)) & 0xFFFFFFFF
        edges.append(ChipEdge(data[at], high & 0x40 != 0, ticks))
    return EdgeBlock(sequence, tuple(edges))


def _edges(reader: _Reader) -> ExtensionMessage | None:
    sub = reader.take()
    if sub == 1:
        pin, kind, level = reader.take(), Edges(reader.take() & 3), bool(reader.take())
        return EdgeWatch(pin, kind, level, reader.ticks())
    return EventsLost(reader.take(3)) if sub == 3 else None


def _clock(reader: _Reader) -> ExtensionMessage | None:
    return ClockAnswer(reader.take(), bool(reader.take()), reader.ticks(), reader.ticks())


def _pulses(reader: _Reader) -> ExtensionMessage | None:
    if reader.take() != 2:
        return None
    pin, how = reader.take(), reader.take()
    return PulseEnd(pin, how == 0, reader.ticks(), reader.ticks(), reader.take(3))


def _analog_blocks(reader: _Reader) -> ExtensionMessage | None:
    sub = reader.take()
    if sub == 3:
        return ScansMissed(reader.take(3))
    if sub != 2:
        return None
    sequence, ticks = reader.sequence(), reader.ticks()
    return AnalogBlock(sequence, ticks, tuple(reader.take(2) for _ in range(reader.left // 2)))


def _reflexes(reader: _Reader) -> ExtensionMessage | None:
    sub, index = reader.take(), reader.take()
    if sub == 2:
        return ReflexFired(index, reader.ticks(), reader.ticks())
    return ReflexState(index, bool(reader.take())) if sub == 3 else None


def _safe_state(reader: _Reader) -> ExtensionMessage | None:
    sub = reader.take()
    if sub == 1:
        return SafeStateSet(reader.take(3))
    return SafeStateTripped(reader.ticks()) if sub == 2 else None


def _baud(reader: _Reader) -> ExtensionMessage | None:
    return BaudAnswer(reader.take(), bool(reader.take()), reader.ticks())


def _status(reader: _Reader) -> ExtensionMessage | None:
    status = ChipStatus(reader.ticks(), *(reader.take(3) for _ in range(10)))
    if not reader.left:
        return status
    return msgspec.structs.replace(status, next_block=reader.sequence())


def _counters(reader: _Reader) -> ExtensionMessage | None:
    sub, index = reader.take(), reader.take()
    if sub == 1:
        return CounterState(index, bool(reader.take()))
    if sub != 2:
        return None
    tag, sequence = reader.take(), reader.take()
    ticks, position, count, last, high = (reader.ticks() for _ in range(5))
    errors, glitches = reader.take(2), reader.take(2)
    return CounterReport(index, tag, sequence, ticks, position, count, last, high, errors, glitches)


def _steppers(reader: _Reader) -> ExtensionMessage | None:
    sub, index = reader.take(), reader.take()
    if sub == 1:
        return StepperState(index, bool(reader.take()))
    tag, how, sequence = reader.take(), reader.take(), reader.take()
    ticks, position, interval = (reader.ticks() for _ in range(3))
    if sub != 4 or how > max(StepperHow):
        return None
    position -= (position >> 31) << 32
    return StepperReport(index, tag, StepperHow(how), sequence, ticks, position, interval)


def _i2c(reader: _Reader) -> ExtensionMessage | None:
    sub = reader.take()
    if sub == 0:
        return I2CSpeed(reader.take(2))
    tag, status, ticks = reader.take(), reader.take(), reader.ticks()
    if sub != 1 or status > max(I2CStatus):
        return None
    data = bytes(reader.take(2) & 0xFF for _ in range(reader.left // 2))
    return I2CResult(tag, I2CStatus(status), ticks, data)


_DECODERS: Final[dict[int, Callable[[_Reader], ExtensionMessage | None]]] = {
    ExtensionId.FEATURES: _features,
    ExtensionId.EDGES: _edges,
    ExtensionId.CLOCK: _clock,
    ExtensionId.PULSES: _pulses,
    ExtensionId.ANALOG_BLOCKS: _analog_blocks,
    ExtensionId.REFLEXES: _reflexes,
    ExtensionId.SAFE_STATE: _safe_state,
    ExtensionId.BAUD: _baud,
    ExtensionId.STATUS: _status,
    ExtensionId.COUNTERS: _counters,
    ExtensionId.STEPPERS: _steppers,
    ExtensionId.I2C: _i2c,
}


_EDGES: Final = int(ExtensionId.EDGES)


def decode_extension(message: Sysex, version: int = 1) -> ExtensionMessage | None:
    """Decode a message of the extension; None for other ids and for a wrong format.

    Other firmwares use these ids too, so call it only once features were queried.

    Args:
        message: The message, without a check value.
        version: Version of the extension that the board speaks; its sequence numbers have as many
            bytes.
    """
    if message.id == _EDGES and message.data[:1] == b"\2":
        return _edge_block(message.data, version)
    decode = _DECODERS.get(message.id)
    if decode is None:
        return None
    reader = _Reader(message.data, version)
    try:
        decoded = decode(reader)
    except IndexError:
        return None
    return decoded if reader.left == 0 else None
