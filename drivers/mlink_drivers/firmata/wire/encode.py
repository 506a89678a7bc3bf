"""Encodes messages to a board. Each function returns the bytes of one message.

A value that does not fit into its field raises ValueError. Sans-IO like decode.py: a session sends
the bytes. Formats: github.com/firmata/protocol.
"""

from __future__ import annotations

import functools

from mlink_drivers.firmata.wire.protocol import (
    ANALOG_MESSAGE,
    DIGITAL_MESSAGE,
    END_SYSEX,
    MAX_NIBBLE,
    PROTOCOL_VERSION,
    REPORT_ANALOG,
    REPORT_DIGITAL,
    SET_DIGITAL_PIN,
    SET_PIN_MODE,
    START_SYSEX,
    SYSTEM_RESET,
    I2CMode,
    SysexId,
)

_MAX_14_BITS = (1 << 14) - 1
_I2C_RESTART = 0x40


def sysex(sysex_id: int, payload: bytes = b"") -> bytes:
    """Encode a sysex message (F0, id, payload, F7).

    Args:
        sysex_id: 0 to 0x7F.
        payload: Bytes below 0x80.

    Raises:
        ValueError: The id or a byte of the payload is above 0x7F.
    """
    body = bytes((_seven_bits("sysex id", sysex_id),)) + payload
    if not body.isascii():
        raise ValueError("the payload of a sysex message holds a byte above 0x7F")
    return bytes((START_SYSEX,)) + body + bytes((END_SYSEX,))


def protocol_version_query() -> bytes:
    """Query the protocol version (0xF9); the board answers with the same command."""
    return bytes((PROTOCOL_VERSION,))


def firmware_query() -> bytes:
    """Query the firmware's name and version (sysex 0x79).

    The board answers with its name as it is stored in the firmware, which may be empty.
    """
    return sysex(SysexId.REPORT_FIRMWARE)


def capability_query() -> bytes:
    """Query the modes and resolutions of all pins (sysex 0x6B).

    The answer lists 0x7F after each pin; it is long, up to 1,200 bytes on a Mega.
    """
    return sysex(SysexId.CAPABILITY_QUERY)


def analog_mapping_query() -> bytes:
    """Query the analog channel of each pin (sysex 0x69).

    The answer has one byte per pin: its channel, or 0x7F.
    """
    return sysex(SysexId.ANALOG_MAPPING_QUERY)


def pin_state_query(pin: int) -> bytes:
    """Query a pin's mode and value (sysex 0x6D).

    Raises:
        ValueError: The pin is not in 0 to 127.
    """
    return sysex(SysexId.PIN_STATE_QUERY, bytes((_seven_bits("pin", pin),)))


def system_reset() -> bytes:
    """Reset all pins to their defaults and stop all reports (0xFF).

    The board sends no answer and keeps its connection.
    """
    return bytes((SYSTEM_RESET,))


def pin_mode(pin: int, mode: int) -> bytes:
    """Set a pin's mode (0xF4).

    Modes are those of `PinMode`; the board ignores one that the pin lacks.

    Raises:
        ValueError: Pin or mode are not in 0 to 127.
    """
    return bytes((SET_PIN_MODE, _seven_bits("pin", pin), _seven_bits("mode", mode)))


@functools.cache  # two messages per pin, and each adds to the latency of a loop
def digital_pin(pin: int, value: bool | int) -> bytes:
    """Write one digital output (0xF5, protocol 2.5 and later).

    Boards with an older protocol ignore it; they need `digital_port`.

    Raises:
        ValueError: The pin is not in 0 to 127.
    """
    return bytes((SET_DIGITAL_PIN, _seven_bits("pin", pin), 1 if value else 0))


def digital_port(port: int, mask: int) -> bytes:
    """Write all outputs of a port (0x90 + port); bit n of `mask` is pin 8 × port + n.

    In protocols before 2.5 the bit of an input switches its pull-up.

    Raises:
        ValueError: The port is not in 0 to 15 or the mask has more than 14 bits.
    """
    return bytes((DIGITAL_MESSAGE | _nibble("port", port),)) + _two_bytes("mask", mask)


def report_digital(port: int, enable: bool) -> bytes:
    """Switch the reports of a port's inputs on or off (0xD0 + port).

    The board answers an enabled report with the present state of the port.

    Raises:
        ValueError: The port is not in 0 to 15.
    """
    return bytes((REPORT_DIGITAL | _nibble("port", port), int(enable)))


