"""Names of lines in a `[virtual]` table: "uno.8", "uno.A0" (which is "uno.14").

Which devices exist is checked in `table.py`; here only the pin is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mlink_hil.uno import ANALOG_COUNT, FIRST_ANALOG, PIN_COUNT, SERIAL_PINS

_LINE = re.compile(r"(?P<device>[^.\s]+)\.(?P<pin>A?[0-9]{1,2})")
_VALID = "(valid: 2 to 19, A0 to A5)"


class Line(NamedTuple):
    """A pin of a board or chip.

    Pins are numbered 0 to 19; A0 is 14. `str()` gives the form of a bench, such as "uno.8".
    """

    device: str
    pin: int

    def __str__(self) -> str:
        return f"{self.device}.{self.pin}"


def parse_line(text: str) -> Line:
    """Return the line that a text names.

    Raises:
        ValueError: The text is not of the form "device.pin", or an Uno has no such pin. The
            message quotes the text and lists what is valid.
    """
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f'\'{text}\' is not a line; write "device.pin", such as "uno.8"')
    return Line(match["device"], parse_pin(match["pin"]))


def parse_pin(text: str) -> int:
    """Return the number of a pin of an Uno, given as "8" or "A0".

    Raises:
        ValueError: An Uno has no such pin, or it is one of the serial line. The message quotes the
            text and lists what is valid.
    """
    digits = text.removeprefix("A")
    number = int(digits) if digits.isdecimal() else PIN_COUNT
    if digits != text:
        number = FIRST_ANALOG + number if number < ANALOG_COUNT else PIN_COUNT
    if number >= PIN_COUNT:
        raise ValueError(f"an Uno has no pin '{text}' {_VALID}")
    if number in SERIAL_PINS:
        raise ValueError(f"pin '{text}' of an Uno is its serial line {_VALID}")
    return number
