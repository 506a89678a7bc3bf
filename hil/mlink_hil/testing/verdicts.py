"""The outcomes of an expectation, and the errors that tell them."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlink_hil.testing.events import Event, Window


class Verdict(enum.Enum):
    """Whether something was as expected."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class ExpectationFailed(AssertionError):  # noqa: N818 - reads as the outcome that it is
    """It was surely not as expected."""


class Inconclusive(Exception):  # noqa: N818 - an outcome, not an error
    """The uncertainty of the times does not tell whether it was as expected."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Events that are surely in a window, and those that may be."""

    sure: tuple[Event, ...]
    possible: tuple[Event, ...]
    """Not among `sure`."""

    @classmethod
    def sort(cls, events: Iterable[Event], window: Window) -> Inside:
        """Sort events by whether a window holds them."""
        told = [(event, window.holds(event)) for event in events]
        return cls(
            tuple(event for event, held in told if held),
            tuple(event for event, held in told if held is None),
        )

    def some(self) -> Verdict:
        """Return whether there is one."""
        if self.sure:
            return Verdict.PASS
        return Verdict.INCONCLUSIVE if self.possible else Verdict.FAIL

    def none(self) -> Verdict:
        """Return whether there is none."""
        if self.sure:
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if self.possible else Verdict.PASS

    def count(self, at_least: int, at_most: int | None) -> Verdict:
        """Return whether there are as many."""
        low, high = len(self.sure), len(self.sure) + len(self.possible)
        if high < at_least or (at_most is not None and low > at_most):
            return Verdict.FAIL
        if low >= at_least and (at_most is None or high <= at_most):
            return Verdict.PASS
        return Verdict.INCONCLUSIVE


def limits_verdict(
    lowest: float, highest: float, at_least: float | None, at_most: float | None
) -> Verdict:
    """Judge a value known to be in [lowest, highest] by its limits."""
    if (at_least is not None and highest < at_least) or (at_most is not None and lowest > at_most):
        return Verdict.FAIL
    if (at_least is None or lowest >= at_least) and (at_most is None or highest <= at_most):
        return Verdict.PASS
    return Verdict.INCONCLUSIVE


def raise_unless_passed(verdict: Verdict, lines: Sequence[str]) -> None:
    """Raise what a verdict is, with its story."""
    __tracebackhide__ = True
    if verdict is Verdict.FAIL:
        raise ExpectationFailed("\n".join(lines))
    if verdict is Verdict.INCONCLUSIVE:
        raise Inconclusive("\n".join(lines))
