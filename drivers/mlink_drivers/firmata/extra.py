"""Encodes and decodes the `extra` bytes of DEVICE_SPECIFIC commands (table: docs/boards.md).

Byte 0 is the kind (`ExtraKind`); 2-byte numbers are little-endian. Scripts encode with the
functions below, the driver decodes with `parse_extra`. Values only.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import I2CMode, PinMode

_CONTINUOUSLY, _REPEATED_START, _STOP = 1, 2, 4
"""Flags of I2C_READ_AS."""


class ExtraKind(enum.IntEnum):
    """Byte 0 of `extra`.

    Kinds from 0x40 on are orders to mlink's firmware (`mlink.script`).
    """

    SYSEX = 0x01
    SYSEX_8_BIT = 0x02
    I2C_CONFIG = 0x10
    I2C_WRITE = 0x11
    I2C_READ = 0x12
    I2C_READ_CONTINUOUSLY = 0x13
    I2C_STOP = 0x14
    I2C_READ_AS = 0x15
    I2C_SCAN = 0x16
    PIN_MODE = 0x20
    SERVO_CONFIG = 0x21
    PIN_STATE = 0x22


class RawSysex(msgspec.Struct, frozen=True):
    """Send a sysex message; its payload has 7-bit bytes.

    Answers of the board are rows of the table `replies`.
    """

    id: int
    payload: bytes


class I2CConfig(msgspec.Struct, frozen=True):
    """Switch I2C on, with a delay in µs between writing a register and reading it.

    Without it the first transfer switches I2C on with a delay of 0. `khz` is the frequency of the
    bus; 0 leaves it as it is, at first 100 kHz.
    """

    delay_usec: int
    khz: int = 0


class I2CTransfer(msgspec.Struct, frozen=True):
    """Write `data`, or read `count` bytes from `register` (None: the device's current one).

    `repeated_start` None means one where the board can.
    """

    mode: I2CMode
    address: int
    data: bytes = b""
    count: int = 0
    register: int | None = None
    register_bytes: int = 1
    repeated_start: bool | None = False

    @property
    def register_data(self) -> bytes:
        """The bytes of the register, high byte first; none without one."""
        return b"" if self.register is None else self.register.to_bytes(self.register_bytes, "big")


class ScanI2C(msgspec.Struct, frozen=True):
    """Find out which addresses of the I2C bus a device answers at.

    The answer is a row of kind `i2c-scan` in the table `replies`.
    """


class SetPinMode(msgspec.Struct, frozen=True):
    """Set the command's line to a Firmata pin mode.

    It overrides `analog_lines` and `servo_lines` of the settings.
    """

    mode: PinMode


class ServoConfig(msgspec.Struct, frozen=True):
    """Make the command's line a servo with these pulse widths, in µs.

    The servo does not move before the first WRITE_ANALOG.
    """

    min_pulse_usec: int
    max_pulse_usec: int


class QueryPinState(msgspec.Struct, frozen=True):
    """Query the mode and value of the command's line.

    The answer is a row of kind `pin-state` in the table `replies`.
    """


Extra: TypeAlias = (
    RawSysex | I2CConfig | I2CTransfer | ScanI2C | SetPinMode | ServoConfig | QueryPinState
)


def sysex(sysex_id: int, payload: bytes = b"", *, eight_bit: bool = False) -> bytes:
    """Encode the order to send a sysex message.

    Args:
        sysex_id: 0 to 0x7F.
        payload: Bytes below 0x80, or any bytes with `eight_bit`.
        eight_bit: Whether each byte is sent as two 7-bit bytes, least significant first.
    """
    kind = ExtraKind.SYSEX_8_BIT if eight_bit else ExtraKind.SYSEX
    return bytes((kind, sysex_id)) + payload


def i2c_config(delay_usec: int = 0) -> bytes:
    """Encode the order to switch I2C on; the delay in µs is between write and read (0 to 16383).

    Raises:
        OverflowError: The delay does not fit into 16 bits.
    """
    return bytes((ExtraKind.I2C_CONFIG,)) + delay_usec.to_bytes(2, "little")


def i2c_write(address: int, data: bytes) -> bytes:
    """Encode the order to write to an I2C device; `data` begins with the register, if any.

    Raises:
        ValueError: The address is not in 0 to 255.
    """
    return bytes((ExtraKind.I2C_WRITE, address)) + data


def i2c_read(
    address: int, count: int, register: int | None = None, *, continuously: bool = False
) -> bytes:
    """Encode the order to read from an I2C device; the answer is a row of `replies`.

    Args:
        address: 7-bit address of the device.
        count: Number of bytes, at most 255.
        register: Where to read; None for the device's current register.
        continuously: Whether to repeat the read at every sampling interval.
    """
    kind = ExtraKind.I2C_READ_CONTINUOUSLY if continuously else ExtraKind.I2C_READ
    return bytes((kind, address, count)) + (b"" if register is None else bytes((register,)))


def i2c_stop(address: int, register: int | None = None) -> bytes:
    """Encode the order to end the continuous reads of a register, or of all (None).

    Raises:
        ValueError: The address or the register is not in 0 to 255.
    """
    return bytes((ExtraKind.I2C_STOP, address)) + (b"" if register is None else bytes((register,)))


def pin_mode(mode: PinMode) -> bytes:
    """Encode the order to set a pin mode, such as ANALOG, independent of the settings."""
    return bytes((ExtraKind.PIN_MODE, mode))


def servo_config(min_pulse_usec: int = 544, max_pulse_usec: int = 2400) -> bytes:
    """Encode the order to make a line a servo with these pulse widths, in µs.

    The defaults are those of Arduino.

    Raises:
        OverflowError: A width does not fit into 16 bits.
    """
    widths = min_pulse_usec.to_bytes(2, "little") + max_pulse_usec.to_bytes(2, "little")
    return bytes((ExtraKind.SERVO_CONFIG,)) + widths


def pin_state() -> bytes:
    """Encode the order to query a line's mode and value; the answer is a row of `replies`."""
    return bytes((ExtraKind.PIN_STATE,))


def parse_extra(extra: bytes) -> Extra:
    """Decode `extra`.

    Raises:
        ValueError: The bytes are not valid; the message has the reason.
    """
    if not extra:
        raise ValueError("it is empty")
    try:
        kind = ExtraKind(extra[0])
    except ValueError:
        known = ", ".join(f"{kind:#04x}" for kind in ExtraKind)
        raise ValueError(f"byte 0 is {extra[0]:#04x}, known are {known}") from None
    body = extra[1:]
    if kind in (ExtraKind.SYSEX, ExtraKind.SYSEX_8_BIT):
        _need(body, 1, None)
        payload = body[1:]
        eight_bit = kind is ExtraKind.SYSEX_8_BIT
        return _checked_sysex(body[0], encode.to_seven_bits(payload) if eight_bit else payload)
    if kind is ExtraKind.I2C_CONFIG:
        _need(body, 2, 4)
        return I2CConfig(*(int.from_bytes(body[at : at + 2], "little") for at in (0, 2)))
    if kind is ExtraKind.I2C_SCAN:
        _need(body, 0, 0)
        return ScanI2C()
    if kind is ExtraKind.SERVO_CONFIG:
        _need(body, 4, 4)
        return ServoConfig(*(int.from_bytes(body[at : at + 2], "little") for at in (0, 2)))
    if kind is ExtraKind.PIN_MODE:
        _need(body, 1, 1)
        return SetPinMode(_mode(body[0]))
    if kind is ExtraKind.PIN_STATE:
        _need(body, 0, 0)
        return QueryPinState()
    return _i2c(kind, body)


def _i2c(kind: ExtraKind, body: bytes) -> I2CTransfer:
    _need(body, 1, None)
    address = body[0]
    if address > 0x7F:
        raise ValueError(f"I2C address {address:#04x} is above 0x7f")
    if kind is ExtraKind.I2C_WRITE:
        return I2CTransfer(I2CMode.WRITE, address, data=body[1:])
    if kind is ExtraKind.I2C_STOP:
        _need(body, 1, 3)
        register = int.from_bytes(body[1:], "big") if body[1:] else None
        return I2CTransfer(I2CMode.STOP_READING, address, register=register)
    if kind is ExtraKind.I2C_READ_AS:
        _need(body, 3, 5)
        flags, number = body[1], body[3:]
        return I2CTransfer(
            I2CMode.READ_CONTINUOUSLY if flags & _CONTINUOUSLY else I2CMode.READ_ONCE,
            address,
            count=_count(body[2]),
            register=int.from_bytes(number, "big") if number else None,
            register_bytes=len(number),
            repeated_start=True if flags & _REPEATED_START else False if flags & _STOP else None,
        )
    _need(body, 2, 3)
    mode = I2CMode.READ_ONCE if kind is ExtraKind.I2C_READ else I2CMode.READ_CONTINUOUSLY
    return I2CTransfer(mode, address, count=_count(body[1]), register=_optional(body, 2))


def _count(count: int) -> int:
    if not count:
        raise ValueError("an I2C read has no bytes")
    return count


def _checked_sysex(sysex_id: int, payload: bytes) -> RawSysex:
    encode.sysex(sysex_id, payload)
    return RawSysex(sysex_id, payload)


def _mode(number: int) -> PinMode:
    try:
        return PinMode(number)
    except ValueError:
        raise ValueError(f"there is no pin mode {number}") from None


def _optional(body: bytes, at: int) -> int | None:
    return body[at] if len(body) > at else None


def _need(body: bytes, least: int, most: int | None) -> None:
    if len(body) < least or (most is not None and len(body) > most):
        wanted = (
            f"{least}" if most == least else f"{least} to {most}" if most else f"{least} or more"
        )
        raise ValueError(f"byte 0 has to be followed by {wanted} bytes, not {len(body)}")
