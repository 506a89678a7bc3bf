"""Status, logs and figures of a run: for the observer, the recording and the result."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from itertools import chain
from queue import SimpleQueue
from typing import ClassVar, Self, TypeVar

from mlink.bench import Bench
from mlink.bench.record_all import unrecorded
from mlink.clock import Clock
from mlink.engine.account.gaps import GapWarnings
from mlink.engine.account.rates import StreamRates
from mlink.engine.plan import Edge
from mlink.engine.recording import Recording
from mlink.engine.status import (
    Failure,
    Phase,
    RunObserver,
    RunResult,
    RunStatus,
    StreamStatus,
    SubscriptionStatus,
)
from mlink.engine.streams import Streams
from mlink.engine.workers import WorkerHandle
from mlink.module import Category
from mlink.refusals import text_of
from mlink.steered_clock import SteeredClock
from mlink.tap.catalog import VIEW_NAME

_STATUS_PERIOD_S = 0.25
ValueT = TypeVar("ValueT")
_LOST_FIGURES = {"rows_lost", "blocks_lost", "frames_lost"}
"""Figures of recorders about the gaps that they have come to."""
_LAST_LINES = 3
"""Lines of a module that are repeated when its process has died."""


class ReporterLogHandler(logging.Handler):
    """Routes what the engine's process logs (devices, clean-up) into the run's log.

    With several runs in one process, a record that one run's engine thread or one of its guests
    logged goes to that run only; one of another thread goes to all of them.
    """

    _owner: ClassVar[ContextVar[ReporterLogHandler | None]] = ContextVar("owner", default=None)
    """The run that the code belongs to; guests of a run inherit it."""

    _lock_active = threading.Lock()
    _active: ClassVar[list[ReporterLogHandler]] = []
    _saved: ClassVar[tuple[int, bool]] = (logging.NOTSET, True)
    """Level and propagation of the logger before the first of the runs."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter
        self._thread_id = 0
        self._of_others: SimpleQueue[logging.LogRecord] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; those of other threads wait for `pass_on`."""
        if self._owner.get() not in (self, None):
            return
        if record.thread == self._thread_id:
            self._pass_on(record)
        else:
            self._of_others.put(record)

    def pass_on(self) -> None:
        """Send what other threads have logged; called in the engine's thread."""
        while not self._of_others.empty():
            self._pass_on(self._of_others.get())

    def _pass_on(self, record: logging.LogRecord) -> None:
        of_wall_clock = getattr(record, "of_wall_clock", False)
        self._reporter.log("", record.levelno, record.getMessage(), of_wall_clock=of_wall_clock)

    def __enter__(self) -> Self:
        self._thread_id = threading.get_ident()
        self._token = self._owner.set(self)
        logger = logging.getLogger("mlink")
        with self._lock_active:
            if not self._active:
                type(self)._saved = (logger.level, logger.propagate)
                logger.setLevel(logging.INFO)
                logger.propagate = False
            self._active.append(self)
            logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("mlink")
        with self._lock_active:
            logger.removeHandler(self)
            self._active.remove(self)
            if not self._active:
                level, logger.propagate = self._saved
                logger.setLevel(level)
        self._owner.reset(self._token)
        self.pass_on()