def report_analog(channel: int, enable: bool) -> bytes:
    """Switch the samples of an analog channel on or off (0xC0 + channel; above 15 sysex 0x64).

    Some boards sample a channel only when its pin is in analog mode.

    Raises:
        ValueError: The channel is not in 0 to 127.
    """
    if channel <= MAX_NIBBLE:
        return bytes((REPORT_ANALOG | _nibble("channel", channel), int(enable)))
    payload = bytes((_seven_bits("channel", channel), int(enable)))
    return sysex(SysexId.EXTENDED_REPORT_ANALOG, payload)


def analog(pin: int, value: int) -> bytes:
    """Write a PWM or servo value: 0xE0 + pin where pin and value fit, else sysex 0x6F.

    The range of a PWM value follows from the resolution in the capability reply; a servo takes
    degrees up to 180, above 543 a pulse width in µs.

    Raises:
        ValueError: The pin is not in 0 to 127 or the value is negative.
    """
    if 0 <= pin <= MAX_NIBBLE and 0 <= value <= _MAX_14_BITS:
        return bytes((ANALOG_MESSAGE | pin,)) + _two_bytes("value", value)
    return extended_analog(pin, value)


def extended_analog(pin: int, value: int) -> bytes:
    """Write an analog value of any width to any pin (sysex 0x6F), in at least 14 bits.

    Raises:
        ValueError: The pin is not in 0 to 127 or the value is negative.
    """
    if value < 0:
        raise ValueError(f"value {value} is negative")
    payload = bytearray((_seven_bits("pin", pin), value & 0x7F, value >> 7 & 0x7F))
    value >>= 14
    while value:
        payload.append(value & 0x7F)
        value >>= 7
    return sysex(SysexId.EXTENDED_ANALOG, bytes(payload))


def sampling_interval(interval_msec: int) -> bytes:
    """Set the interval of analog samples and continuous I2C reads (sysex 0x7A), 1 to 16383 ms.

    Firmware before protocol 2.5 has a minimum of 10 ms.

    Raises:
        ValueError: The interval is out of range.
    """
    if interval_msec < 1:
        raise ValueError(f"a sampling interval of {interval_msec} ms is too short, least is 1 ms")
    return sysex(SysexId.SAMPLING_INTERVAL, _two_bytes("sampling interval", interval_msec))


def servo_config(pin: int, min_pulse_usec: int = 544, max_pulse_usec: int = 2400) -> bytes:
    """Set a servo's pulse widths in µs (sysex 0x70); the defaults are those of Arduino.

    The pin mode SERVO has to be set as well.

    Raises:
        ValueError: The pin is not in 0 to 127 or a width has more than 14 bits.
    """
    payload = bytes((_seven_bits("pin", pin),)) + _two_bytes("pulse width", min_pulse_usec)
    return sysex(SysexId.SERVO_CONFIG, payload + _two_bytes("pulse width", max_pulse_usec))


def i2c_config(delay_usec: int = 0) -> bytes:
    """Switch I2C on (sysex 0x78), with a delay in µs between writing a register and reading it.

    Firmware ignores I2C requests before this message.

    Raises:
        ValueError: The delay has more than 14 bits.
    """
    return sysex(SysexId.I2C_CONFIG, _two_bytes("delay", delay_usec))


def i2c_request(address: int, mode: I2CMode, data: bytes = b"", *, restart: bool = False) -> bytes:
    """Read from or write to an I2C device (sysex 0x76).

    Args:
        address: 7-bit address of the device.
        mode: Direction, and whether a read is repeated at each sampling interval.
        data: The bytes to write. For a read: the register, which may be left out, and the number
            of bytes. To stop a continuous read: its register, or nothing for all registers.
        restart: Whether a read has a repeated start behind its register, and not a stop.
    """
    flags = mode << 3 | (_I2C_RESTART if restart else 0)
    head = bytes((_seven_bits("I2C address", address), flags))
    return sysex(SysexId.I2C_REQUEST, head + to_seven_bits(data))


def to_seven_bits(data: bytes) -> bytes:
    """Split each byte into two 7-bit bytes, least significant first.

    Used by strings, I2C data and user sysex messages; `decode.from_seven_bits` is the inverse.
    """
    return bytes(part for byte in data for part in (byte & 0x7F, byte >> 7))


def _two_bytes(what: str, value: int) -> bytes:
    if not 0 <= value <= _MAX_14_BITS:
        raise ValueError(f"{what} {value} does not fit into 14 bits")
    return bytes((value & 0x7F, value >> 7))


def _seven_bits(what: str, value: int) -> int:
    if not 0 <= value <= 0x7F:
        raise ValueError(f"{what} {value} is not in 0 to 127")
    return value


def _nibble(what: str, value: int) -> int:
    if not 0 <= value <= MAX_NIBBLE:
        raise ValueError(f"{what} {value} is not in 0 to 15")
    return value
