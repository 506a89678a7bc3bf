"""Functions that a script hands over: seen to be callable as they will be, before they are."""

from __future__ import annotations

import inspect

from mlink.scripting.errors import SyntalosPyError


def check_function(function: object, what: str, *arguments: str) -> None:
    """Refuse what cannot be called with these arguments (their names); None is the caller's case.

    Raises:
        SyntalosPyError: with a line that shows what the function should look like.
    """
    wanted = f"a function {_example(function, arguments)}"
    if not callable(function):
        raise SyntalosPyError(f"{what} must be {wanted}, not {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions do not tell; the first call will
    try:
        signature.bind(*arguments)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        raise SyntalosPyError(
            f"{what} must be {wanted}; {name}{signature} cannot be called with "
            f"{_count(len(arguments))}"
        ) from None


def _example(function: object, arguments: tuple[str, ...]) -> str:
    name = getattr(function, "__name__", "")
    return f"{name if name.isidentifier() else 'name'}({', '.join(arguments)})"


def _count(number: int) -> str:
    return ("no argument", "one argument", "two arguments")[number]
