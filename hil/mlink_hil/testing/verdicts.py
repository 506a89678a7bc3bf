"""The outcomes of an expectation, and the exceptions that report them."""

from __future__ import annotations

import enum
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlink.errors import MlinkError
from mlink_hil.testing.observed.events import Event, Unseen, Window


class Verdict(enum.Enum):
    """Whether something was as expected, as far as the uncertainty of the times allows."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class ExpectationFailed(AssertionError):  # noqa: N818 - reads as the outcome that it is
    """Something was surely not as expected: the test fails."""


class Inconclusive(Exception):  # noqa: N818 - an outcome, not an error
    """The uncertainty of the times, or a busy host, leaves open whether it was as expected.

    The option --mlink-inconclusive decides whether such a test fails or is skipped.
    """


hidden_in_tracebacks = operator.methodcaller(
    "errisinstance", (ExpectationFailed, Inconclusive, MlinkError)
)
"""Value of `__tracebackhide__` in modules whose frames explain nothing to the author of a test.

Errors of other types are bugs of ours: pytest shows all of their frames.
"""


@dataclass(frozen=True, slots=True)
class Inside:
    """Events that are surely in a window, and events that may be."""

    sure: tuple[Event, ...]
    possible: tuple[Event, ...]
    """Events that the uncertainty of the times leaves open; none of them is in `sure`."""
    unseen: Unseen | None = None
    """What else may have been there; None when all was seen."""
    cut: str = ""
    """Why the window is shorter than it should be: the run's end; "" when it is not."""

    @classmethod
    def sort(cls, events: Iterable[tuple[Event, bool | None]], window: Window) -> Inside:
        """Sort events by whether they match and a window holds them.

        Args:
            events: Events in order of time, each with whether it matches; None leaves it open.
            window: The window; events that are surely outside are dropped.
        """
        sorted_out = [
            (event, matches, window.holds(event))
            for event, matches in events
            if matches is not False
        ]
        return cls(
            tuple(event for event, matches, held in sorted_out if matches and held),
            tuple(
                event
                for event, matches, held in sorted_out
                if held is not False and not (matches and held)
            ),
        )

    def some(self) -> Verdict:
        """Return the verdict on "at least one"."""
        if self.sure:
            return Verdict.PASS
        return Verdict.INCONCLUSIVE if self.possible or self.unseen else Verdict.FAIL

    def none(self) -> Verdict:
        """Return the verdict on "none"."""
        if self.sure:
            return Verdict.FAIL
        open_ = self.possible or self.unseen or self.cut
        return Verdict.INCONCLUSIVE if open_ else Verdict.PASS

    def count(self, at_least: int, at_most: int | None) -> Verdict:
        """Return the verdict on a number of events.

        Args:
            at_least: Lowest number.
            at_most: Highest number; None for any.
        """
        low, high = len(self.sure), len(self.sure) + len(self.possible)
        if (high < at_least and not self.unseen) or (at_most is not None and low > at_most):
            return Verdict.FAIL
        if low < at_least:
            return Verdict.INCONCLUSIVE
        if at_most is None or (high <= at_most and not self.unseen and not self.cut):
            return Verdict.PASS
        return Verdict.INCONCLUSIVE

    @property
    def why_open(self) -> str:
        """What was not seen, as the end of a message; "" when all was seen."""
        text = self.unseen.text if self.unseen else self.cut
        return f"\nbut {text}" if text else ""


def limits_verdict(
    lowest: float, highest: float, at_least: float | None, at_most: float | None
) -> Verdict:
    """Return the verdict on a value within limits.

    Args:
        lowest: The value is surely not lower.
        highest: The value is surely not higher.
        at_least: Lower limit; None without.
        at_most: Upper limit; None without.
    """
    if (at_least is not None and highest < at_least) or (at_most is not None and lowest > at_most):
        return Verdict.FAIL
    if (at_least is None or lowest >= at_least) and (at_most is None or highest <= at_most):
        return Verdict.PASS
    return Verdict.INCONCLUSIVE


def raise_unless_passed(verdict: Verdict, lines: Sequence[str]) -> None:
    """Raise the exception of a verdict, if it has one.

    Args:
        verdict: The verdict.
        lines: The message.

    Raises:
        ExpectationFailed: The verdict is FAIL.
        Inconclusive: The verdict is INCONCLUSIVE.
    """
    __tracebackhide__ = True
    if verdict is Verdict.FAIL:
        raise ExpectationFailed("\n".join(lines))
    if verdict is Verdict.INCONCLUSIVE:
        raise Inconclusive("\n".join(lines))
