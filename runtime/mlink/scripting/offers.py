"""Values that a script offers: a person sets them by the page of a run, within their bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from mlink.errors import MlinkError, ModuleError
from mlink.metadata import Settable
from mlink.module import ModuleContext
from mlink.scripting.callbacks import check_function
from mlink.types import ControlCommand, ControlCommandKind

MOST_OFFERS = 64
"""Values of one script."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,39}")
_WHOLE = re.compile(r"[+-]?[0-9]{1,16}")
_LONGEST_UNIT = 16
_FARTHEST = 1 << 53
"""Numbers beyond are not exact in a browser."""
_SWITCH = {"true": True, "false": False}

T = TypeVar("T", bound=float)  # bool and int are floats to type checkers


class Offer(Generic[T]):
    """A value that a script offers; `mlink.script.offer` returns it."""

    def __init__(
        self, settable: Settable, value: T, on_change: Callable[[T], object] | None
    ) -> None:
        self._settable = settable
        self._value = value
        self._on_change = on_change

    @property
    def name(self) -> str:
        """Its name, as the page shows it."""
        return self._settable.name

    @property
    def value(self) -> T:
        """The present value. It changes only while the script waits, between two items."""
        return self._value

    def __repr__(self) -> str:
        return f"<Offer '{self.name}' = {self._value}>"


class Offers:
    """All values of a script.

    Args:
        context: The context of its module.
    """

    def __init__(self, context: ModuleContext[Any]) -> None:
        self._context = context
        self._all: dict[str, Offer[Any]] = {}

    def add(
        self,
        name: str,
        value: T,
        minimum: float | None,
        maximum: float | None,
        unit: str,
        on_change: Callable[[T], object] | None,
    ) -> Offer[T]:
        """Offer a value; the arguments are those of `mlink.script.offer`.

        Raises:
            ModuleError: The name is none, or is offered already; the bounds are none, or the value
                is not between them; or the run has begun.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ModuleError(
                f"{name!r} is no name of a value",
                remedy="It begins with a letter, and has at most 40 letters, digits, _ . -",
            )
        if name in self._all or len(self._all) >= MOST_OFFERS:
            why = "is offered already" if name in self._all else f"is one more than {MOST_OFFERS}"
            raise ModuleError(f"the value '{name}' {why}")
        if len(unit) > _LONGEST_UNIT or not unit.isprintable():
            raise ModuleError(f"the unit of '{name}' is longer than {_LONGEST_UNIT} characters")
        if on_change is not None:
            check_function(on_change, f"on_change of '{name}'", "value")
        settable = _settable(name, value, minimum, maximum, unit)
        if why := _out_of_bounds(settable, value):
            raise ModuleError(f"the value of '{name}' {why}")
        shown = [each._settable for each in self._all.values()]
        self._context.offer([*shown, settable], self._take)
        offer = Offer(settable, value, on_change)
        self._all[name] = offer
        return offer

    def _take(self, command: ControlCommand) -> None:
        """Set a value as a person wants it.

        Raises:
            ModuleError: It is not offered, or out of its bounds; the answer to the person.
        """
        name, equals, text = command.command.partition("=")
        if command.kind is not ControlCommandKind.CUSTOM or not equals:
            raise ModuleError("a script's values are set by NAME=VALUE")
        offer = self._all.get(name.strip())
        if offer is None:
            known = ", ".join(self._all)
            raise ModuleError(f"the script offers no value '{name.strip()[:40]}', but {known}")
        value = _parsed(text.strip(), offer.value)
        if value is None:
            what = {bool: "true or false", int: "a whole number"}.get(type(offer.value), "a number")
            raise ModuleError(f"'{offer.name}' is {what}, not {text.strip()[:40]!r}")
        if why := _out_of_bounds(offer._settable, value):
            raise ModuleError(f"'{offer.name}' {why}")
        before, offer._value = offer._value, value
        try:
            if offer._on_change is not None:
                offer._on_change(value)
        except MlinkError:  # the answer to the person, as from any module
            offer._value = before
            raise


def _settable(
    name: str, value: object, minimum: float | None, maximum: float | None, unit: str
) -> Settable:
    if isinstance(value, bool):
        if minimum is not None or maximum is not None:
            raise ModuleError(f"the value '{name}' is true or false, and has no bounds")
        return Settable(name, value, unit=unit)
    whole = isinstance(value, int)
    for bound in (minimum, maximum):
        if (
            isinstance(bound, bool)
            or not isinstance(bound, int if whole else int | float)
            or not math.isfinite(bound)
            or abs(bound) > _FARTHEST
        ):
            kind = "whole numbers" if whole else "numbers"
            raise ModuleError(
                f"the value '{name}' needs a minimum and a maximum, {kind} of at most 2^53",
                remedy=f'Write offer("{name}", {value!r}, minimum=…, maximum=…).',
            )
    if not isinstance(value, int | float):
        raise ModuleError(f"the value '{name}' is no number, nor true or false: {value!r:.40}")
    return Settable(name, value, minimum, maximum, 1 if whole else None, unit)


def _out_of_bounds(settable: Settable, value: float) -> str:
    if settable.minimum is None or settable.maximum is None:
        return ""
    if settable.minimum <= value <= settable.maximum:  # False for NaN
        return ""
    bounds = f"{settable.minimum} to {settable.maximum}"
    return f"is out of its bounds, {bounds}{settable.unit and ' '}{settable.unit}: {value}"


def _parsed(text: str, present: object) -> bool | int | float | None:
    """Return a text as a value of the type of the present one; None if it is none."""
    if isinstance(present, bool):
        return _SWITCH.get(text)
    if isinstance(present, int):
        return int(text) if _WHOLE.fullmatch(text) else None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
