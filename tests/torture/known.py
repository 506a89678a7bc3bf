"""Faults that the torture shows and that are not fixed yet.

A fault that can be shown at will has an example. When that passes, the fault is fixed, and
`test_torture.py` fails until it is removed from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.torture.checks import Verdict
from tests.torture.disturb import Outcome
from tests.torture.injections import Injection


@dataclass(frozen=True, slots=True)
class Known:
    """A fault of the product: which problems it explains, and what shows it."""

    cause: str
    checks: tuple[str, ...]
    """Names of the checks that fail."""
    hits: Callable[[Outcome], bool]
    example: Injection | None = None
    """What shows it every time; None if that is a matter of a few milliseconds."""
    text: str = ""
    """Part of the text of each problem that it explains."""

    def explains(self, check: str, text: str) -> bool:
        """Return whether a problem is its consequence."""
        return check in self.checks and self.text in text


KNOWN: tuple[Known, ...] = ()


def cause_of(outcome: Outcome, verdict: Verdict) -> str:
    """Return the known cause of all problems of a run; "" when one is not explained."""
    known = [fault for fault in KNOWN if fault.hits(outcome)]
    reasons = []
    for problem in verdict.problems:
        causes = [fault.cause for fault in known if fault.explains(*problem)]
        if not causes:
            return ""
        reasons += [cause for cause in causes if cause not in reasons]
    return "; ".join(reasons)
