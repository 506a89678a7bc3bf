"""What the engine tells whoever watches a run: live status, and the result at the end."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Phase(enum.Enum):
    """Where a run is in its life."""

    CHECK = "check"
    SPAWN = "spawn"
    PREPARE = "prepare"
    START = "start"
    RUN = "run"
    STOP = "stop"
    CLOSE = "close"
    DONE = "done"


@dataclass(slots=True)
class SubscriptionStatus:
    """Counts of one subscriber of a stream."""

    module: str
    port: str
    received: int = 0
    lost: int = 0
    queued: int = 0
    """Under way to it; after the run, what a module that failed has not taken."""
    queue_limit: int = 0


@dataclass(slots=True)
class StreamStatus:
    """Counts of one output port; `rate_hz` over the last status interval."""

    module: str
    port: str
    data_type: str
    sent: int = 0
    rate_hz: float = 0.0
    subscriptions: list[SubscriptionStatus] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The stream as benches name it: "module.port"."""
        return f"{self.module}.{self.port}"

    @property
    def unused(self) -> bool:
        """Whether nobody listens and nothing was sent: not worth a line."""
        return not self.subscriptions and not self.sent

    @property
    def lost(self) -> int:
        """Items lost over all subscribers."""
        return sum(subscription.lost for subscription in self.subscriptions)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed: the module, in which phase, what, and what to do."""

    module: str
    phase: str
    message: str
    remedy: str = ""
    detail: str = ""
    """A traceback, for `--debug`."""

    def __str__(self) -> str:
        return f"{self.module} ({self.phase}): {self.message}" if self.module else self.message


@dataclass(slots=True)
class RunStatus:
    """A snapshot of a run."""

    phase: Phase = Phase.CHECK
    elapsed_s: float = 0.0
    streams: list[StreamStatus] = field(default_factory=list)
    module_status: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class RunResult:
    """How a run ended."""

    success: bool
    failures: list[Failure] = field(default_factory=list)
    duration_s: float = 0.0
    stop_reason: str = ""
    streams: list[StreamStatus] = field(default_factory=list)
    reports: dict[str, dict[str, float | str]] = field(default_factory=dict)
    """Figures that modules gave, by module name."""
    recording_dir: Path | None = None
    start_to_first_item_s: float | None = None


class RunObserver(Protocol):
    """Watches a run; called in the engine's thread, must return quickly."""

    def on_status(self, status: RunStatus) -> None:
        """Take a snapshot, about four times a second and at each change of phase."""
        ...

    def on_log(self, module: str, level: int, message: str) -> None:
        """Take a line of a module's log (`logging` levels); module "" is the engine."""
        ...

    def on_output(self, module: str, text: str) -> None:
        """Take a line that a script printed."""
        ...
