"""Checks of metadata that scripts set.

They run in the script's call, so that an error names the script's line. As in Syntalos,
`set_metadata_value` accepts less than `set_metadata`. Functions raise SyntalosPyError; `key` is for
its message.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from mlink.metadata import Metadata, MetaSize, MetaValue
from mlink.scripting.errors import SyntalosPyError

_INT32 = range(-(1 << 31), 1 << 31)
_INT64 = range(-(1 << 63), 1 << 63)
_MAX_DEPTH = 16


def single_value(key: str, value: object) -> MetaValue:
    """Return a checked value for `set_metadata_value`: no bool, no None, flat lists only.

    Args:
        key: Name of the attribute, for messages.
        value: int of 64 bits, finite float, str, MetaSize, or a list of int or str.

    Raises:
        SyntalosPyError: The value is of another type, not finite, or does not fit into 64 bits.
    """
    if isinstance(value, list):
        for item in value:
            if type(item) is not int and not isinstance(item, str):
                raise SyntalosPyError(
                    f"metadata '{key}': a list may hold int or str, not {type(item).__name__}"
                )
        return [any_value(key, item) for item in value]
    if type(value) is not int and not isinstance(value, float | str | MetaSize):
        raise SyntalosPyError(
            f"metadata '{key}' cannot be of type {type(value).__name__} "
            "(int, float, str, MetaSize, or a list of int or str)"
        )
    return any_value(key, value)


def any_value(key: str, value: object, depth: int = 0) -> MetaValue:
    """Return a checked copy of a value for `set_metadata`; lists and dicts may be nested.

    Args:
        key: Name of the attribute, for messages; names of nested ones are joined by dots.
        value: As in `single_value`, and bool, None, and lists and dicts of all of them.
        depth: How many lists and dicts are around the value.

    Raises:
        SyntalosPyError: A value is of another type, not finite, too large, or nested too deep
            (more than 16 levels).
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in _INT64:
            raise SyntalosPyError(f"metadata '{key}': {value} does not fit into 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SyntalosPyError(
                f"metadata '{key}' is {value}: give a number, or leave the key out"
            )
        return float(value)
    if isinstance(value, str):
        return _valid(f"metadata '{key}'", value)
    if isinstance(value, MetaSize):
        return size(key, (value.width, value.height))
    if depth < _MAX_DEPTH and isinstance(value, list | tuple):
        return [any_value(key, item, depth + 1) for item in value]
    if depth < _MAX_DEPTH and isinstance(value, dict):
        return {
            key_text(name): any_value(f"{key}.{name}", item, depth + 1)
            for name, item in value.items()
        }
    raise SyntalosPyError(
        f"metadata '{key}' cannot be of type {type(value).__name__} "
        "(int, float, str, bool, None, MetaSize, list or dict, not nested deeper than "
        f"{_MAX_DEPTH})"
    )


def size(key: str, value: object) -> MetaSize:
    """Return a MetaSize from a MetaSize or a sequence of exactly two ints (width, height).

    Args:
        key: Name of the attribute, for messages.
        value: The size, in pixels.

    Raises:
        SyntalosPyError: It is something else, or a number does not fit into 32 bits.
    """
    extents: Sequence[Any] = ()
    try:
        if isinstance(value, MetaSize):
            extents = (value.width, value.height)
        elif hasattr(value, "__getitem__") and not isinstance(value, str | bytes | Mapping):
            extents = list(value)  # type: ignore[call-overload]  # a sequence, of NumPy perhaps
        width, height = (operator.index(extent) for extent in extents)
    except (TypeError, ValueError):
        raise SyntalosPyError(
            f"metadata '{key}' must be a MetaSize or two ints (width, height), not {value!r}"
        ) from None
    if width not in _INT32 or height not in _INT32:
        raise SyntalosPyError(f"metadata '{key}': {value!r} does not fit into 32 bits")
    return MetaSize(width, height)


def key_text(key: object) -> str:
    """Return a metadata key; anything but a str is refused.

    Raises:
        SyntalosPyError: The key is not a str.
    """
    if not isinstance(key, str):
        raise SyntalosPyError(f"a metadata key must be a str, not {key!r}")
    return _valid("a metadata key", key)


def _valid(what: str, text: str) -> str:
    """Return a text that can be sent: one without surrogates, as names of files may have them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise SyntalosPyError(f"{what} is not valid UTF-8: {shown}") from None
    return str(text)


def copied(metadata: Metadata) -> dict[str, Any]:
    """Return a copy that shares no list or dict with the stream's own metadata.

    A script may change the copy; other modules have their own.
    """
    return {key: _copied(value) for key, value in metadata.items()}


def _copied(value: MetaValue) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, MetaSize):
        return MetaSize(value.width, value.height)
    return value
