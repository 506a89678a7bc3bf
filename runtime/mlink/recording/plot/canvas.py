"""Background, text, colours and time scale of the overview picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlink.opencv import cv2

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
"""Blue, green, red, in OpenCV's order."""

WIDTH, LEFT, MARGIN = 1400, 200, 24
"""Widths in px: the picture, the column of names at its left, the margin at its right."""
INK, GREY, FAINT = (45, 40, 35), (130, 125, 120), (232, 230, 226)
EVENT, LEVEL, LEVEL_FILL, TRACE, LOSS = (
    (160, 80, 20), (110, 120, 0), (226, 232, 205), (20, 100, 200), (40, 30, 210),
)  # fmt: skip
_TEXT_SIZE = 0.42
_LABEL_CHARACTERS = 26
_MARKS = 10
"""Approximate number of marks on the time axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Converts master time in µs to a column of the picture.

    Times outside the scale are mapped to its first or last column.
    """

    first_usec: int
    last_usec: int

    @property
    def right(self) -> int:
        """The last column."""
        return WIDTH - MARGIN - 1

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.right - LEFT + 1

    def x(self, time_usec: float) -> int:
        """Return the column of a time."""
        share = (time_usec - self.first_usec) / (self.last_usec - self.first_usec)
        return LEFT + min(self.columns - 1, max(0, int(share * (self.columns - 1) + 0.5)))

    def edges(self) -> NDArray[np.float64]:
        """Return the start time of each column and the end of the last: shape (columns + 1,)."""
        half = (self.last_usec - self.first_usec) / (self.columns - 1) / 2
        return np.linspace(self.first_usec - half, self.last_usec + half, self.columns + 1)

    def marks(self) -> list[int]:
        """Return the times of the axis marks in µs: round and equally spaced."""
        rough = (self.last_usec - self.first_usec) / _MARKS
        unit = next(unit for unit in (60_000_000, 1_000_000, 1) if rough >= unit or unit == 1)
        power = 10 ** math.floor(math.log10(max(rough / unit, 1e-9)))
        step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if s * unit >= rough)
        step_usec = max(1, round(step * unit))
        begin = -(-self.first_usec // step_usec) * step_usec
        return list(range(begin, self.last_usec + 1, step_usec))

    def shown(self, time_usec: int) -> str:
        """Return a time as text, in min, s or ms by the length of the scale."""
        length = self.last_usec - self.first_usec
        if length >= 1_200_000_000:
            return f"{time_usec / 60e6:g} min"
        return f"{time_usec / 1e6:g} s" if length >= 100_000 else f"{time_usec / 1e3:g} ms"


def canvas(height: int, width: int = WIDTH) -> Picture:
    """Return a white picture."""
    return np.full((height, width, 3), 255, np.uint8)


def label(row: Picture, name: str, *facts: str) -> None:
    """Write the name of a track at its left, and facts about it below; losses in red."""
    short = name if len(name) <= _LABEL_CHARACTERS else f"{name[: _LABEL_CHARACTERS - 2]}.."
    write(row, short, 17, 8)
    for number, fact in enumerate(facts):
        write(row, fact, 34 + 15 * number, 8, LOSS if " lost" in fact else GREY, size=0.36)


def write(
    row: Picture,
    text: str,
    y: int,
    x: int,
    colour: Colour = INK,
    *,
    size: float = _TEXT_SIZE,
    bold: int = 1,
) -> None:
    """Write a line of text; characters that OpenCV has no glyphs for are replaced.

    Args:
        row: The picture to write on.
        text: The text.
        y: Base line in px.
        x: Left edge in px.
        colour: Colour of the text.
        size: Scale of OpenCV's Hershey font.
        bold: Width of the strokes in px.
    """
    cv2.putText(
        row, _ascii(text), (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, bold, cv2.LINE_AA
    )


def text_width(text: str, size: float = _TEXT_SIZE) -> int:
    """Return the width of a line of text in px."""
    (width, _), _ = cv2.getTextSize(_ascii(text), cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    return int(width)


def _ascii(text: str) -> str:
    """Return text as OpenCV's font can draw it: in ASCII."""
    text = text.replace("µ", "u").replace("×", "x").replace("·", "-")
    return text.encode("ascii", "replace").decode()
