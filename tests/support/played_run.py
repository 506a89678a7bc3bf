"""A run of a bench that is played: clock, tap and boards repeat what was recorded of a real one.

The clock advances when the test waits, and then makes what is due. What the test does takes effect
at the recorded time, however late it was shown what it waited for.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from mlink.tap import messages
from mlink.tap.link import OnBrightness, TapLink
from mlink_hil.lab import wires_of
from mlink_hil.testing.bench import TestBench
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.names import Names
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.observed.sight import Sight
from mlink_hil.testing.observed.tap_events import ItemEvents
from mlink_hil.testing.patterns import Pattern
from tests.support.disturbed_tap import Disturbance

SHARES = (0.01, 0.03, 0.1, 0.3)
"""Shares of the items that are disturbed, of which each play has one."""
_ITEMS = (messages.Reading, messages.Command, messages.Row, messages.FrameSeen)


class Unplayable(BaseException):
    """The test asked for what is not recorded: pixels, faults, a step that it had not taken."""


@dataclass
class RecordedRun:
    """What the tap of a run has sent, by arrival (ns of CLOCK_MONOTONIC)."""

    messages: list[tuple[int, messages.FromTap]] = field(default_factory=list)
    areas: dict[int, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    """Number of a region → its stream and area."""

    def brightness(self) -> dict[tuple[str, tuple[int, ...]], dict[int, float]]:
        """Return region → time of a frame → mean brightness, as far as the tap has reported it."""
        found: dict[tuple[str, tuple[int, ...]], dict[int, float]] = {
            area: {} for area in self.areas.values()
        }
        for _, message in self.messages:
            if isinstance(message, messages.RegionAdded):
                region = found[self.areas[message.region]]
                region.update({time_usec: mean for _, time_usec, mean in message.samples})
            elif isinstance(message, messages.FrameSeen):
                for number, mean in message.values.items():
                    found[self.areas[number]][message.time_usec] = mean
        return found


@dataclass
class RecordedTest:
    """One test: its function, and what it did."""

    name: str
    function: Callable[..., object]
    run: BenchRun
    began_usec: int
    done: list[Event]
    """Stimuli and calls of `now`, in order."""
    outcome: str = ""


class Clock:
    """Time that advances when somebody waits, and then makes what is due (ns → call, in order)."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.due: deque[tuple[int, Callable[[], object]]] = deque()

    def advance(self, to_ns: int, until: Callable[[], bool] | None = None) -> bool:
        """Advance, at most until something makes `until` true; return whether it is."""
        while self.due and self.due[0][0] <= to_ns:
            time_ns, call = self.due.popleft()
            self.now_ns = max(self.now_ns, time_ns)
            call()
            if until is not None and until():
                return True
        self.now_ns = max(self.now_ns, to_ns)
        return until is not None and until()

    # what takes the place of the module `time`

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.advance(self.now_ns + round(seconds * 1e9))


