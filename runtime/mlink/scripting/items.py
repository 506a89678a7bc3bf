"""Conversion of what a script submits to the types of its stream.

Scripts compute with NumPy integers, booleans and plain numbers where a stream has ints and enums.
Items that fit as they are are returned unchanged after a few type checks, since each item of a
script passes here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from mlink.scripting import legacy
from mlink.scripting.errors import SyntalosPyError
from mlink.transport.conversion import conversion
from mlink.types import (
    ControlCommand,
    ControlCommandKind,
    DataType,
    LineCommand,
    LineCommandKind,
    LineModeFlags,
    LineReading,
    ScriptEnum,
    ScriptFlags,
    SignalBlockF32,
    SignalBlockI32,
    SignalBlockU16,
)

OF_2X = frozenset({legacy.FirmataControl, legacy.FirmataData, legacy.FloatSignalBlock})
"""Types of the 2.x generation, which only `as_stream_item` translates."""

_EnumT = TypeVar("_EnumT", bound=ScriptEnum | ScriptFlags)

Fit = Callable[[Any], Any]


def fit_for(data_type: DataType) -> Fit:
    """Return the function that converts an item for a stream of this type.

    It raises SyntalosPyError for fields that cannot be converted. Items of another type are
    returned as they are; the stream refuses them with a message that names both types.
    """
    return _FITS.get(data_type, _unchanged)


def as_stream_item(item: Any, data_type: DataType, pins: legacy.PinNames | None = None) -> Any:
    """Return an item as its stream accepts it.

    Args:
        item: What the script submitted.
        data_type: Type of the stream.
        pins: Names of pins, for values of the 2.x generation, which are translated.

    Raises:
        SyntalosPyError: A field of the item has a value that cannot be converted.
    """
    if type(item) in OF_2X:
        item = _from_2x(item, pins or legacy.PinNames())
    return fit_for(data_type)(item)


def _from_2x(item: object, pins: legacy.PinNames) -> object:
    if isinstance(item, legacy.FirmataControl):
        return legacy.to_line_command(item, pins)
    if isinstance(item, legacy.FirmataData):
        return legacy.to_line_reading(item)
    if isinstance(item, legacy.FloatSignalBlock):
        return legacy.to_f32_block(item)
    return item


def _unchanged(item: Any) -> Any:
    return item


def _line_command(item: Any) -> Any:
    if type(item) is not LineCommand:
        return item
    if (
        type(item.kind) is LineCommandKind
        and type(item.line_id) is type(item.value) is type(item.duration_usec) is int
        and type(item.flags) is LineModeFlags
        and type(item.extra) is bytes
    ):
        return item
    return LineCommand(
        _member("LineCommand.kind", item.kind, LineCommandKind),
        _whole("LineCommand.line_id", item.line_id),
        _whole("LineCommand.value", item.value),
        _whole("LineCommand.duration_usec", item.duration_usec),
        _member("LineCommand.flags", item.flags, LineModeFlags),
        _payload("LineCommand.extra", item.extra),
    )


def _line_reading(item: Any) -> Any:
    if type(item) is not LineReading:
        return item
    if type(item.line_id) is type(item.value) is type(item.time_usec) is int:
        return item
    return LineReading(
        _whole("LineReading.line_id", item.line_id),
        _whole("LineReading.value", item.value),
        _whole("LineReading.time_usec", item.time_usec),
    )


def _control_command(item: Any) -> Any:
    if type(item) is not ControlCommand:
        return item
    if not isinstance(item.command, str):
        raise SyntalosPyError(
            f"ControlCommand.command must be a text, not {type(item.command).__name__}"
        )
    if type(item.kind) is ControlCommandKind and type(item.duration) is int:
        return item
    return ControlCommand(
        _member("ControlCommand.kind", item.kind, ControlCommandKind),
        _whole("ControlCommand.duration (milliseconds)", item.duration),
        item.command,
    )


def _row(item: Any) -> Any:
    if isinstance(item, Sequence | Mapping) or not hasattr(item, "__getitem__"):
        return item
    return list(item)  # a NumPy array, which is not registered as a Sequence


def _block(item: Any, wanted: DataType) -> Any:
    """Return a block as the stream's type, by the rules of connections between unequal types."""
    given = _BLOCK_TYPES.get(type(item))
    convert = None if given is None else conversion(given, wanted)
    return item if convert is None else convert(item)


_BLOCK_TYPES: dict[type, DataType] = {
    SignalBlockI32: DataType.SignalBlockI32,
    SignalBlockU16: DataType.SignalBlockU16,
    SignalBlockF32: DataType.SignalBlockF32,
}

_FITS: dict[DataType, Fit] = {
    DataType.LineCommand: _line_command,
    DataType.LineReading: _line_reading,
    DataType.ControlCommand: _control_command,
    DataType.TableRow: _row,
    DataType.SignalBlockI32: partial(_block, wanted=DataType.SignalBlockI32),
    DataType.SignalBlockF32: partial(_block, wanted=DataType.SignalBlockF32),
}


def _whole(what: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        raise SyntalosPyError(
            f"{what} must be a whole number, not {value!r} ({type(value).__name__}); use int(…)"
        ) from None


def _member(what: str, value: object, kind: type[_EnumT]) -> _EnumT:
    if isinstance(value, kind):
        return value
    try:
        return kind(operator.index(value))  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError):
        known = ", ".join(f"{kind.__name__}.{name}" for name in kind.__members__)
        raise SyntalosPyError(f"{what} cannot be {value!r}; use one of {known}") from None


def _payload(what: str, value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise SyntalosPyError(f"{what} must be bytes, not {type(value).__name__}")
