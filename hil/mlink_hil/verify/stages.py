"""Where the time of a closed loop goes: from a line's edge through the host to another line's edge.

Workers note when items pass them (`mlink.worker.stages`), a simulated board when bytes pass its
line. From the answer's command each trip is followed back to the reading that caused it.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from mlink.bench import Bench
from mlink.engine.options import RunOptions
from mlink.transport.codec import small_decoder
from mlink.types import DataType
from mlink.worker.stages import DONE, SENT, TAKEN, WOKEN, Moment, Moments, read_stages
from mlink_hil.control.messages import LEFT, READ, WRITTEN
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.verify.timing import ANSWER_SEC, Progress, Samples

WHOLE: Final = "whole loop"
NOT_FOLLOWED: Final = "whole loop, where a stage was not found"
HOST: Final = "host: all but chip and line"
_PAUSE_SEC: Final = (0.010, 0.025)
"""Shortest and longest time between an answer and the next press: at random, so that no period of
the board or of the host is met."""
_OUTSIDE: Final = ("chip", "line", "tty, line")
"""How the names of stages begin that are not the host's."""
_WARM_UP: Final = 10
"""Trips at first that do not count."""
_MOST_MODULES: Final = 16

LineEvent = tuple[int, int, int]


class Trip(NamedTuple):
    """One loop: both edges in ns of CLOCK_MONOTONIC, and what was on the line meanwhile."""

    pressed_ns: int
    answered_ns: int
    line: list[LineEvent]


def measure_stages(
    bench: Bench,
    seconds: float,
    progress: Progress,
    *,
    press: int,
    answer: int,
    board: str | None = None,
) -> list[Samples]:
    """Run a bench, press a line of a board again and again, and measure each stage.

    With simulated boards alone the run has no tap, so that modules have no work for the measurement
    but their notes. Of a real board, whose lines a tester drives, chip, line and tty are one stage.

    Args:
        bench: The bench; it is not recorded.
        seconds: Length of the run.
        progress: Called about ten times a second.
        press: Line to press and release.
        answer: Line that answers.
        board: Board of both lines, by its name or its module's; None for the only one.

    Returns:
        The stages in the order of the loop, `HOST`, `WHOLE` and, if there are such trips,
        `NOT_FOLLOWED`.

    Raises:
        MlinkError: The run failed.
    """
    with tempfile.TemporaryDirectory(prefix="mlink-stages-") as folder:
        options = RunOptions(record=False, stages_dir=Path(folder))
        simulated = all(spec.startswith("virtual:") for spec in bench.used_devices().values())
        run = BenchRun(bench, options, tapped=not simulated)
        run.start()
        try:
            device = run.names.board(board)
            trips = _press(run, device, seconds, progress, press, answer)
        finally:
            run.stop()
        run.check()
        module = next(
            each.name for each in bench.modules.values() if device in (each.device, each.name)
        )
        return follow(bench, module, read_stages(Path(folder)), trips[_WARM_UP:], answer)


def _press(
    run: BenchRun, device: str, seconds: float, progress: Progress, press: int, answer: int
) -> list[Trip]:
    """Press and release a line, and return the trips that were answered."""
    board, channel = run.boards.get(device), run.names.line_channel(answer, device)
    chance, trips, level = random.Random(1), list[Trip](), False  # noqa: S311
    end = time.monotonic() + seconds
    with contextlib.suppress(KeyboardInterrupt):  # the results so far count
        while (left := end - time.monotonic()) > 0 and run.alive:
            progress("running", 1 - left / seconds)
            run.history.wait(lambda: not run.alive, chance.uniform(*_PAUSE_SEC))
            if board is not None:
                board.line_events()
            pressed = run.stimulus.drive(device, press, level)
            level = not level

            def answered(since: int = pressed.time_usec) -> bool:
                return any(not each.caused for each in run.history.of(channel, since))

            if run.history.wait(answered, ANSWER_SEC):
                found = next(e for e in run.history.of(channel, pressed.time_usec) if not e.caused)
                line = board.line_events().events if board is not None else []
                t0_ns = run.tap.t0_ns
                pressed_ns, answered_ns = (t0_ns + 1000 * e.time_usec for e in (pressed, found))
                trips.append(Trip(pressed_ns, answered_ns, line))
    return trips


class _Notes:
    """What one module has noted."""

    def __init__(self, noted: Moments) -> None:
        self.taken = [each for each in noted.moments if each.kind == TAKEN]
        self.woken_ns = [each.time_ns for each in noted.moments if each.kind == WOKEN]
        self._by_item = {
            (each.kind, each.port, each.number): each
            for each in noted.moments
            if each.kind in (SENT, TAKEN, DONE)
        }
        self._taken_ns = [each.time_ns for each in self.taken]

    def of(self, kind: int, port: str, number: int) -> Moment | None:
        return self._by_item.get((kind, port, number))

    def taken_from(self, time_ns: int) -> Iterable[Moment]:
        return self.taken[bisect_left(self._taken_ns, time_ns) :]

    def last_taken(self, before_ns: int) -> Moment | None:
        at = bisect_right(self._taken_ns, before_ns)
        return self.taken[at - 1] if at else None

    def last_woken_ns(self, before_ns: int) -> int | None:
        at = bisect_right(self.woken_ns, before_ns)
        return self.woken_ns[at - 1] if at else None


