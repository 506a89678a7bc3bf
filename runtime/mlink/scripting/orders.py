"""Sends orders of `mlink.script` to a board, and checks their numbers."""

from __future__ import annotations

import enum
import math
import operator
from typing import TypeVar

from mlink.errors import ModuleError
from mlink.scripting.ports import OutputPort
from mlink.types import LineCommand, LineCommandKind

LAST_LINE = 0x7F
LAST_INDEX = 0x7E
_EnumT = TypeVar("_EnumT", bound=enum.Enum)


def send_order(port: OutputPort, line_id: int, extra: bytes) -> LineCommand:
    """Send a DEVICE_SPECIFIC command for a line; return it."""
    check_port(port)
    whole("line_id", line_id, 0, LAST_LINE)
    command = LineCommand(LineCommandKind.DEVICE_SPECIFIC, line_id, extra=extra)
    port.submit(command)
    return command


def check_port(port: object) -> None:
    """Raise ModuleError when commands cannot be sent through `port`."""
    if not hasattr(port, "submit"):
        raise ModuleError(
            f"this needs an output port of type LineCommand, not {type(port).__name__}",
            remedy="get_output_port() returns None for an id that the bench does not declare.",
        )


def whole(what: str, value: object, least: int, most: int) -> int:
    """Return `value` as an int; raise ModuleError when it is none, or out of its range."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        raise ModuleError(
            f"{what} cannot be {value!r}", remedy=f"Give a whole number from {least} to {most}."
        )
    return number


def number(what: str, value: object, least: float, most: float) -> float:
    """Return `value` as a float; raise ModuleError when it is none, or out of its range."""
    try:
        found = float(value)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError):
        found = math.nan
    if not least <= found <= most or isinstance(value, str):
        raise ModuleError(
            f"{what} cannot be {value!r}", remedy=f"Give a number from {least:g} to {most:g}."
        )
    return found


def member(what: str, value: object, kind: type[_EnumT]) -> _EnumT:
    """Return `value` as a member of an enum; raise ModuleError when it is none."""
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(kind.__members__)
        raise ModuleError(
            f"{what} cannot be {value!r}", remedy=f"Give ms.{kind.__name__} with one of: {names}."
        ) from None
