"""Check values of the extension's messages in version 2 (firmware/PROTOCOL.md): 14 bits.

Only here messages get a check value, and lose it. Sans-IO.
"""

from __future__ import annotations

import re
from typing import Final

CHECK_BYTES: Final = 2
_POLYNOMIAL: Final = 0x202D
"""(x + 1)(x¹³ + x⁴ + x³ + x + 1): finds up to three flipped bits in 1,170 bytes."""
_BEGIN: Final = 0x3FFF
_BITS: Final = 14
_OURS: Final = re.compile(rb"\xf0([\x00-\x0f][\x00-\x7f]*)\xf7")
"""A message with an id that Firmata reserves for users."""
LAST_ID: Final = 0x0F


def _remainder(byte: int) -> int:
    value = byte << _BITS - 7
    for _ in range(7):
        value <<= 1
        if value >> _BITS:
            value ^= 1 << _BITS | _POLYNOMIAL
    return value


_TABLE: Final = tuple(_remainder(byte) for byte in range(128))


def check_value(body: bytes) -> bytes:
    """Return the check value of a sysex message as two bytes of 7 bits.

    Args:
        body: The id and the data, each below 0x80.
    """
    value = _BEGIN
    for byte in body:
        value = _TABLE[value >> 7 ^ byte] ^ (value & 0x7F) << 7
    return bytes((value & 0x7F, value >> 7))


def seal(data: bytes) -> bytes:
    """Add the check value to each message of the extension, and a second byte to each reset.

    Args:
        data: Whole messages to a board that speaks version 2; others are left as they are.
    """
    sealed = _OURS.sub(lambda found: b"\xf0" + found[1] + check_value(found[1]) + b"\xf7", data)
    # The board takes the first reset in an unfinished message for a broken end of that message.
    return sealed.replace(b"\xff", b"\xff\xff")


def opened(sysex_id: int, data: bytes) -> bytes | None:
    """Return the data of a message without its check value; None when that is wrong.

    Args:
        sysex_id: Id of a message from a board that speaks version 2.
        data: Its data and check value.
    """
    body, check = data[:-CHECK_BYTES], data[-CHECK_BYTES:]
    return body if check == check_value(bytes((sysex_id,)) + body) else None
