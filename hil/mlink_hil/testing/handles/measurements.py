"""Measurements of a test: a value with bounds, limits, and the outcome."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mlink_hil.testing.observed.events import Span
from mlink_hil.testing.verdicts import Verdict, limits_verdict


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value, its bounds and limits in one unit, and the verdict on them.

    `str()` gives the line that reports show: name, value, bounds, unit, limits, time, outcome.
    """

    name: str
    value: float
    lowest: float
    highest: float
    unit: str
    at_least: float | None
    at_most: float | None
    outcome: Verdict
    virtual: bool = False
    """Whether it is of virtual time: what a simulation gives, never what hardware did."""

    @classmethod
    def judge(
        cls,
        name: str,
        value: float | Span,
        unit: str,
        at_least: float | None,
        at_most: float | None,
    ) -> Measurement:
        """Return a measurement with the verdict of its limits.

        Args:
            name: Its name in the reports.
            value: A number, or a Span, which is in µs and has bounds.
            unit: Unit of value and limits; "" is "µs" for a Span.
            at_least: Lower limit; None without.
            at_most: Upper limit; None without.
        """
        if isinstance(value, Span):
            number = float(value.usec)
            lowest, highest = float(value.lowest_usec), float(value.highest_usec)
            unit = unit or "µs"
        else:
            number = lowest = highest = float(value)
        outcome = limits_verdict(lowest, highest, at_least, at_most)
        return cls(name, number, lowest, highest, unit, at_least, at_most, outcome)

    @property
    def excess(self) -> float:
        """Least distance of the value from its limits; 0 where it may be inside."""
        above = 0.0 if self.at_most is None else self.lowest - self.at_most
        below = 0.0 if self.at_least is None else self.at_least - self.highest
        return max(0.0, above, below)

    @property
    def limits(self) -> str:
        """The limits as text ("≥ 1 and ≤ 5"); "" without any."""
        parts = [
            f"{sign} {limit:g}"
            for sign, limit in (("≥", self.at_least), ("≤", self.at_most))
            if limit is not None
        ]
        return " and ".join(parts)

    def __str__(self) -> str:
        bounds = "" if self.lowest == self.highest else f" ({self.lowest:g} to {self.highest:g})"
        limits = f", limits {self.limits}" if self.limits else ""
        kind = ", virtual time" if self.virtual else ""
        what = f"{self.name} = {self.value:g} {self.unit}{bounds}{limits}{kind}"
        return f"{what}: {self.outcome.value}"

    def as_plain(self) -> dict[str, Any]:
        """Return it as plain values, for JUnit, JSON and HTML."""
        return {**asdict(self), "outcome": self.outcome.value}
