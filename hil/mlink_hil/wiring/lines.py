"""Names of lines in a `[virtual]` table: "uno.8", "uno.A0" (which is "uno.14")."""

from __future__ import annotations

import re
from typing import NamedTuple

from mlink_hil.uno import ANALOG_COUNT, FIRST_ANALOG, PIN_COUNT, SERIAL_PINS

_LINE = re.compile(r"(?P<device>[^.\s]+)\.(?P<pin>A?[0-9]{1,2})")


class Line(NamedTuple):
    """A pin of a board or chip."""

    device: str
    pin: int

    def __str__(self) -> str:
        return f"{self.device}.{self.pin}"


def parse_line(text: str) -> Line:
    """Return the line that a text names; ValueError tells what is wrong with it."""
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError('is not a line; write "device.pin", such as "uno.8" or "uno.A0"')
    return Line(match["device"], parse_pin(match["pin"]))


def parse_pin(text: str) -> int:
    """Return the number of a pin of an Uno, given as "8" or "A0"."""
    digits = text.removeprefix("A")
    if not digits.isdecimal():
        raise ValueError("is no pin; pins are 2 to 19, and A0 to A5")
    number = int(digits)
    if digits != text:
        if number >= ANALOG_COUNT:
            raise ValueError("is no analog input of an Uno; they are A0 to A5")
        number += FIRST_ANALOG
    if number >= PIN_COUNT:
        raise ValueError("is no pin of an Uno; they are 2 to 19, and A0 to A5")
    if number in SERIAL_PINS:
        raise ValueError("is the board's serial line; pins 2 to 19 are free")
    return number
