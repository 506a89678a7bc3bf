"""What leads a run from outside, or is led by it: other machines that start and stop together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from mlink.engine.status import Failure

Wait = Callable[[float], bool]
"""Lets the engine go on for at most so many seconds; returns False when the run ends."""
Figures = Mapping[str, float | str]
"""Figures for the recording, by name."""


class StartAt(NamedTuple):
    """When the run starts."""

    t0_ns: int
    """Zero of master time on CLOCK_MONOTONIC, in ns; not in the future."""
    figures: Figures


class Looked(NamedTuple):
    """What others of a run have reported."""

    failures: tuple[Failure, ...] = ()
    """Failures of theirs that were not reported before."""
    stop: str = ""
    """Why one of them has ended the run as a success; "" if none has."""


class RunControl(Protocol):
    """Takes part in the phases of a run; all calls are made by the engine's thread.

    Every method may raise an MlinkError, which fails the run.
    """

    def prepare(self, run_uuid: bytes, wait: Wait) -> None:
        """Let others prepare, before the modules do."""

    def await_start(self, wait: Wait) -> StartAt | None:
        """Return when to start, all modules having prepared; None when the run ends meanwhile."""

    def started(self, t0_ns: int) -> Figures:
        """Let others start: master time has begun."""

    def look(self) -> Looked | None:
        """Handle what has come; called about four times a second while the run lasts.

        Returns:
            What ends the run, if there is something; None for nothing.
        """

    def ended(self, *, success: bool) -> None:
        """Let others stop: the run ends, its modules are stopped next."""