class Reporter:
    """Keeps the run's status and passes it to the observer and the recording.

    Args:
        bench: The bench that runs.
        streams: Its streams.
        observer: Called with status, logs and printed lines.
        kind: Kind of time, as in `RunResult.time`.
    """

    def __init__(
        self, bench: Bench, streams: Streams, observer: RunObserver, *, kind: str = "real"
    ) -> None:
        self.recording: Recording | None = None
        self._bench = bench
        self._streams = streams
        self._observer = observer
        self._status = RunStatus(time=kind)
        self._reports: dict[str, dict[str, float | str]] = {}
        self._hints: dict[str, list[str]] = {}
        self._losses: dict[str, list[Failure]] = {}
        self._last_lines: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_LAST_LINES))
        self._clock: Clock | None = None
        """The master timer; None before the start, and in virtual time."""
        self._end_ns = 0
        self._begun_ns = time.monotonic_ns()
        self._next_status = 0.0
        self._rates = StreamRates()
        self._gap_warnings = GapWarnings(self.log)
        self._first_item_ns = 0
        self.virtual_usec: Callable[[], int] | None = None
        """In virtual time: returns master time in µs."""

    def enter(self, phase: Phase) -> None:
        """Set the phase and pass the status to the observer."""
        self._status.phase = phase
        self._observer.on_status(self._status)

    def start_clock(self, clock: Clock) -> None:
        """Start master time: `clock` is the master timer; a steered one is recorded too."""
        self._clock = clock
        if self.recording is not None and isinstance(clock, SteeredClock):
            self.recording.follow(clock)

    def stop_clock(self) -> None:
        """Fix the run's length; draining does not count."""
        if self._clock is not None and not self._end_ns:
            self._end_ns = time.monotonic_ns()
        if self.virtual_usec is not None:
            self.virtual_usec = partial(int, self.virtual_usec())

    @property
    def elapsed_s(self) -> float:
        """Length of the run so far in seconds of master time."""
        if self.virtual_usec is not None:
            return self.virtual_usec() / 1e6
        if self._clock is None:
            return 0.0
        return self._clock.from_monotonic_ns(self._end_ns or time.monotonic_ns()) / 1e6

    def tick(self, workers: Mapping[str, WorkerHandle]) -> None:
        """Make a new snapshot if the last one is _STATUS_PERIOD_S old.

        In real time losses are logged and listed by it; in virtual time `note_losses` does that.
        """
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + _STATUS_PERIOD_S
            self._gather(workers)
            if self.virtual_usec is None:  # in which the machine decides when a snapshot is made
                self._watch_losses(workers, now)
            self._observer.on_status(self._status)

    def note_losses(self, workers: Mapping[str, WorkerHandle]) -> None:
        """Log and list losses in virtual time, at the time at which a worker has reported them."""
        self._gather(workers)
        self._watch_losses(workers, self.elapsed_s)

    def _watch_losses(self, workers: Mapping[str, WorkerHandle], now_s: float) -> None:
        self._gap_warnings.watch(self._status.streams, now_s, _died(workers))
        if self.recording is not None:
            self.recording.watch(self._status)

    def _gather(self, workers: Mapping[str, WorkerHandle]) -> None:
        streams = []
        for name, module in self._bench.modules.items():
            worker = workers.get(name)
            for port in module.outputs:
                if port.beside:
                    continue  # answers to a view
                stream = StreamStatus(name, port.id, port.data_type.name)
                if worker is not None:
                    stream.sent = worker.sent.get(port.id, 0)
                    stream.lost_at_source = worker.skipped.get(port.id, 0)
                    stream.rate_hz = self._rates.rate_hz(stream.name, stream.sent, worker.counted_s)
                edges = [e for e in self._streams.out_of(name) if e.source_port == port.id]
                lost = worker.lost.get(port.id, []) if worker is not None else []
                for number, edge in enumerate(edges):
                    if edge.target == VIEW_NAME:
                        continue  # what a page has not shown is missing nowhere
                    refused = lost[number] if number < len(lost) else 0
                    subscription = self._subscription(edge, workers, refused)
                    subscription.refused = max(0, refused - stream.lost_at_source)
                    stream.subscriptions.append(subscription)
                _settle(stream)
                streams.append(stream)
        self._status.streams = streams
        self._status.elapsed_s = self.elapsed_s
        self._status.module_status = {
            name: worker.text for name, worker in workers.items() if worker.text
        }

    def _subscription(
        self, edge: Edge, workers: Mapping[str, WorkerHandle], lost: int
    ) -> SubscriptionStatus:
        status = SubscriptionStatus(edge.target, edge.target_port, lost=lost)
        status.queue_limit = self._streams.queue_limit(edge)
        worker = workers.get(edge.target)
        count = worker.received.get(edge.target_port) if worker else None
        if count is not None:
            status.received = count.received
            status.lost = max(lost, count.lost)
            if count.first_item_ns and (
                not self._first_item_ns or count.first_item_ns < self._first_item_ns
            ):
                self._first_item_ns = count.first_item_ns
        return status

    def not_taken(self, workers: Mapping[str, WorkerHandle]) -> list[str]:
        """Return what subscribers have left in their queues: "rec: 3 of cam.video", one each."""
        self._gather(workers)
        return [
            f"{subscription.module}: {subscription.queued} of {stream.name}"
            for stream in self._status.streams
            for subscription in stream.subscriptions
            if subscription.queued
        ]

    def log(
        self,
        module: str,
        level: int,
        text: str,
        *,
        of_wall_clock: bool = False,
        by_module: bool = False,
    ) -> None:
        """Pass a log line to the observer and the recording.

        Args:
            module: The name of the module that it is about; "" for the engine.
            level: A `logging` level.
            text: The message.
            of_wall_clock: Whether it depends on how fast this machine is. In virtual time such a
                line is not recorded: two runs have the same log.
            by_module: Whether the module itself has logged it, and not the engine.
        """
        self._observer.on_log(module, level, text)
        if by_module:
            self._last_lines[module].append(text)
        if not of_wall_clock or self.virtual_usec is None:
            self._keep(module, level, text)

    def output(self, module: str, text: str) -> None:
        """Pass a line that a script printed to the observer and the recording."""
        self._observer.on_output(module, text)
        if self.recording is not None and self._clock is not None:
            self.recording.has_output = True
        self._last_lines[module].append(text)
        self._keep(module, logging.INFO, text)

    def last_lines(self, module: str) -> list[str]:
        """Return the last lines that a module itself has logged or printed."""
        return list(self._last_lines[module])

    def _keep(self, module: str, level: int, text: str) -> None:
        if self.recording is not None:
            time_usec = self._clock.now_usec() if self._clock is not None else 0
            if self.virtual_usec is not None:
                time_usec = self.virtual_usec()
            self.recording.write_log(time_usec, module, level, text)

    def report(self, module: str, key: str, value: float | str) -> None:
        """Keep a figure of a module for the result; a later value of a key replaces it."""
        self._reports.setdefault(module, {})[key] = value

    def hint(self, module: str, text: str) -> None:
        """Keep a hint of a module for the result of a run that succeeds."""
        self._hints.setdefault(module, []).append(f"{module}: {text}")

    def note_loss(self, module: str, what: str, remedy: str) -> None:
        """Keep a loss of a module that is no item of a stream; it is a hint, too."""
        self.hint(module, f"{what}. {remedy}")
        strict = "The run is strict: nothing may be lost."
        remedy = f"{strict} {remedy.rstrip('.')}, or run without `strict`."
        self._losses.setdefault(module, []).append(Failure(module, "account", what, remedy))

    @property
    def losses(self) -> list[Failure]:
        """Losses that are no items of a stream, as the failures that they are in a strict run."""
        return list(chain(*self._in_bench_order(self._losses).values()))

    def result(
        self, failures: list[Failure], stop_reason: str, workers: Mapping[str, WorkerHandle]
    ) -> RunResult:
        """Return the run's result.

        Args:
            failures: The run's failures; without any it is a success.
            stop_reason: Why it ended.
            workers: The workers, with their final counts.
        """
        self._gather(workers)
        self._gap_warnings.conclude(self._status.streams, _died(workers))
        for stream in self._status.streams:
            for subscription in stream.subscriptions:
                subscription.not_taken = subscription.queued
                self._correct_lost_figure(subscription)
            stream.rate_hz = stream.sent / self.elapsed_s if self.elapsed_s else 0.0
        first = self._first_item_ns
        return RunResult(
            success=not failures,
            failures=failures,
            duration_s=self.elapsed_s,
            stop_reason=stop_reason,
            streams=self._status.streams,
            reports=self._in_bench_order(self._reports),
            sentences=self._sentences(),
            hints=[] if failures else list(chain(*self._in_bench_order(self._hints).values())),
            start_to_first_item_s=(first - self._begun_ns) / 1e9 if first else None,
            time=self._status.time,
        )

    def _sentences(self) -> list[str]:
        """Return the modules' sentences about their figures; an error in one fails no run."""
        sentences = []
        for name, figures in self._in_bench_order(self._reports).items():
            module = self._bench.modules.get(name)
            if module is None or module.type.sentence is None:
                continue
            try:
                text = module.type.sentence(figures)
            except Exception as error:  # noqa: BLE001 - of any package
                self.log(name, logging.WARNING, f"its sentence cannot be made: {text_of(error)}")
                continue
            sentences += [f"{name}: {text}"] if text else []
        return sentences

    def unrecorded(self) -> list[str]:
        """Return the streams that sent something and that no recorder subscribes to."""
        sent = {stream.name for stream in self._status.streams if stream.sent}
        found = (f"{name}.{port.id}" for name, port in unrecorded(self._bench.modules))
        return [name for name in found if name in sent]

    def _correct_lost_figure(self, subscription: SubscriptionStatus) -> None:
        """Let the figure of a recorder count what was lost behind the last item that it got, too.

        It has not seen that gap when its sender was killed, or it has failed itself.
        """
        module = self._bench.modules.get(subscription.module)
        if module is not None and module.type.category is Category.WRITER:
            figures = self._reports.get(module.name, {})
            for key in _LOST_FIGURES & figures.keys():
                figures[key] = float(subscription.lost)

    def _in_bench_order(self, by_module: Mapping[str, ValueT]) -> dict[str, ValueT]:
        """Return figures or hints in the order of the bench's modules."""
        names = [*self._bench.modules, *by_module]
        return {name: by_module[name] for name in names if name in by_module}


def _died(workers: Mapping[str, WorkerHandle]) -> set[str]:
    return {name for name, each in workers.items() if not each.alive and not each.closed}


def _settle(stream: StreamStatus) -> None:
    """Make a stream's counts add up: sent = received + lost + queued for each subscription.

    Sender and subscribers report at moments of their own, up to a status period apart, and a sender
    that was killed reports no more. What a subscriber has received was sent.
    """
    known = [subscription.received + subscription.lost for subscription in stream.subscriptions]
    stream.sent = max([stream.sent, *known])
    for subscription, accounted in zip(stream.subscriptions, known, strict=True):
        subscription.queued = stream.sent - accounted
