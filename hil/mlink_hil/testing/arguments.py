"""Refuses arguments of expectations with which a test passes, or fails, whatever happens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeGuard, cast

from mlink.errors import BenchError
from mlink.metadata import MetaSize
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.verdicts import hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks


def check_usec(call: str, name: str, value: object, *, lowest: int = 1) -> None:
    """Refuse a time that is no number of µs, or too short.

    Args:
        call: The expectation.
        name: The argument.
        value: Its value.
        lowest: Shortest time; 1 where nothing could come in a time of 0.

    Raises:
        BenchError: The time is wrong.
    """
    if not _is_number(value) or value < lowest:
        raise BenchError(
            f"{call}({name}={value!r}): a time in µs, {lowest} or longer, is needed",
            remedy=f"Write for example {name}=500_000, which is half a second.",
        )


def check_seconds(call: str, name: str, value: object) -> None:
    """Refuse a length of time that is no number, or below 0.

    Args:
        call: What the test has called.
        name: The argument.
        value: Its value.

    Raises:
        BenchError: The time is wrong.
    """
    if not _is_number(value) or value < 0:
        raise BenchError(
            f"{call}({name}={value!r}): a finite number, 0 or higher, is needed",
            remedy=f"Write for example {name}=2.",
        )


def check_whole(call: str, name: str, value: object, *, lowest: int) -> None:
    """Refuse what is no whole number, or too low.

    Args:
        call: What the test has called.
        name: The argument.
        value: Its value.
        lowest: Lowest number.

    Raises:
        BenchError: The number is wrong.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
        raise BenchError(
            f"{call}({name}={value!r}): a whole number, {lowest} or higher, is needed",
            remedy=f"Write for example {name}={max(lowest, 0) + 8}.",
        )


def check_area(area: Sequence[object], size: MetaSize | None) -> None:
    """Refuse a rectangle that is none, or is not inside of the picture.

    Args:
        area: (x, y, width, height) in pixels from the top left.
        size: Size of the pictures; None if it is not known.

    Raises:
        BenchError: The rectangle is wrong.
    """
    for name, value, lowest in zip(("x", "y", "width", "height"), area, (0, 0, 1, 1), strict=True):
        check_whole("region", name, value, lowest=lowest)
    x, y, width, height = cast("tuple[int, int, int, int]", tuple(area))
    if size is not None and (x + width > size.width or y + height > size.height):
        raise BenchError(
            f"region(x={x}, y={y}, width={width}, height={height}) is not inside of the picture, "
            f"which has {size.width}×{size.height} pixels",
            remedy="x and y are its left and top edges, counted from the top left of the picture.",
        )


def check_after(call: str, name: str, value: object, *, optional: bool = True) -> None:
    """Refuse what is no event where a time begins.

    Args:
        call: What the test has called.
        name: The argument.
        value: Its value.
        optional: Whether it may be None.

    Raises:
        BenchError: It is none.
    """
    if not isinstance(value, Event) and not (optional and value is None):
        raise BenchError(
            f"{call}({name}={value!r}): an event is needed",
            remedy=f"Give what another call has returned: {name}=bench.now().",
        )


def check_span(
    within_usec: int, not_before_usec: int, after: Event | None, around: Event | None
) -> None:
    """Refuse a span of `expect` in which nothing can come, or that is not clear.

    Args:
        within_usec: As in `expect`.
        not_before_usec: As in `expect`.
        after: As in `expect`.
        around: As in `expect`.

    Raises:
        BenchError: The span is wrong.
    """
    check_after("expect", "after", after)
    check_after("expect", "around", around)
    check_usec("expect", "within_usec", within_usec, lowest=0)
    check_usec("expect", "not_before_usec", not_before_usec, lowest=0)
    if not_before_usec > within_usec:
        raise BenchError(
            f"expect(not_before_usec={not_before_usec!r}, within_usec={within_usec!r}): "
            "the time ends before it begins",
            remedy="Both count from the same event: make within_usec longer.",
        )
    if around is not None and (after is not None or not_before_usec):
        raise BenchError(
            "expect(around=…) has no meaning beside after=… or not_before_usec=…",
            remedy="Leave out either around or the others.",
        )


def count_limits(
    exactly: int | None, at_least: int | None, at_most: int | None
) -> tuple[int, int | None]:
    """Return the lowest and the highest number that `expect_count` accepts.

    Args:
        exactly: As in `expect_count`.
        at_least: As in `expect_count`.
        at_most: As in `expect_count`.

    Raises:
        BenchError: There is no number, a wrong one, or numbers that exclude each other.
    """
    given = {"exactly": exactly, "at_least": at_least, "at_most": at_most}
    given = {name: value for name, value in given.items() if value is not None}
    text = ", ".join(f"{name}={value!r}" for name, value in given.items())
    for value in given.values():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            raise BenchError(
                f"expect_count({text}): {value!r} is no number of events",
                remedy="Write a whole number, 0 or higher.",
            )
    if exactly is not None and len(given) > 1:
        raise BenchError(
            f"expect_count({text}): a number stands for itself, without limits beside it",
            remedy="Write either the number or at_least and at_most.",
        )
    low = exactly if exactly is not None else at_least or 0
    high = exactly if exactly is not None else at_most
    if high is None and low == 0:
        raise BenchError(
            f"expect_count({text}): any number of events would be right",
            remedy="Write the number, as in expect_count(pattern, 10, within_usec=…), or at_least "
            "(1 or higher), or at_most.",
        )
    if high is not None and low > high:
        raise BenchError(
            f"expect_count({text}): no number of events is in these limits",
            remedy="Write an at_most that is not lower than at_least.",
        )
    return low, high


def check_rate(hz: float, tolerance: float) -> None:
    """Refuse a rate that needs no event.

    Args:
        hz: As in `expect_rate`.
        tolerance: As in `expect_rate`.

    Raises:
        BenchError: The rate or its tolerance is wrong.
    """
    if not _is_number(hz) or hz <= 0:
        raise BenchError(
            f"expect_rate(hz={hz!r}): a rate above 0 Hz is needed",
            remedy="Write expect_none(pattern, for_usec=…) if nothing must come.",
        )
    if not _is_number(tolerance) or not 0 <= tolerance < 1:
        raise BenchError(
            f"expect_rate(tolerance={tolerance!r}): a share of hz from 0 to below 1 is needed",
            remedy="Write for example tolerance=0.05 for ± 5 %.",
        )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
