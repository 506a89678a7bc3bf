"""Gives the modules of a replay their turns, in virtual time.

One module runs at a time. Whoever was sent something comes first, in the order of the streams, at
the time that it is; when nobody was, time goes on to the next time that a module waits for. Thus
the order of everything follows from what the modules do, never from how fast they do it. What goes
back, against the order of the streams, arrives a little later, so that time moves in every circle.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlink.control import NO_TIME, Waits
from mlink.engine.plan import Edge

_LATE_USEC = 1_000
FREE_USEC = 1_000_000
"""How far a module goes on without asking; so often it hears of a stop."""
QUIET_USEC = 50_000
"""What a source whose items give nobody a turn may be late."""
LOT = 64
"""Items that a patient recorder takes at once; the rest when the run ends."""
FEEDBACK_USEC = 100
"""What a stream against the order takes: modules that feed each other would stop time else."""


@dataclass(frozen=True, slots=True)
class VirtualTime:
    """How time passes in a replay."""

    end_usec: int
    """Master time at which the run ends."""
    speed: float | None = None
    """Times as fast as real time; None is as fast as the modules go."""
    replayed: frozenset[str] = frozenset()
    """Modules whose streams come from the recording."""
    on_tape: frozenset[tuple[str, str]] = frozenset()
    """Inputs (module, port) whose items come from a tape: what is sent to them wakes nobody."""
    patient: frozenset[str] = frozenset()
    """Recorders that take their items in lots, for nothing depends on when they do."""
    tapes: Mapping[str, str] = field(default_factory=dict)
    """Journals of the recorded run, by the module that is to meet the same again."""
    time_created: str = ""
    """What files give as the time of their making (ISO 8601)."""

    def wakes(self, module: str, port: str) -> bool:
        """Whether a module is to have a turn when something is sent to this input of it.

        What takes a source's place only swallows what is sent to it.
        """
        return module not in self.replayed and (module, port) not in self.on_tape


class Conductor:
    """Knows what each module waits for; times are µs of the virtual master timer."""

    def __init__(self, virtual: VirtualTime, order: Sequence[str], edges: Sequence[Edge]) -> None:
        self.now_usec = 0
        self.late_turns = 0
        """Turns that came more than 1 ms late, at a chosen speed."""
        self.latest_usec = 0
        """The most that a turn was late, in µs of real time."""
        self.turns = 0
        self.holder: str | None = None
        """Whose turn it is; None between two turns."""
        self._virtual = virtual
        self._order = list(order)
        self._targets: dict[tuple[str, str], list[str]] = {}
        self._fed_back: dict[tuple[str, str], list[str]] = {}
        loud: set[str] = set()
        for edge in edges:
            if not virtual.wakes(edge.target, edge.target_port):
                continue
            if edge.target not in virtual.patient:
                loud.add(edge.source)
            targets = self._fed_back if edge.feedback else self._targets
            targets.setdefault(edge.stream, []).append(edge.target)
        self._quiet = virtual.replayed - loud
        """Sources whose items give nobody a turn: they may come late, and many at once."""
        self._sent: dict[tuple[str, str], int] = {}
        self._addressed: set[str] = set()
        self._waiting: dict[str, int] = {}
        """Items that patient ones have not taken yet."""
        self._due: dict[str, int] = {}
        """When what was fed back arrives, by the module that it is for."""
        self._waits: dict[str, int] = {}
        self._t0_ns = 0

    def begin(self, name: str) -> None:
        """A module starts: the turn is its own."""
        if not self._t0_ns:
            self._t0_ns = time.monotonic_ns()
        self.holder = name

    def note(self, name: str, message: Waits) -> None:
        """A module gives its turn back."""
        for port, sent in message.sent.items():
            if new := sent - self._sent.get((name, port), 0):
                self._sent[name, port] = sent
                for target in self._targets.get((name, port), ()):
                    if self._is_wanted(target, new):
                        self._addressed.add(target)
                for target in self._fed_back.get((name, port), ()):
                    self._due.setdefault(target, self.now_usec + FEEDBACK_USEC)
        self._waits[name] = message.until_usec
        if self.holder == name:
            self.holder = None

    def _is_wanted(self, target: str, new: int) -> bool:
        """Whether a module is to have a turn now that so many items more are there for it."""
        if target not in self._virtual.patient:
            return True
        waiting = self._waiting.get(target, 0) + new
        self._waiting[target] = waiting if waiting < LOT else 0
        return waiting >= LOT

    def next(self) -> tuple[str, int] | None:
        """Return whose turn is next, and at what time; None when the run is over."""
        for name in self._order:
            if name in self._addressed and name in self._waits:
                return name, self.now_usec
        timed = list(self._timed())
        if not timed:
            return None
        rank = {name: number for number, name in enumerate(self._order)}
        until, name = min(timed, key=lambda wait: (wait[0], rank[wait[1]]))
        if until > self._virtual.end_usec:
            return None
        return name, max(until, self.now_usec)

    def _timed(self, without: str = "") -> Iterator[tuple[int, str]]:
        """Yield (time, module) of what is waited for, but by one module."""
        end_usec = self._virtual.end_usec
        for name, until in self._waits.items():
            if until == NO_TIME or name == without:
                continue
            if name in self._quiet and until <= end_usec:
                yield min(until + QUIET_USEC, end_usec), name
            else:
                yield until, name
        yield from ((due, name) for name, due in self._due.items() if name in self._waits)

    @property
    def free_until_usec(self) -> int:
        """Before when nobody but the holder has a turn, unless the holder sends something."""
        everybody_waits = len(self._waits) == len(self._order)
        if self._virtual.speed is not None or self._addressed or not everybody_waits:
            return 0
        latest = min(self._virtual.end_usec + 1, self.now_usec + FREE_USEC)
        return min([latest, *(time_usec for time_usec, _ in self._timed(self.holder or ""))])

    def left_s(self, time_usec: int) -> float:
        """Return the s of real time until it may be `time_usec`; 0 or less when it may be now."""
        speed = self._virtual.speed
        if speed is None or time_usec <= self.now_usec:
            return 0.0
        return (self._t0_ns + time_usec * 1000 / speed - time.monotonic_ns()) / 1e9

    def give(self, name: str, time_usec: int) -> None:
        """It is this module's turn now, and that time."""
        if self._virtual.speed is not None and time_usec > self.now_usec:
            late_usec = round(-1e6 * self.left_s(time_usec))
            self.latest_usec = max(self.latest_usec, late_usec)
            self.late_turns += late_usec > _LATE_USEC
        self.now_usec = time_usec
        self.holder = name
        self.turns += 1
        self._addressed.discard(name)
        if self._due.get(name, time_usec + 1) <= time_usec:
            del self._due[name]

    def finish(self) -> None:
        """Time goes on to the run's end."""
        self.now_usec = max(self.now_usec, self._virtual.end_usec)

    def figures(self) -> Mapping[str, float | str]:
        """Return what is worth telling: how late turns came, at a chosen speed."""
        if self._virtual.speed is None:
            return {}
        return {"late_turns": self.late_turns, "latest_ms": self.latest_usec / 1000}
