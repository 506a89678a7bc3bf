"""What leads a run from outside, or is led by it: other machines that start and stop together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

Wait = Callable[[float], bool]
"""Lets the engine go on for at most so many seconds; returns False when the run ends."""
Figures = Mapping[str, float | str]
"""Figures for the recording, by name."""


class StartAt(NamedTuple):
    """When the run starts."""

    t0_ns: int
    """Zero of master time on CLOCK_MONOTONIC, in ns; not in the future."""
    figures: Figures


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

    def look(self) -> None:
        """Handle what has come; called about four times a second while the run lasts."""

    def ended(self, *, success: bool) -> None:
        """Let others stop: the run ends, its modules are stopped next."""
