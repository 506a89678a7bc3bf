"""The lines that a board and its host exchange: one JSON object a line."""

from __future__ import annotations

from typing import Final

import msgspec

LONGEST_LINE: Final = 65_536
"""Bytes; a longer line is no message."""

Value = int | float | str | bool | None


class FromBoard(msgspec.Struct):
    """A message of the board: `dc` is set in control messages, `p` in data."""

    dc: str = ""
    t_ms: int = 0
    """With "start-time": the board's clock in ms."""
    i: int = -1
    n: str = ""
    """With "new-out-port": number and id of an output."""
    p: int = -1
    d: list[Value] = []
    """Values for output number `p`."""
    t: float | None = None
    """When they were taken, on the board's clock, ms."""


_decoder: Final = msgspec.json.Decoder(FromBoard)


def read_line(line: bytes) -> FromBoard | None:
    """Return the message in a line; None if it is text of the program.

    Raises:
        ValueError: It is meant to be a message, and cannot be read.
    """
    if not line.startswith(b"{"):
        return None
    try:
        message = _decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        if b'"p"' in line or b'"dc"' in line:
            raise ValueError(str(error)) from error
        return None
    return message if message.dc or message.p >= 0 else None


def input_line(number: int, port: str) -> bytes:
    """Return the line that gives an input its number."""
    return msgspec.json.encode({"hc": "in-port", "i": number, "p": port}) + b"\n"


def row_line(number: int, cells: list[str]) -> bytes:
    """Return the line with a row for an input."""
    return msgspec.json.encode({"p": number, "d": cells}) + b"\n"


def text_of(value: Value) -> str:
    """Return a value as the cell of a row."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
