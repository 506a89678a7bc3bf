"""Decodes bytes from a board into typed messages. Sans-IO: no port, no clock, no thread.

Resynchronisation: a data byte (below 0x80) where a command byte is expected is dropped. A command
byte inside a message drops that message and starts the next one. No sequence of bytes raises an
exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from mlink_drivers.firmata.wire.protocol import (
    END_SYSEX,
    PROTOCOL_VERSION,
    SET_DIGITAL_PIN,
    START_SYSEX,
    AnalogMapping,
    AnalogValue,
    Capabilities,
    DigitalPin,
    DigitalPort,
    ExtendedAnalog,
    Firmware,
    I2CReply,
    Message,
    Oversized,
    PinState,
    ProtocolVersion,
    StringData,
    Sysex,
    SysexId,
)

MAX_SYSEX_BYTES: Final = 8192
"""Longest sysex message accepted; the capability reply of a Mega has about 1,200 bytes."""

_COMMAND_BYTE: Final = re.compile(rb"[\x80-\xff]")
_NOTHING: Final = 0x7F
"""End of a pin in a capability reply (0x6C); "no channel" in an analog mapping (0x6A)."""


class Decoder:
    """Decodes chunks of a byte stream; an unfinished message is kept for the next chunk.

    Attributes:
        dropped_bytes: Bytes that belonged to no message.
        oversized: Sysex messages that were dropped because of their length.
        raw_sysex: Sysex ids that are returned as `Sysex` without decoding their data.

    Args:
        max_sysex_bytes: Longest sysex message accepted, F0 and F7 included.
    """

    def __init__(self, max_sysex_bytes: int = MAX_SYSEX_BYTES) -> None:
        self.dropped_bytes = 0
        self.oversized = 0
        self.raw_sysex: set[int] = set()
        self._max_sysex_bytes = max_sysex_bytes
        self._pending = b""

    def reset(self) -> None:
        """Discard the unfinished message, for a new connection."""
        self._pending = b""

    def feed(self, chunk: bytes) -> list[Message]:
        """Return the messages that are completed by `chunk`, in order.

        The `offset` of a message is its position from the start of `chunk`, negative when the
        message began in an earlier chunk.
        """
        data = self._pending + chunk if self._pending else chunk
        shift = len(chunk) - len(data)  # 0, or minus the bytes kept from earlier chunks
        size = len(data)
        messages: list[Message] = []
        add = messages.append
        at = 0
        while at < size:
            command = data[at]
            kind = command & 0xF0
            # The two most frequent messages are decoded inline, for speed.
            if kind == 0xE0 or kind == 0x90:
                if at + 2 < size:
                    low = data[at + 1]
                    high = data[at + 2]
                    if low < 0x80 and high < 0x80:
                        made = AnalogValue if kind == 0xE0 else DigitalPort
                        add(made(command & 0x0F, low | high << 7, at + shift, 3))
                        at += 3
                        continue
                after = self._broken_short(data, at)
            elif command == START_SYSEX:
                after = self._sysex(data, at, shift, add)
            else:
                after = self._rare(data, at, shift, add)
            if after < 0:
                break
            at = after
        self._pending = data[at:]
        return messages

    def _rare(self, data: bytes, at: int, shift: int, add: Callable[[Message], None]) -> int:
        """Decode a rare short message; return the position behind it, -1 when it is incomplete."""
        command = data[at]
        if command in (PROTOCOL_VERSION, SET_DIGITAL_PIN):
            body = data[at + 1 : at + 3]
            if len(body) < 2 or not body.isascii():
                return self._broken_short(data, at)
            if command == SET_DIGITAL_PIN:
                add(DigitalPin(body[0], body[1], at + shift, 3))
            else:
                add(ProtocolVersion(body[0], body[1], offset=at + shift, length=3))
            return at + 3
        # A data byte without a command, or a command that boards do not send.
        return self._drop_to_command(data, at)

    def _broken_short(self, data: bytes, at: int) -> int:
        """Return the position of the command byte inside a 3-byte message, -1 when incomplete."""
        broken = _COMMAND_BYTE.search(data, at + 1, at + 3)
        if broken is None:
            return -1
        self.dropped_bytes += broken.start() - at
        return broken.start()

    def _drop_to_command(self, data: bytes, at: int) -> int:
        stop = _COMMAND_BYTE.search(data, at + 1)
        after = stop.start() if stop else len(data)
        self.dropped_bytes += after - at
        return after

    def _sysex(self, data: bytes, at: int, shift: int, add: Callable[[Message], None]) -> int:
        stop = _COMMAND_BYTE.search(data, at + 1)
        end = stop.start() if stop else len(data)
        if end - at >= self._max_sysex_bytes:
            self.oversized += 1
            add(Oversized(offset=at + shift, length=0))
            return self._drop_to_command(data, at)
        if stop is None:
            return -1
        if data[end] != END_SYSEX or end == at + 1:  # interrupted by a command, or empty
            return self._drop_to_command(data, at)
        sysex_id = data[at + 1]
        payload = data[at + 2 : end]
        offset, length = at + shift, end + 1 - at
        message: Message | None = None
        if sysex_id in _SYSEX_DECODERS and sysex_id not in self.raw_sysex:
            message = decode_sysex(sysex_id, payload, offset, length)
        add(message or Sysex(sysex_id, payload, offset=offset, length=length))
        return end + 1


def decode_sysex(sysex_id: int, payload: bytes, offset: int, length: int) -> Message | None:
    """Decode a sysex message; None for an unknown id and for data in a wrong format.

    Args:
        sysex_id: The byte behind F0.
        payload: The 7-bit bytes between the id and F7.
        offset: Position of the message, copied into the result.
        length: Bytes of the whole message, copied into the result.
    """
    decode = _SYSEX_DECODERS.get(sysex_id)
    return decode(payload, offset, length) if decode is not None else None


def from_seven_bits(payload: bytes) -> bytes:
    """Join pairs of 7-bit bytes, least significant first; an odd last byte is a value below 128."""
    highs = payload[1::2].ljust((len(payload) + 1) // 2, b"\0")
    return bytes((low | high << 7) & 0xFF for low, high in zip(payload[::2], highs, strict=True))


def _wide(payload: bytes) -> int:
    """Join 7-bit bytes, least significant first, into one number."""
    value = 0
    for byte in reversed(payload):
        value = value << 7 | byte
    return value


def _text(payload: bytes) -> str:
    return from_seven_bits(payload).decode("utf-8", "replace")


def _firmware(payload: bytes, offset: int, length: int) -> Message | None:
    if len(payload) < 2:
        return None
    name = _text(payload[2:])
    return Firmware(name, payload[0], payload[1], offset=offset, length=length)


def _capabilities(payload: bytes, offset: int, length: int) -> Message | None:
    """Pairs of mode and resolution, 0x7F after each pin (sysex 0x6C)."""
    pins: list[dict[int, int]] = []
    modes: dict[int, int] = {}
    at = 0
    while at < len(payload):
        if payload[at] == _NOTHING:
            pins.append(modes)
            modes = {}
            at += 1
        elif at + 1 < len(payload) and payload[at + 1] != _NOTHING:
            modes[payload[at]] = payload[at + 1]
            at += 2
        else:
            at += 1  # a mode without a resolution
    if modes:
        pins.append(modes)
    return Capabilities(tuple(pins), offset=offset, length=length)


def _analog_mapping(payload: bytes, offset: int, length: int) -> Message | None:
    channels = tuple(None if byte == _NOTHING else byte for byte in payload)
    return AnalogMapping(channels, offset=offset, length=length)


def _pin_state(payload: bytes, offset: int, length: int) -> Message | None:
    if len(payload) < 2:
        return None
    return PinState(payload[0], payload[1], _wide(payload[2:]), offset=offset, length=length)


def _extended_analog(payload: bytes, offset: int, length: int) -> Message | None:
    if len(payload) < 2:
        return None
    return ExtendedAnalog(payload[0], _wide(payload[1:]), offset=offset, length=length)


def _string(payload: bytes, offset: int, length: int) -> Message | None:
    return StringData(_text(payload), offset=offset, length=length)


def _i2c_reply(payload: bytes, offset: int, length: int) -> Message | None:
    if len(payload) < 4:
        return None
    address, register = _wide(payload[:2]), _wide(payload[2:4])
    data = from_seven_bits(payload[4:])
    return I2CReply(address, register, data, offset=offset, length=length)


_SYSEX_DECODERS: Final[dict[int, Callable[[bytes, int, int], Message | None]]] = {
    SysexId.REPORT_FIRMWARE: _firmware,
    SysexId.CAPABILITY_RESPONSE: _capabilities,
    SysexId.ANALOG_MAPPING_RESPONSE: _analog_mapping,
    SysexId.PIN_STATE_RESPONSE: _pin_state,
    SysexId.EXTENDED_ANALOG: _extended_analog,
    SysexId.STRING_DATA: _string,
    SysexId.I2C_REPLY: _i2c_reply,
}
