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


def _example(
    kind: str, target: str, phase: str, module: str = "", delay: float = 0.02
) -> Injection:
    return Injection(0, 0, kind, target, module, phase, delay, 0.1)


def _fork_server_was_interrupted(outcome: Outcome) -> bool:
    injection = outcome.injection
    interrupted = (injection.kind, injection.target) == ("interrupt", "fork server")
    return interrupted and outcome.phase == "spawn" and outcome.code == 1


def _worker_was_asked_to_end(outcome: Outcome) -> bool:
    injection = outcome.injection
    return injection.target == "worker" and injection.kind in ("interrupt", "terminate")


KNOWN: tuple[Known, ...] = (
    Known(
        "the fork server dies between two requests for workers: no remedy, or an internal error",
        ("message", "traceback"),
        lambda outcome: outcome.injection.target == "fork server" and outcome.phase == "spawn",
    ),
    Known(
        "SIGINT while the fork server imports its first modules ends it, with a traceback",
        ("exit code", "traceback", "message"),
        _fork_server_was_interrupted,
    ),
    Known(
        "Ctrl-C while mlink is imported prints a traceback",
        ("traceback",),
        lambda outcome: (
            outcome.injection.kind.startswith("interrupt") and outcome.phase == "import"
        ),
        _example("interrupt", "engine", "import", delay=0.12),
    ),
    Known(
        "a worker that is asked to end before it has built its module prints a traceback",
        ("traceback",),
        _worker_was_asked_to_end,
    ),
    Known(
        "a Zarr store that was killed before it had its first file cannot be repaired",
        ("repair",),
        lambda outcome: outcome.phase in ("spawn", "prepare", "start"),
        text="zarr: No group found",
    ),
    Known(
        "a video that was killed before it had its tsync file counts as damaged",
        ("verify",),
        lambda outcome: outcome.phase in ("spawn", "prepare", "start"),
        text="1 video file(s), but 0 tsync file(s)",
    ),
)


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