def follow(
    bench: Bench, board: str, noted: dict[str, Moments], trips: Iterable[Trip], answer: int
) -> list[Samples]:
    """Divide each trip into its stages.

    Args:
        bench: The bench.
        board: The board's module.
        noted: What each module has noted.
        trips: Edges and what was on the line; times in ns of CLOCK_MONOTONIC.
        answer: The line that answers.
    """
    notes = {name: _Notes(each) for name, each in noted.items()}
    found: dict[str, Samples] = {}
    rest = Samples(NOT_FOLLOWED)
    for trip in trips:
        stages = _stages(bench, board, notes, trip, answer)
        whole = (trip.answered_ns - trip.pressed_ns) / 1000
        if stages is None:
            rest.add(whole, 0)
            continue
        outside = sum(usec for name, usec in stages if name.startswith(_OUTSIDE))
        for name, usec in (*stages, (HOST, whole - outside), (WHOLE, whole)):
            found.setdefault(name, Samples(name)).add(usec, 0)
    return [*found.values(), *([rest] if rest.values else [])]


def _stages(
    bench: Bench, board: str, notes: dict[str, _Notes], trip: Trip, answer: int
) -> list[tuple[str, float]] | None:
    """Return (stage, µs) of one trip; None where some part is missing."""
    inside = _inside(bench, board, notes, trip, answer)
    if inside is None:
        return None
    (_, woken_ns), *host, (_, taken_ns), (write, done_ns) = inside
    if not trip.line:  # of a real board
        ends = [("chip, line and tty, to the reader", woken_ns), *host]
        ends += [(f"pipe, to {board}", taken_ns), (write, done_ns)]
        return _lengths(
            trip.pressed_ns, [*ends, ("tty, line and chip, to the edge", trip.answered_ns)]
        )
    frame_ns = _frame_ns(trip.line)
    left = [ns for kind, ns, _ in trip.line if kind == LEFT and ns - frame_ns >= trip.pressed_ns]
    there = [ns for kind, ns, _ in trip.line if kind == WRITTEN and left and ns >= left[0]]
    # The reader may wake before the simulator notes that it has written.
    there = [ns for ns in there if ns <= woken_ns] or ([woken_ns] if there else [])
    read = [ns for kind, ns, _ in trip.line if kind == READ and ns >= taken_ns]
    if not (there and read):
        return None
    ends = [
        ("chip, edge to message", left[0] - frame_ns),
        ("line, to the host", max((ns for ns in left if ns <= there[-1]), default=left[0])),
        ("simulator, to the tty", there[-1]),
        ("tty, to the reader", woken_ns),
        *host,
        (f"pipe, to {board}", taken_ns),
        (write, min(done_ns, read[0])),  # the board may have read before the write returned
        ("tty, to the simulator", read[0]),
        ("line and chip, to the edge", trip.answered_ns),
    ]
    return _lengths(trip.pressed_ns, ends)


def _lengths(begin_ns: int, ends: list[tuple[str, int]]) -> list[tuple[str, float]]:
    """Return (stage, µs) of stages that follow each other, by the end of each."""
    starts = [begin_ns, *(end_ns for _, end_ns in ends)]
    return [(name, (end - start) / 1000) for (name, end), start in zip(ends, starts, strict=False)]


def _frame_ns(line: list[LineEvent]) -> int:
    """Return the duration of a byte on the line, as the simulated chip sends it.

    0 for a chip with USB of its own, whose bytes leave in packets.
    """
    left = [ns for kind, ns, _ in line if kind == LEFT]
    return min((b - a for a, b in pairwise(left)), default=0)


def _inside(
    bench: Bench, board: str, notes: dict[str, _Notes], trip: Trip, answer: int
) -> list[tuple[str, int]] | None:
    """Return the stages in the host and when each ended, from the reader's wake-up on."""
    decode = small_decoder(DataType.LineCommand)
    commands = {port.id for port in bench.modules[board].inputs}
    taken = next(
        (
            each
            for each in notes[board].taken_from(trip.pressed_ns)
            if each.port in commands and decode(each.payload).line_id == answer
        ),
        None,
    )
    done = taken and notes[board].of(DONE, taken.port, taken.number)
    if taken is None or done is None or taken.time_ns > trip.answered_ns:
        return None
    stages, module = [("write", done.time_ns)], board
    for _ in range(_MOST_MODULES):
        source = next(each for each in bench.modules[module].connections if each.port == taken.port)
        sent = notes[source.source_module].of(SENT, source.source_port, taken.number)
        if sent is None:
            return None
        stages.append((f"pipe, to {module}", taken.time_ns))
        module = source.source_module
        if module == board:
            woken_ns = notes[board].last_woken_ns(sent.time_ns)
            if woken_ns is None or woken_ns < trip.pressed_ns:
                return None
            stages += [("reader", sent.time_ns), ("", woken_ns)]
            return stages[::-1]
        before = notes[module].last_taken(sent.time_ns)
        if before is None:
            return None
        taken = before
        stages.append((f"script {module}", sent.time_ns))
    return None