class PlayedHistory(History):
    """A history whose waits advance the played clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, done: Callable[[], bool], timeout_sec: float) -> bool:
        until_ns = self._clock.now_ns + round(timeout_sec * 1e9)
        return done() or self._clock.advance(until_ns, done)


class PlayedLink(TapLink):
    """A link without a socket: `handle` gets what the tap has sent."""

    def __init__(self, recorded: RecordedRun, on_item: ItemEvents) -> None:
        self.hello, self.ended = threading.Event(), threading.Event()
        self.metadata, self.accounts = {}, {}
        self.complete, self.broken, self.drained_usec = False, "", 0
        self._on_item, self._uncertainty, self._regions = on_item, {}, {}
        self._brightness = recorded.brightness()
        self._watched: dict[int, tuple[str, dict[int, float]]] = {}
        self._shown: list[messages.FrameSeen] = []

    def add_region(
        self, stream: str, area: tuple[int, int, int, int], on_brightness: OnBrightness
    ) -> None:
        values = self._brightness.get((stream, area))
        if values is None:
            raise Unplayable(f"the region {area} of {stream}")
        number = len(self._watched)
        self._regions[number] = on_brightness
        self._watched[number] = stream, values
        for frame in self._shown:
            if frame.stream == stream and frame.time_usec in values:
                on_brightness(frame.time_usec, values[frame.time_usec])

    def handle(self, message: messages.FromTap) -> None:
        """Handle a message; frames get the brightness of the regions that are watched by now."""
        if isinstance(message, messages.RegionAdded | messages.Pixels):
            return
        if isinstance(message, messages.FrameSeen):
            means = {
                number: values.get(message.time_usec)
                for number, (stream, values) in self._watched.items()
                if stream == message.stream
            }
            known = {number: mean for number, mean in means.items() if mean is not None}
            message = msgspec.structs.replace(message, values=known)
            refused = self.accounts[message.stream].repeated
            self._handle(message)
            if self.accounts[message.stream].repeated == refused:
                self._shown.append(message)
            return
        self._handle(message)

    def fetch(self, stream: str, index: int) -> Any:
        raise Unplayable(f"the pixels of frame {index} of {stream}")


class PlayedRun(BenchRun):
    """A run of which everything is recorded."""

    def __init__(
        self, test: RecordedTest, recorded: RecordedRun, boards: Collection[str], clock: Clock
    ) -> None:
        real = test.run
        self.slow, self.bench, self.options = real.slow, real.bench, real.options
        self.clock = clock
        self.in_turns = False
        self.history = PlayedHistory(clock)
        self.tap = self.link = PlayedLink(recorded, ItemEvents(self.history, self._lost))
        self.ended_usec, self.injector, self.expected_failures = None, None, set()
        board = SimpleNamespace(
            barrier=clock.monotonic_ns,
            stats=lambda: SimpleNamespace(slip_usec=0),
            simulated_on=lambda: True,
        )
        self.boards = cast("Any", dict.fromkeys(boards, board))
        wires = wires_of(self.bench)
        self.names = Names(self.bench, self.boards.__contains__, self.tap.metadata, wires)
        self._regions = {}
        self._seen_from = {n: usec for n, usec in real._seen_from.items() if "[" not in n}
        self.sight = Sight(self, self._seen_from)
        self.stimulus: Any = PlayedStimulus(clock, test.done)
        self.stimulus.commanded = real.stimulus.commanded

    @property
    def alive(self) -> bool:
        return True

    def check(self) -> None:
        """Nothing fails here."""

    def now_usec(self) -> int:
        return self.tap.to_usec(self.clock.now_ns)

    def sleep(self, sec: float) -> None:
        self.clock.sleep(sec)

    def starved_usec(self, since: object = None) -> dict[str, int]:
        return {}

    def processor_times(self) -> dict[Path, int]:
        return {}

    def let_run(self) -> None:
        """Nothing runs."""


class PlayedStimulus:
    """Repeats what the test did, at the recorded times."""

    def __init__(self, clock: Clock, done: list[Event]) -> None:
        self._clock = clock
        self._left = deque(done)

    def next(self, channel: str) -> Event:
        """Return the next thing that the test did, known to it from the clock's time on."""
        if not self._left or self._left[0].channel != channel:
            raise Unplayable(f"{channel}, at another time than in the recorded test")
        event = self._left.popleft()
        noted_ns = self._clock.now_ns
        self._clock.advance(event.noted_ns)
        return replace(event, noted_ns=max(noted_ns, event.noted_ns))

    def drive(self, device: str, pin: int, level: bool | None) -> Event:
        return self.next(f"{device}.{pin}")


class PlayedBench(TestBench):
    """A test's view of a played run."""

    def now(self) -> Event:
        stimulus: Any = self.run.stimulus
        return cast("Event", stimulus.next("now"))

    def events(self, pattern: Pattern, *, after: Event | None = None) -> list[Event]:
        stimulus: Any = self.run.stimulus
        asked = stimulus.next("events")
        found = super().events(pattern, after=after)
        return [event for event in found if event.earliest_usec <= asked.time_usec]


def disturbed(
    found: Sequence[tuple[int, messages.FromTap]],
    kinds: Sequence[str],
    generator: random.Random,
) -> list[tuple[int, messages.FromTap]]:
    """Return the messages of a tap, with their times, as they come from a disturbed one."""
    passed: list[tuple[int, messages.FromTap]] = []
    now_ns = 0

    def sleep(seconds: float) -> None:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)

    def pass_on(message: messages.FromTap) -> None:
        passed.append((now_ns, message))

    disturbance = Disturbance(kinds, generator, generator.choice(SHARES), sleep)
    for time_ns, message in found:
        behind, now_ns = time_ns < now_ns, max(now_ns, time_ns)
        if isinstance(message, _ITEMS):
            disturbance.take(partial(pass_on, message))
        elif not (behind and isinstance(message, messages.Drained) and not message.last):
            pass_on(message)  # while it is behind it does not report that it has sent all
    return passed
