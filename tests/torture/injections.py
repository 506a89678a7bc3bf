"""What is done to a run, when, and how the run may end then; all of it follows from a seed."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass

PHASES = {
    "import": 0.6,
    "spawn": 0.8,
    "prepare": 0.25,
    "start": 0.25,
    "run": 1.6,
    "stop": 0.3,
    "close": 0.15,
}
"""Phase of a run → how long it lasts, about, in s. `import`: before there is an engine."""
BEFORE_THE_RUN = ("import", "spawn", "prepare", "start")
BEFORE_THE_START = ("import", "spawn", "prepare")
RUN_SEC = 2.0

MODULES = ("board", "cam", "finger", "loop", "program", "flip", "latency", "window")
RECORDERS = ("video", "events", "echoes", "json", "zarr")

SIGNALS = {
    "kill": signal.SIGKILL,
    "terminate": signal.SIGTERM,
    "hang-up": signal.SIGHUP,
    "interrupt": signal.SIGINT,
}
GRACE_SEC = 5.0
"""How long a module may make no progress at the stop before it is interrupted."""
SILENCE_SEC = 1.5
"""From the first unanswered query of a board to its loss, 2 s after its last sign of life."""

_PROCESSES = ("engine", "fork server", "worker", "simulator")
PAIRS = (
    *((kind, target) for kind in (*SIGNALS, "pause") for target in _PROCESSES),
    ("interrupt-twice", "engine"),
    ("kill", "everything"),
    ("pause", "everything"),
    ("full", "disk"),
    ("slow", "disk"),
    ("full", "run folder"),
    ("hogs", "processors"),
)
"""All (kind, target) there are; a worker is one module's process, chosen at random."""


@dataclass(frozen=True, slots=True)
class Injection:
    """One disturbance of one run."""

    seed: int
    number: int
    """The number-th of this seed."""
    kind: str
    target: str
    module: str
    """The module whose worker is meant; "" for other targets."""
    phase: str
    delay_sec: float
    """From the beginning of the phase."""
    length_sec: float
    """Of a pause, of hogs, or between two interrupts."""
    longest_sec: float = 2.0
    """What was asked of the longest pause; the same seed gives the same injection with it."""

    def __str__(self) -> str:
        what = f"{self.target} {self.module}".strip()
        length = f" for {self.length_sec:.2f} s" if self.kind in ("pause", "hogs") else ""
        return f"{self.kind} {what}{length}, {self.delay_sec:.2f} s into {self.phase}"

    @property
    def needs_root(self) -> bool:
        """Whether it needs a disk of its own."""
        return self.kind == "full"

    @property
    def repeat(self) -> str:
        """The command that does it again."""
        return (
            f"python -m tests.torture --seed {self.seed} --only {self.number} "
            f"--longest-pause {self.longest_sec:g}"
        )


def draw(seed: int, *, longest_pause_sec: float) -> Iterator[Injection]:
    """Return injections without end; each (kind, target) once before any comes again.

    Args:
        seed: The same seed gives the same injections.
        longest_pause_sec: Of the pauses, which last 0.1 s at least.
    """
    number = 0
    while True:
        order = list(PAIRS)
        random.Random(f"{seed}/order/{number}").shuffle(order)
        for kind, target in order:
            yield _drawn(seed, number, kind, target, longest_pause_sec)
            number += 1


def _drawn(seed: int, number: int, kind: str, target: str, longest_sec: float) -> Injection:
    rng = random.Random(f"{seed}/{number}")
    module = rng.choice(MODULES + RECORDERS) if target == "worker" else ""
    if (kind, target) == ("slow", "disk"):
        module = rng.choice(RECORDERS)
    # Other processes do not exist before the engine does; the disk and the processors do.
    early = target in ("engine", "everything", "disk", "run folder", "processors") and not module
    phase = rng.choice(list(PHASES)[0 if early else 1 :])
    delay = rng.uniform(0, PHASES[phase])
    length = 0.1 * (longest_sec / 0.1) ** rng.random()
    if kind == "interrupt-twice":
        length = rng.uniform(0.01, 0.5)
    return Injection(seed, number, kind, target, module, phase, delay, length, longest_sec)


@dataclass(frozen=True, slots=True)
class Allowed:
    """How a run may end: by which exit codes, and what a failure has to name."""

    codes: frozenset[int]
    names: tuple[str, ...] = ()
    """A failed run has a failure whose module or message has one of these words."""


def allowed(injection: Injection, phase: str) -> Allowed:
    """Return how a run may end that was disturbed in `phase`, which may differ from the wanted."""
    kind, target = injection.kind, injection.target
    early, late = phase in BEFORE_THE_RUN, phase in ("stop", "close", "ended")
    if phase == "ended":  # it came too late
        return Allowed(frozenset({0}))
    if kind == "kill" and target in ("engine", "everything"):
        return Allowed(frozenset({-signal.SIGKILL}))
    if target == "engine" and kind != "pause":
        return _engine_was_asked_to_end(kind, phase)
    if kind in ("pause", "hogs", "slow"):
        return _was_slow(injection)
    if target == "disk":
        return Allowed(frozenset({0, 1} if late else {1}), ("full", "No space left"))
    if target == "run folder":
        return Allowed(frozenset({0, 1} if early else {0}), ("folder", "space"))
    if target == "fork server":
        ignored = kind == "interrupt"
        codes = {0} if ignored else {0, 1} if late else {1}
        return Allowed(frozenset(codes), ("fork server", "forkserver"))
    if target == "simulator":
        names = ("board", "uno", "eye", "finger", "simulator")
        ignored = kind == "hang-up"  # it looks whether the engine is still there
        return Allowed(frozenset({0, 1} if late or ignored else {1}), names)
    # A worker may have done its part, or ignore a signal that is meant to be polite.
    spared = late or (kind == "interrupt" and not early)
    return Allowed(frozenset({0, 1} if spared else {1}), (injection.module,))


def _engine_was_asked_to_end(kind: str, phase: str) -> Allowed:
    number = SIGNALS.get(kind, signal.SIGINT)
    if kind == "interrupt-twice":
        return Allowed(frozenset({0, 1, 130}), ("interrupt",))
    if phase in BEFORE_THE_START:
        return Allowed(frozenset({1, 128 + number}), ("interrupt", "SIG", "before"))
    if phase == "start":  # modules that were not asked to start make the run a failed one
        return Allowed(frozenset({0, 1}), ("before all modules had started",))
    return Allowed(frozenset({0}))


def _was_slow(injection: Injection) -> Allowed:
    """Nothing is broken: only who stands still for longer than the grace time may be ended."""
    limit = SILENCE_SEC if injection.target == "simulator" else GRACE_SEC
    if injection.kind != "pause" or injection.length_sec < 0.8 * limit:
        return Allowed(frozenset({0}))
    names = {
        "worker": (injection.module,),
        "simulator": ("board", "finger", "uno", "simulator"),
        "fork server": ("fork server",),
    }
    return Allowed(frozenset({0, 1}), names.get(injection.target, ("",)))
