"""Finds the devices on a board's I2C bus by Firmata's own messages: every address is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import I2CMode, I2CReply, Message

ADDRESSES: Final = range(0x08, 0x78)
"""Addresses of devices; others have a meaning of their own on an I2C bus."""
ANSWER_S: Final = 1.0

Ask = Callable[[bytes], Iterable[Message] | None]
"""Sends messages that end with a pin state query, and returns what the board has sent until it
answers that; None when it has not within `ANSWER_S`."""


def scan_i2c(ask: Ask) -> list[int]:
    """Return the addresses of the devices that answer.

    Args:
        ask: The connection to the board.

    Raises:
        DeviceError: The board does not answer: its firmware hangs.
    """
    found = []
    begin = encode.i2c_config()
    for address in ADDRESSES:
        read = encode.i2c_request(address, I2CMode.READ_ONCE, b"\1")
        messages = ask(begin + read + encode.pin_state_query(0))
        begin = b""
        if messages is None:
            raise DeviceError(
                f"the board has not answered since the I2C address {address:#04x} was read",
                remedy="StandardFirmata hangs on an absent device: press the board's reset button."
                " mlink's firmware does not: mlink flash DEVICE",
            )
        replies = [message for message in messages if isinstance(message, I2CReply)]
        if any(reply.address == address and reply.data for reply in replies):
            found.append(address)
    return found


def in_words(found: list[int]) -> str:
    """Return the addresses that a scan has found, as a text."""
    return (
        "I2C devices at " + ", ".join(f"{each:#04x}" for each in found)
        if found
        else ("no I2C device answers")
    )
