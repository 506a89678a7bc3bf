"""Checks the arguments of a request or a fault before anything is made of it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from typing import Any, TypeVar, get_args

import msgspec
import numpy

from mlink.errors import BenchError

StructT = TypeVar("StructT", bound=msgspec.Struct)
_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a text",
    list[int]: "a list of whole numbers",
    type(None): "None",
}


def checked(made: StructT, call: str = "") -> StructT:
    """Return a message whose fields have their types; numbers of NumPy become Python's.

    Its receiver checks ranges. JSON has no infinite numbers: as null they would release a pin.

    Args:
        made: The message.
        call: What has been called, for errors; "" if it is named as the message.

    Raises:
        BenchError: A field is of another type, or is not finite.
    """
    call = call or type(made).__name__.lower()
    found = {each.name: _converted(call, made, each) for each in msgspec.structs.fields(made)}
    return type(made)(**found)


def listed(values: Any) -> list[int]:
    """Return values as a list; what is none stays, for `checked` to refuse it."""
    return list(values) if isinstance(values, Iterable) else values


def _converted(call: str, made: msgspec.Struct, field: msgspec.structs.FieldInfo) -> Any:
    value = getattr(made, field.name)
    try:
        plain = msgspec.to_builtins(value, enc_hook=_of_numpy)
        found = msgspec.convert(plain, field.type)
        if isinstance(found, float) and not math.isfinite(found):
            raise ValueError(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        needed = " or ".join(_words(field.type))
        raise BenchError(
            f"{call}({field.name}={reprlib.repr(value)}): {needed} is needed",
            remedy=f"Give {field.name} such a value.",
        ) from error
    return found


def _of_numpy(value: object) -> object:
    if isinstance(value, numpy.generic | numpy.ndarray):
        return value.tolist()
    raise TypeError(value)


def _words(kind: Any) -> list[str]:
    """Return what a type accepts, in words."""
    if kind in _WORDS:
        return [_WORDS[kind]]
    return [word for each in get_args(kind) for word in _words(each)] or [repr(kind)]
