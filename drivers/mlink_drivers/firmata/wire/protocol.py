"""Firmata protocol 2.3 to 2.8: command bytes, pin modes and the messages of a board.

Source: github.com/firmata/protocol (protocol.md and its feature files). Bytes with the top bit set
are commands, all others are data. A sysex message is F0, an id, 7-bit data, F7.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

import msgspec

DIGITAL_MESSAGE: Final = 0x90
"""Low nibble: port; LSB: pins 0-6 of the port, MSB: pin 7."""
REPORT_ANALOG: Final = 0xC0
REPORT_DIGITAL: Final = 0xD0
ANALOG_MESSAGE: Final = 0xE0
"""Low nibble: analog channel (from the board) or pin (to the board); 14-bit value."""
START_SYSEX: Final = 0xF0
SET_PIN_MODE: Final = 0xF4
SET_DIGITAL_PIN: Final = 0xF5
"""Single-pin write, since protocol 2.5."""
END_SYSEX: Final = 0xF7
PROTOCOL_VERSION: Final = 0xF9
SYSTEM_RESET: Final = 0xFF

SINGLE_PIN_WRITE_SINCE: Final = (2, 5)
SHORT_INTERVALS_SINCE: Final = (2, 5)
LEAST_INTERVAL_MSEC: Final = 10
"""Interval that StandardFirmata before 2.5 uses instead of a shorter one (measured with 2.4)."""
PINS_PER_PORT: Final = 8
MAX_NIBBLE: Final = 0x0F
"""Largest pin, channel or port number in the low nibble of a command byte."""


class SysexId(enum.IntEnum):
    """Sysex ids that the driver reads or writes; 0x01 to 0x0F are reserved for user firmware."""

    EXTENDED_REPORT_ANALOG = 0x64
    ANALOG_MAPPING_QUERY = 0x69
    ANALOG_MAPPING_RESPONSE = 0x6A
    CAPABILITY_QUERY = 0x6B
    CAPABILITY_RESPONSE = 0x6C
    PIN_STATE_QUERY = 0x6D
    PIN_STATE_RESPONSE = 0x6E
    EXTENDED_ANALOG = 0x6F
    SERVO_CONFIG = 0x70
    STRING_DATA = 0x71
    I2C_REQUEST = 0x76
    I2C_REPLY = 0x77
    I2C_CONFIG = 0x78
    REPORT_FIRMWARE = 0x79
    SAMPLING_INTERVAL = 0x7A


class PinMode(enum.IntEnum):
    """Mode of a pin, in SET_PIN_MODE (0xF4) and in capability replies (0x6C).

    Values of a newer protocol may occur in capability replies; they are kept as numbers.
    """

    INPUT = 0x00
    OUTPUT = 0x01
    ANALOG = 0x02
    PWM = 0x03
    SERVO = 0x04
    SHIFT = 0x05
    I2C = 0x06
    ONEWIRE = 0x07
    STEPPER = 0x08
    ENCODER = 0x09
    SERIAL = 0x0A
    PULLUP = 0x0B
    SPI = 0x0C
    SONAR = 0x0D
    TONE = 0x0E
    DHT = 0x0F
    FREQUENCY = 0x10


class I2CMode(enum.IntEnum):
    """Bits 3 and 4 of an I2C request's second address byte (sysex 0x76).

    The driver uses 7-bit addresses only.
    """

    WRITE = 0b00
    READ_ONCE = 0b01
    READ_CONTINUOUSLY = 0b10
    STOP_READING = 0b11


class _Placed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Position of a message in the chunk that completed it.

    `offset` is the index of its first byte, negative when that byte came in an earlier chunk.
    `length` is the number of its bytes on the wire.
    """

    offset: int = 0
    length: int = 0


# The three short messages are frequent and made with positional arguments: no base class.
class DigitalPort(msgspec.Struct, frozen=True, gc=False):
    """State of a port's inputs (0x90 + port); bit n of `mask` is pin 8 × port + n.

    Bits of pins that are not inputs have no meaning.
    """

    port: int
    mask: int
    offset: int = 0
    length: int = 3


class AnalogValue(msgspec.Struct, frozen=True, gc=False):
    """A sample of an analog channel (0xE0 + channel), 0 to 16383.

    The resolution of the channel is in the capability reply of its pin, mostly 10 bits.
    """

    channel: int
    value: int
    offset: int = 0
    length: int = 3


class DigitalPin(msgspec.Struct, frozen=True, gc=False):
    """State of a single pin (0xF5).

    The protocol defines it for writes to a board; StandardFirmata does not send it.
    """

    pin: int
    value: int
    offset: int = 0
    length: int = 3


class ProtocolVersion(_Placed, frozen=True, gc=False):
    """Protocol version of the board (0xF9).

    Sent as the answer to a query and, together with `Firmware`, when a board has booted.
    """

    major: int
    minor: int


class Firmware(_Placed, frozen=True, gc=False):
    """Name and version of the firmware on the board (sysex 0x79).

    `name` is mostly the name of the sketch file. A board that has booted sends it unasked.
    """

    name: str
    major: int
    minor: int


class Capabilities(_Placed, frozen=True):
    """Modes of each pin and their resolutions in bits (sysex 0x6C).

    Keys are numbers of `PinMode`, unknown modes included; an unusable pin has an empty dict.
    """

    pins: tuple[dict[int, int], ...]


class AnalogMapping(_Placed, frozen=True, gc=False):
    """Analog channel of each pin, or None (sysex 0x6A).

    Indexed by pin number.
    """

    channels: tuple[int | None, ...]


class PinState(_Placed, frozen=True, gc=False):
    """Mode of a pin and the value last written to it (sysex 0x6E).

    `value` is the last value written to an output; for an input it is 1 with a pull-up.
    """

    pin: int
    mode: int
    value: int


class ExtendedAnalog(_Placed, frozen=True, gc=False):
    """An analog value of any width (sysex 0x6F); a board sends it for channels above 15.

    `pin` is the analog channel in messages from a board.
    """

    pin: int
    value: int


class StringData(_Placed, frozen=True, gc=False):
    """A text of the firmware, mostly an error message (sysex 0x71).

    The driver logs it and adds a row to the tables `events` and `replies`.
    """

    text: str


class I2CReply(_Placed, frozen=True, gc=False):
    """Bytes that were read from an I2C device (sysex 0x77).

    `address` is the 7-bit address of the device; `register` is 0 for a read without one.
    """

    address: int
    register: int
    data: bytes


class Sysex(_Placed, frozen=True, gc=False):
    """Any other sysex message, and one in a wrong format: id and undecoded 7-bit data.

    Messages of user firmware arrive as this type.
    """

    id: int
    data: bytes


class Oversized(_Placed, frozen=True, gc=False):
    """In the place of a sysex message that was dropped because of its length; `length` is 0."""


Message: TypeAlias = (
    DigitalPort
    | AnalogValue
    | DigitalPin
    | ProtocolVersion
    | Firmware
    | Capabilities
    | AnalogMapping
    | PinState
    | ExtendedAnalog
    | StringData
    | I2CReply
    | Sysex
    | Oversized
)
"""Any message of a board."""
