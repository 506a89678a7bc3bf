"""Checks of functions that a script passes, before the first call.

A wrong signature is then reported where the script passes the function, not in the middle of a run.
"""

from __future__ import annotations

import inspect

from mlink.scripting.errors import SyntalosPyError


def check_function(function: object, what: str, *arguments: str) -> None:
    """Check that a function can be called with these arguments.

    Args:
        function: What the script passed; callers handle None themselves.
        what: Name of the place for the message, such as "on_data of port 'in'".
        *arguments: Names of the positional arguments that it will be called with, at most two.

    Raises:
        SyntalosPyError: It cannot; the message shows the expected signature.
    """
    wanted = f"a function {_example(function, arguments)}"
    if not callable(function):
        raise SyntalosPyError(f"{what} must be {wanted}, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        name = getattr(function, "__name__", "it")
        raise SyntalosPyError(
            f"{what} must be {wanted}, and {name} is `async def`: write `def`, without `await`; "
            "syl.wait(msec) waits, and lets inputs be handled"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions have no signature; the first call shows it
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
