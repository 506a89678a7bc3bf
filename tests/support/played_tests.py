"""A pytest plugin that plays each test again, on what its session has recorded, without waiting.

Load it with `-p tests.support.played_tests`. Each test runs once on a real run; what its tap sent,
what pins did and what the test did is kept with the times. When the session is over, each test
function is called again and again, with the same fixtures on a run that is played (played_run.py)
and whose tap is disturbed (disturbed_tap.py). The code that judges is the same.

The results are in the file of --play-results: test → what came of it, and how often.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest

from mlink.tap import messages
from mlink.tap.link import TapLink
from mlink_hil.testing import expectations, stimulus
from mlink_hil.testing.bench import TestBench
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.observed import sight, tap_events
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.verdicts import Inconclusive
from tests.support.disturbed_tap import KINDS, kinds_of
from tests.support.played_run import (
    Clock,
    PlayedBench,
    PlayedLink,
    PlayedRun,
    RecordedRun,
    RecordedTest,
    Unplayable,
    disturbed,
)

_TIMED = (expectations, stimulus, sight, tap_events)
"""Modules that read the clock or sleep while a test is judged."""


class Recorder:
    """Keeps what the runs of this session send, and what its tests do."""

    def __init__(self) -> None:
        self.runs: dict[int, RecordedRun] = {}
        """By the identity of the link."""
        self.boards: dict[int, set[str]] = {}
        """Virtual boards of a run, by its identity."""
        self.tests: list[RecordedTest] = []
        self.done: list[Event] = []

    def install(self) -> None:
        """Record from now on."""
        handle, send, now = TapLink._handle, TapLink._send, TestBench.now
        events = TestBench.events
        drive = stimulus.Stimulus.drive

        def handle_and_note(link: TapLink, message: messages.FromTap) -> None:
            if not isinstance(link, PlayedLink):
                run = self.runs.setdefault(id(link), RecordedRun())
                run.messages.append((time.monotonic_ns(), message))
            handle(link, message)

        def send_and_note(link: TapLink, message: messages.ToTap) -> None:
            if isinstance(message, messages.AddRegion):
                area = (message.x, message.y, message.width, message.height)
                run = self.runs.setdefault(id(link), RecordedRun())
                run.areas[message.region] = message.stream, area
            send(link, message)

        def events_and_note(bench: TestBench, *args: Any, **named: Any) -> list[Event]:
            if not isinstance(bench, PlayedBench):
                now_ns = time.monotonic_ns()
                self.done.append(Event("events", bench.run.to_usec(now_ns), noted_ns=now_ns))
            return events(bench, *args, **named)

        def noted(call: Callable[..., Event]) -> Callable[..., Event]:
            def make(*args: Any) -> Event:
                event = call(*args)
                self.done.append(event)
                return event

            return make

        cast("Any", TapLink)._handle, cast("Any", TapLink)._send = handle_and_note, send_and_note
        cast("Any", TestBench).now = noted(now)
        cast("Any", TestBench).events = events_and_note
        cast("Any", stimulus.Stimulus).drive = noted(drive)

    def play(self, test: RecordedTest, kinds: Sequence[str], generator: random.Random) -> str:
        """Call a test's function on its recorded run, disturbed; return what comes of it."""
        recorded = self.runs[id(test.run.tap)]
        clock = Clock()
        with ExitStack() as stack:
            for module in _TIMED:
                stack.enter_context(mock.patch.object(module, "time", clock))
            run = PlayedRun(test, recorded, self.boards[id(test.run)], clock)
            found = disturbed(recorded.messages, kinds, generator)
            due = [(time_ns, partial(run.link.handle, message)) for time_ns, message in found]
            t0_ns = test.run.tap.t0_ns
            for pin in self.pins(test.run):
                due.append((t0_ns + pin.time_usec * 1000, partial(run.history.add, [pin])))
            clock.due.extend(sorted(due, key=lambda each: each[0]))
            clock.advance(t0_ns + test.began_usec * 1000)
            bench = PlayedBench(run)
            fixtures = {"bench": lambda: bench, "board": bench.board, "camera": bench.camera}
            try:
                test.function(
                    **{name: fixtures[name]() for name in signature(test.function).parameters}
                )
            except Inconclusive:
                return "inconclusive"
            except Exception as error:
                return f"failed: {error}".partition("\n")[0]
        return "passed"

    def pins(self, run: BenchRun) -> Iterator[Event]:
        """Yield the edges of a run's virtual boards, which do not pass the tap."""
        for channel in run.history.channels():
            if channel.rpartition(".")[0] in self.boards[id(run)]:
                yield from run.history.of(channel)

    def play_all(self, kinds: Sequence[str], seed: str, count: int) -> dict[str, Any]:
        """Play each test so often; return its results by its name, as plain values."""
        found = {}
        for test in self.tests:
            counts, false = Counter[str](), []
            began_s = time.monotonic()
            try:
                control = self.play(test, (), random.Random())
                for number in range(count):
                    generator = random.Random(f"{seed} {test.name} {number}")
                    outcome = self.play(test, kinds, generator)
                    counts[outcome.partition(":")[0]] += 1
                    if outcome.partition(":")[0] not in (test.outcome, "inconclusive"):
                        false.append(f"number {number} {outcome}")
            except Unplayable as error:
                control = f"not recorded: {error}"
            found[test.name] = {
                "recorded": test.outcome,
                "undisturbed": control,
                "false": false,
                "seconds": time.monotonic() - began_s,
                **counts,
            }
        return found


_RECORDER = Recorder()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--play-count", type=int, default=100, help="how often each test is played")
    parser.addoption("--play-kinds", default=",".join(KINDS), help="kinds, separated by commas")
    parser.addoption("--play-seed", default="0", help="any text")
    parser.addoption("--play-results", type=Path, help="file for the results (JSON)")


def pytest_configure() -> None:
    """Record from now on."""
    _RECORDER.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, object, object]:
    """Keep what a test of a bench does."""
    bench = item.funcargs.get("bench")
    if not isinstance(bench, TestBench):
        return (yield)
    _RECORDER.boards[id(bench.run)] = set(bench.run.boards)
    _RECORDER.done = done = []
    test = RecordedTest(item.name, item.obj, bench.run, bench.began_usec, done)
    try:
        result = yield
        test.outcome = "passed"
    except Inconclusive:
        test.outcome = "inconclusive"
        raise
    except Exception:
        test.outcome = "failed"
        raise
    finally:
        _RECORDER.done = []
        if test.outcome:
            _RECORDER.tests.append(test)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Play what was recorded; all runs have ended."""
    option = session.config.getoption
    kinds = kinds_of(option("--play-kinds"))
    found = _RECORDER.play_all(kinds, option("--play-seed"), option("--play-count"))
    option("--play-results").write_text(json.dumps(found, indent=1))
