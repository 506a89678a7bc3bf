"""Names of lines in a `[virtual]` table: "uno.8", "uno.A0" (which on an Uno is "uno.14").

Which devices exist is checked in `table.py`; here only the pin is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from mlink_hil.board_kinds import UNO, BoardKind

_LINE = re.compile(r"(?P<device>[^.\s]+)\.(?P<pin>A?[0-9]{1,2})")


class Line(NamedTuple):
    """A pin of a board or chip.

    Pins are numbered as on the board; A0 of an Uno is 14. `str()` gives the form
    of a bench, such as "uno.8".
    """

    device: str
    pin: int

    def __str__(self) -> str:
        return f"{self.device}.{self.pin}"


def parse_line(text: str, kinds: Mapping[str, BoardKind]) -> Line:
    """Return the line that a text names.

    Args:
        text: Such as "uno.8".
        kinds: What each board is; any other device has the pins of an Uno.

    Raises:
        ValueError: The text is not of the form "device.pin", or the board has no such pin. The
            message quotes the text and lists what is valid.
    """
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f'\'{text}\' is not a line; write "device.pin", such as "uno.8"')
    return Line(match["device"], kinds.get(match["device"], UNO).pin(match["pin"]))
