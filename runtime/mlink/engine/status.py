"""Plain values that the engine passes to the observer of a run: live status and the result."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Phase(enum.Enum):
    """Phases of a run, in their order."""

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
    """Counts of one subscription: sent = received + lost + queued.

    The counts of both ends are up to 0.25 s old while the run lasts.
    """

    module: str
    port: str
    received: int = 0
    lost: int = 0
    queued: int = 0
    """Items in its queue; after the run the same as `not_taken`."""
    queue_limit: int = 0
    """Length of its queue in items; 0 while it is not known."""
    refused: int = 0
    """How many of the lost items found its queue full."""
    not_taken: int = 0
    """After the run: items left in the queue of a module that failed or was not waited for."""

    @property
    def missing(self) -> int:
        """After the run: items that were sent and not received."""
        return self.lost + self.not_taken


@dataclass(slots=True)
class StreamStatus:
    """Counts of one output port; `rate_hz` is of the last 2 s, in a result of the whole run."""

    module: str
    port: str
    data_type: str
    sent: int = 0
    rate_hz: float = 0.0
    subscriptions: list[SubscriptionStatus] = field(default_factory=list)
    lost_at_source: int = 0
    """Items that the source lost before it could send them. They are numbered like the others:
    `sent`, and `lost` of each subscription, include them."""

    @property
    def name(self) -> str:
        """The stream as benches name it: "module.port"."""
        return f"{self.module}.{self.port}"

    @property
    def unused(self) -> bool:
        """Whether it has no subscriber and no item: views leave it out."""
        return not self.subscriptions and not self.sent

    @property
    def lost(self) -> int:
        """Items lost, summed over all subscriptions."""
        return sum(subscription.lost for subscription in self.subscriptions)


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason why a run failed; `module` is "" for the engine itself.

    `phase` is a phase of the run or of the module's life cycle; `remedy` is what the user can do.
    """

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
    """A snapshot of a run; `elapsed_s` is master time in seconds.

    The engine changes the same object for each call of the observer: copy what you keep.
    """

    phase: Phase = Phase.CHECK
    elapsed_s: float = 0.0
    streams: list[StreamStatus] = field(default_factory=list)
    module_status: dict[str, str] = field(default_factory=dict)
    time: str = "real"
    """Kind of time: "real", or "virtual" where devices are simulated in turns."""


@dataclass(slots=True)
class RunResult:
    """The result of a run.

    It is a success if there are no failures, also when it was stopped before its time.
    """

    success: bool
    failures: list[Failure] = field(default_factory=list)
    duration_s: float = 0.0
    stop_reason: str = ""
    streams: list[StreamStatus] = field(default_factory=list)
    reports: dict[str, dict[str, float | str]] = field(default_factory=dict)
    """Figures that modules reported: module name → key → value."""
    sentences: list[str] = field(default_factory=list)
    """The modules' sentences about the run (`ModuleType.sentence`), each as "module: what"."""
    hints: list[str] = field(default_factory=list)
    """What may be wrong in a run that succeeded, each as "module: what"."""
    error_messages: list[str] = field(default_factory=list)
    """Failures without which the run went on (`stop_on_failure = false`), as "module: what"."""
    recording_dir: Path | None = None
    unrecorded: list[str] = field(default_factory=list)
    """Streams that sent items to no recorder, each as "module.port"; empty without a recording."""
    start_to_first_item_s: float | None = None
    """Time from the start of the engine to the first item received; None without an item."""
    time: str = "real"
    """Kind of time: in "virtual" time, latencies are those of the simulation, not measured."""


class RunObserver(Protocol):
    """Contract of an observer; its methods run in the engine's thread and must return quickly."""

    def on_status(self, status: RunStatus) -> None:
        """Receive a snapshot, about four times a second and at each change of phase."""

    def on_log(self, module: str, level: int, message: str) -> None:
        """Receive a line of a module's log (`logging` levels); module "" is the engine."""

    def on_output(self, module: str, text: str) -> None:
        """Receive a line that a script printed."""
