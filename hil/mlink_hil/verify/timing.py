"""Measures the timing of a bench: round trips, time from light to frame, starts."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mlink.bench import Bench
from mlink.engine.options import RunOptions
from mlink.errors import ModuleError
from mlink.metadata import MetaSize
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.patterns import crosses
from mlink_hil.wiring.lights import lights

FAILED_LAUNCHES = "launch to failure"
"""Name of the measurement of failed launches: their number, and the time to the failure."""

log = logging.getLogger("mlink.verify")

_LATENCY_COLUMN = "Latency [µs]"
ANSWER_SEC = 0.5
"""Longest time to an answer that counts."""
_PRESS_PERIOD_SEC = 0.1
_PRESS_SEC = 0.03
_FIRST_FRAME_SEC = 2.0
_DRIFT_SPAN_USEC = 30_000_000
"""Shortest run of which a drift is reported."""
_THRESHOLD = 100
"""Brightness between that of a dark LED and of a lit one, 0 to 255."""

Progress = Callable[[str, float], None]
"""Called with what is measured at present, and the share of it that is done (0 to 1)."""


@dataclass(slots=True)
class Samples:
    """Values of one measurement in µs, each with its master time (0 where it has none)."""

    name: str
    values: list[float] = field(default_factory=list)
    times_usec: list[int] = field(default_factory=list)

    def add(self, value: float, time_usec: int) -> None:
        """Add a value in µs."""
        self.values.append(value)
        self.times_usec.append(time_usec)

    def summary(self) -> dict[str, float]:
        """Return count, min, p50, p95, p99 and max, in µs.

        Runs of 30 s and more have "drift_per_minute", too: the slope of the values over time.
        """
        if not self.values:
            return {"count": 0}
        p50, p95, p99 = (float(p) for p in np.percentile(self.values, [50, 95, 99]))
        found = {"count": len(self.values), "min": min(self.values)}
        found |= {"p50": p50, "p95": p95, "p99": p99, "max": max(self.values)}
        if max(self.times_usec) - min(self.times_usec) >= _DRIFT_SPAN_USEC:
            slope = np.polyfit(np.array(self.times_usec) / 60e6, self.values, 1)[0]
            found["drift_per_minute"] = float(slope)
        return {key: round(value, 1) for key, value in found.items()}


def measure_run(
    bench: Bench,
    seconds: float,
    progress: Progress,
    *,
    press: int | None = None,
    answer: int | None = None,
    board: str | None = None,
    light: tuple[int, int, int, int] | None = None,
) -> list[Samples]:
    """Run a bench, and measure its round trips and, for each camera, the time from light to frame.

    Args:
        bench: The bench; it is not recorded.
        seconds: Length of the run.
        progress: Called about ten times a second.
        press: Line to press; without it the rows of the bench's own measurements
            (`virtual-button`) count.
        answer: Line that answers.
        board: Board of both lines, by its name or its module's; None for the only one.
        light: (x, y, width, height) of the LED in the pictures, in pixels; without it, its place
            in a virtual scene.

    Returns:
        The measurements that have values.

    Raises:
        MlinkError: The run failed.
    """
    run = BenchRun(bench, RunOptions(record=False))
    run.start()
    try:
        device = None if press is None else run.names.board(board)
        lights = _watch_lights(run, light, answer, device)
        trips = Samples("round trip")
        end = time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt):  # the results so far count
            while (left := end - time.monotonic()) > 0 and run.alive:
                progress("running", 1 - left / seconds)
                if device is not None and press is not None and answer is not None:
                    _press_once(run, device, press, answer, trips)
                run.history.wait(lambda: not run.alive, min(_PRESS_PERIOD_SEC, left))
        _add_rows(run, trips)
        found = [trips, *(_offsets(run, *each) for each in lights)]
    finally:
        run.stop()
    run.check()
    return [samples for samples in found if samples.values]


def measure_launches(bench: Bench, launches: int, progress: Progress) -> list[Samples]:
    """Start and stop a bench many times.

    Args:
        bench: The bench; it is not recorded.
        launches: How many times.
        progress: Called before each launch.

    Returns:
        Times from the launch until all modules run, from the run's start to each camera's first
        frame, and from the launch to a failure; only those that have values.
    """
    ready, failed = Samples("launch to ready"), Samples(FAILED_LAUNCHES)
    first: dict[str, Samples] = {}
    with contextlib.suppress(KeyboardInterrupt):  # the results so far count
        for number in range(launches):
            progress("launching", number / launches)
            began = time.monotonic_ns()
            try:
                _launch(bench, ready, first)
            except ModuleError as error:  # a launch that fails is a result, too
                log.warning("launch %d failed: %s", number + 1, error.message)
                failed.add((time.monotonic_ns() - began) / 1000, 0)
    return [samples for samples in (ready, *first.values(), failed) if samples.values]


def _launch(bench: Bench, ready: Samples, first: dict[str, Samples]) -> None:
    """Start and stop a bench, and add its times."""
    run = BenchRun(bench, RunOptions(record=False))
    began = time.monotonic_ns()
    try:
        run.start()
        ready.add((time.monotonic_ns() - began) / 1000, 0)
        for stream in run.names.frame_streams():
            run.history.wait(partial(_has_come, run, stream), _FIRST_FRAME_SEC)
            if frames := run.history.of(stream):
                samples = first.setdefault(stream, Samples(f"start to first frame, {stream}"))
                samples.add(frames[0].time_usec, 0)
    finally:
        run.stop()
    run.check()


def _has_come(run: BenchRun, channel: str) -> bool:
    return bool(run.history.of(channel))


def _press_once(run: BenchRun, device: str, press: int, answer: int, trips: Samples) -> None:
    """Press and release a line, and add both latencies."""
    channel = run.names.line_channel(answer, device)
    for level in (False, None):
        made = run.stimulus.drive(device, press, level)
        found: list[Event] = []

        def answered(made: Event = made, found: list[Event] = found) -> bool:
            found[:] = [e for e in run.history.of(channel, made.time_usec) if not e.caused]
            return bool(found)

        if run.history.wait(answered, ANSWER_SEC):
            trips.add(found[0].time_usec - made.time_usec, made.time_usec)
        time.sleep(_PRESS_SEC)


def _add_rows(run: BenchRun, trips: Samples) -> None:
    """Add the latencies that modules of the bench have measured."""
    for stream in run.history.channels():
        columns = run.names.columns(stream)
        if _LATENCY_COLUMN in columns:
            number = columns.index(_LATENCY_COLUMN)
            for row in run.history.of(stream):
                trips.add(float(row.cells[number]), row.time_usec)


def _watch_lights(
    run: BenchRun,
    light: tuple[int, int, int, int] | None,
    answer: int | None,
    board: str | None,
) -> list[tuple[str, str, str]]:
    """Watch the LED in each camera's pictures; return (stream, region's channel, LED's channel)."""
    found = []
    for stream in run.names.frame_streams():
        device = run.bench.modules[stream.partition(".")[0]].device or ""
        filmed = next((each for each in lights(run.bench) if each.scene == device), None)
        size = run.tap.metadata[stream].get("size")
        area, line = light, ""
        if filmed is not None and isinstance(size, MetaSize):
            area = area or filmed.area(size.width, size.height)
            line = filmed.line
        elif answer is not None:
            line = run.names.line_channel(answer, board)
        if area is None or not line:
            continue
        channel = f"{stream} light"
        run.watch_region(stream, area, channel)
        found.append((stream, channel, line))
    return found


def _offsets(run: BenchRun, stream: str, channel: str, line: str) -> Samples:
    """Return the times from the LED's edges to the frames that first show its light."""
    samples = Samples(f"light to frame, {stream}")
    edges = [e for e in run.history.of(line) if e.value and e.previous == 0]
    brightens = crosses(channel, _THRESHOLD, upwards=True)(run.names).matches
    frames = [e for e in run.history.of(channel) if brightens(e)]
    for frame in frames:
        before = [edge for edge in edges if edge.time_usec <= frame.time_usec]
        if before:
            samples.add(frame.time_usec - before[-1].time_usec, frame.time_usec)
    return samples
