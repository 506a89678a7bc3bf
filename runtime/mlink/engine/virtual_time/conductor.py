"""Decides which module runs next in virtual time, and at which master time.

One module runs at a time. Modules with new items come first, in the order of the streams, at the
current time. When no module has new items, time advances to the earliest time that a module waits
for. The order of a run therefore follows from what the modules do, never from how fast they do it.
Items on feedback edges arrive FEEDBACK_USEC later, so that time advances in every cycle.

Replays and simulated benches use it: it knows neither recordings nor devices.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlink.control import NO_TIME, Waits
from mlink.engine.plan import Edge
from mlink.worker_spec import Cost

_LATE_USEC = 1_000
"""Delay in real time from which a turn counts as late, at a chosen speed."""
FREE_USEC = 1_000_000
"""Longest time that a module runs on without the conductor, and without seeing a stop."""
QUIET_USEC = 50_000
"""Longest delay allowed for a source that wakes no module."""
LOT = 64
"""Items that a patient recorder waits for before its turn; it gets the rest at the end."""
NEVER_USEC = 1 << 60
"""End of a run without a length."""
FEEDBACK_USEC = 100
"""Delay of a feedback edge; without it modules that feed each other would stop time."""


@dataclass(frozen=True, slots=True)
class VirtualTime:
    """Parameters of a run in virtual time.

    Times are µs of master time.
    """

    end_usec: int
    """Master time at which the run ends."""
    speed: float | None = None
    """Speed relative to real time; None is as fast as the modules run."""
    replayed: frozenset[str] = frozenset()
    """Modules whose streams come from a recording."""
    on_tape: frozenset[tuple[str, str]] = frozenset()
    """Inputs (module, port) whose items come from a tape: items sent to them wake no module."""
    patient: frozenset[str] = frozenset()
    """Recorders that receive items in lots: no other module depends on when they run."""
    tapes: Mapping[str, str] = field(default_factory=dict)
    """Module → path of its journal, whose events it receives again at the same times."""
    simulated: bool = False
    """Whether simulated devices run beside the modules."""
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    """Module → input → time that the module takes for an item."""
    seed: int = 0
    """Seed of what the run draws."""
    order_seed: int | None = None
    """Draws the order of modules that have new items at one time; None is that of the streams."""
    time_created: str = ""
    """Creation time that files are given (ISO 8601); "" is now."""

    def wakes(self, module: str, port: str) -> bool:
        """Return whether an item on this input gives the module a turn.

        It does not where the item is discarded: in a module that replaces a source, and on an
        input whose items come from a tape.
        """
        return module not in self.replayed and (module, port) not in self.on_tape


class Conductor:
    """Knows what each module waits for; times are µs of virtual master time.

    Args:
        virtual: Parameters of the run.
        order: Names of the modules, sources first.
        edges: All subscriptions.
    """

    def __init__(self, virtual: VirtualTime, order: Sequence[str], edges: Sequence[Edge]) -> None:
        self.now_usec = 0
        self.zero_usec = 0
        """Virtual time at which the run has started."""
        self._begun = not virtual.simulated
        self._stopping = False
        self.simulated_usec = 0
        """Time up to which the simulated devices have run."""
        self.late_turns = 0
        """Turns that were given more than 1 ms late, at a chosen speed."""
        self.latest_usec = 0
        """Longest delay of a turn, in µs of real time."""
        self.turns = 0
        self.held: set[str] = set()
        """Modules that get no turn."""
        self.holder: str | None = None
        """Name of the module that has the turn; None between two turns."""
        self._virtual = virtual
        self._order = list(order)
        seed = virtual.order_seed
        self._draw = None if seed is None else random.Random(seed)  # noqa: S311 - no secret
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
        """Replayed sources that wake no module: they may be late, and send many items at once."""
        self._sent: dict[tuple[str, str], int] = {}
        self._addressed: set[str] = set()
        self._waiting: dict[str, int] = {}
        """Patient recorder → items that have arrived since its last turn."""
        self._due: dict[str, int] = {}
        """Module → when items of its feedback inputs arrive."""
        self._waits: dict[str, int] = {}
        self._t0_ns = 0

    def begin_run(self) -> None:
        """Let master time begin now."""
        self.zero_usec, self._begun = self.now_usec, True

    def pace_from_now(self) -> None:
        """At a chosen speed, make up nothing of what the modules' start took."""
        if (speed := self._virtual.speed) is not None:
            self._t0_ns = time.monotonic_ns() - round(self.now_usec * 1000 / speed)

    def begin_stop(self) -> None:
        """Let all modules finish: one has a turn only if it waits for something at that."""
        self._stopping, self.holder = True, None
        for waits in (self._waits, self._addressed, self._due, self.held):
            waits.clear()

    def waits(self, name: str) -> bool:
        """Return whether a module waits for its next turn."""
        return name in self._waits

    def begin(self, name: str) -> None:
        """Give the turn to a module that prepares or starts."""
        if not self._t0_ns:
            self._t0_ns = time.monotonic_ns()
        self._waits.pop(name, None)
        self.holder = name

    def note(self, name: str, message: Waits) -> None:
        """Take the turn back from a module.

        Args:
            name: The module.
            message: Until when it waits, and how many items it has sent so far.
        """
        for port, sent in message.sent.items():
            if new := sent - self._sent.get((name, port), 0):
                self._sent[name, port] = sent
                for target in self._targets.get((name, port), ()):
                    if self._is_wanted(target, new):
                        self._addressed.add(target)
                for target in self._fed_back.get((name, port), ()):
                    self._due.setdefault(target, self.now_usec + FEEDBACK_USEC)
        if message.stopping is self._stopping:  # else it has crossed the stop
            self._waits[name] = message.until_usec
        if self.holder == name:
            self.holder = None

    def rest(self, name: str) -> None:
        """Take the turn back from a module that has prepared.

        Until it starts, it has turns for delayed calls and those of its driver, as in real time;
        the first one shows when it wants the next. Without simulated devices it has none.
        """
        self._waits.pop(name, None)
        if self._virtual.simulated:
            self._waits[name] = self.now_usec
        self._addressed.discard(name)
        if self.holder == name:
            self.holder = None

    def simulated(self, time_usec: int, woken: Iterable[str]) -> None:
        """Note how far the devices have run, and which modules get a turn for that."""
        self.simulated_usec = time_usec
        self.advance(time_usec)
        self._addressed.update(woken)

    def _is_wanted(self, target: str, new: int) -> bool:
        """Return whether a module needs a turn for `new` more items."""
        if target not in self._virtual.patient:
            return True
        waiting = self._waiting.get(target, 0) + new
        self._waiting[target] = waiting if waiting < LOT else 0
        return waiting >= LOT

    def next(self) -> tuple[str, int] | None:
        """Return the module that is next and its time in µs; None when the run is over.

        Modules with new items come before modules that wait for a time; ties follow the order of
        the streams.
        """
        for name in self._order:
            if name in self._addressed and name in self._waits and name not in self.held:
                return name, self.now_usec
        timed = list(self._timed())
        if not timed:
            return None
        rank = {name: number for number, name in enumerate(self._order)}
        until, name = min(timed, key=lambda wait: (wait[0], rank[wait[1]]))
        if until > self.end_usec:
            return None
        return name, max(until, self.now_usec)

    def _timed(self, without: str = "") -> Iterator[tuple[int, str]]:
        """Yield (time, module) of all waits and feedback items, except waits of one module."""
        end_usec = self.end_usec
        for name, until in self._waits.items():
            if until == NO_TIME or name == without or name in self.held:
                continue
            if name in self._quiet and until <= end_usec:
                yield min(until + QUIET_USEC, end_usec), name
            else:
                yield until, name
        for name, due in self._due.items():
            if name in self._waits and name not in self.held:
                yield due, name

    @property
    def end_usec(self) -> int:
        """Virtual time at which the run ends; without a limit before its start and at its stop."""
        limited = self._begun and not self._stopping
        return self._virtual.end_usec + self.zero_usec if limited else NEVER_USEC

    @property
    def free_until_usec(self) -> int:
        """Time before which no other module has a turn, unless the holder sends an item.

        Until then the holder advances its time by itself, which saves messages. 0 at a chosen
        speed, and while another module has new items.
        """
        all_wait = len(self._waits) == len(self._order)
        is_alone = self._virtual.speed is None and not self._virtual.simulated
        if not is_alone or self._addressed or not all_wait:
            return 0
        latest = min(self.end_usec + 1, self.now_usec + FREE_USEC)
        return min([latest, *(time_usec for time_usec, _ in self._timed(self.holder or ""))])

    def left_s(self, time_usec: int) -> float:
        """Return the seconds of real time until `time_usec` may begin; 0 or less if it may now."""
        speed = self._virtual.speed
        if speed is None or time_usec <= self.now_usec:
            return 0.0
        return (self._t0_ns + time_usec * 1000 / speed - time.monotonic_ns()) / 1e9

    def stood(self, real_ns: int) -> None:
        """Note that the run stood still; at a chosen speed it makes nothing of that up."""
        self._t0_ns += real_ns

    def give(self, name: str, time_usec: int) -> None:
        """Give the turn to a module, and set the time to `time_usec`.

        Args:
            name: The module.
            time_usec: Its time, as `next` has returned it.
        """
        if self._virtual.speed is not None and time_usec > self.now_usec:
            late_usec = round(-1e6 * self.left_s(time_usec))
            self.latest_usec = max(self.latest_usec, late_usec)
            self.late_turns += late_usec > _LATE_USEC
        self.now_usec = time_usec
        self.holder = name
        self.turns += 1
        if self._stopping:
            del self._waits[name]  # it may finish without waiting again
        if self._draw is not None:
            self._draw.shuffle(self._order)
        self._addressed.discard(name)
        if self._due.get(name, time_usec + 1) <= time_usec:
            del self._due[name]

    @property
    def run_usec(self) -> int:
        """Time since the start of the run: master time."""
        return self.now_usec - self.zero_usec

    def advance(self, time_usec: int) -> None:
        """Advance the time; no module has a turn before it."""
        self.now_usec = max(self.now_usec, time_usec)

    def finish(self) -> None:
        """Advance the time to the run's end, if it has one: else all modules wait for nothing."""
        if self._virtual.end_usec < NEVER_USEC:
            self.advance(self.end_usec)

    def figures(self) -> Mapping[str, float | str]:
        """Return figures for the result: how late turns were, at a chosen speed."""
        if self._virtual.speed is None:
            return {}
        return {"late_turns": self.late_turns, "latest_ms": self.latest_usec / 1000}
