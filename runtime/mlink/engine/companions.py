"""Enters the companions of a bench before its modules prepare, and leaves them before the stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.companions import Companion, DeviceWatcher, VirtualMoments
from mlink.bench.tables import scheme_of
from mlink.catalog import companion, device_provider
from mlink.clock import Clock
from mlink.devices import DeviceEndpoint
from mlink.engine.guests import Guest, Hosting
from mlink.engine.workers import WorkerHandle

LIMIT_S = 30.0
"""Longest wait for a companion to begin, and to end."""


class LiveRun:
    """A run as its companions see it (`mlink.bench.companions.RunView`); usable from any thread.

    Args:
        bench: The bench that runs.
        work_dir: The run's own folder.
        recording_dir: The recording's folder; None when the run is not recorded.
        run_uuid: The recording's id, 16 bytes.
        workers: The run's workers by module name.
        devices: The devices by their keys in the bench.
        time_created: Creation time that files are given; None is now.
        virtual: How to act in virtual time; None in real time.
        report: Adds a figure of a source to the run's result.
        hint: Adds a hint on a source to it.
    """

    def __init__(
        self,
        bench: Bench,
        work_dir: Path,
        recording_dir: Path | None,
        run_uuid: bytes,
        workers: Mapping[str, WorkerHandle],
        *,
        devices: Mapping[str, DeviceEndpoint] = {},
        time_created: datetime | None = None,
        virtual: VirtualMoments | None = None,
        report: Callable[[str, str, float | str], None] = lambda _source, _key, _value: None,
        hint: Callable[[str, str], None] = lambda _source, _text: None,
    ) -> None:
        self.bench = bench
        self.work_dir = work_dir
        self.recording_dir = recording_dir
        self.run_uuid = run_uuid
        self.time_created = time_created
        self.virtual = virtual
        self.devices = devices
        self.report = report
        self.hint = hint
        self._clock: Clock | None = None
        self._t0_ns = 0
        self._workers = workers
        self._running = threading.Event()

    def begin(self, t0_ns: int, clock: Clock | None = None) -> None:
        """Release `wait_running`: all modules have started, and master time zero is known.

        Args:
            t0_ns: Zero of master time on CLOCK_MONOTONIC, in ns.
            clock: The master timer of a host that another machine leads; None for this machine's.
        """
        self._t0_ns, self._clock = t0_ns, clock
        self._running.set()

    @property
    def t0_ns(self) -> int:
        """Master time zero on CLOCK_MONOTONIC as seen from now, in ns; 0 before the start.

        On a host that another machine leads it moves, as both clocks have different rates.
        """
        if self._clock is None:
            return self._t0_ns
        now_ns = time.monotonic_ns()
        return now_ns - 1000 * self._clock.from_monotonic_ns(now_ns)

    def wait_running(self, timeout_s: float) -> bool:
        """Wait until all modules have started; return False after a timeout."""
        return self._running.wait(timeout_s)

    def worker_pid(self, module: str) -> int:
        """Return the process id of a module; 0 when it has ended or there is no such module."""
        worker = self._workers.get(module)
        return worker.pid if worker is not None and worker.alive else 0


@contextmanager
def accompanied(run: LiveRun, hosting: Hosting, *, replay: bool = False) -> Iterator[None]:
    """Enter the bench's companions, and the watchers of devices, for the length of the block.

    Args:
        run: What the companions see of the run.
        hosting: What the engine does while one of them begins or ends.
        replay: Whether the run is a replay, which has none: what they did is in its recording.

    Raises:
        MlinkError: One of them failed, or did not begin in time.
    """
    guests: list[tuple[str, Callable[[], AbstractContextManager[object]], str]] = []
    for name, given in ({} if replay else run.bench.companions).items():
        entry: Companion = companion(name)
        remedy = "Remove that key to run without it, or report it to its package."
        what = f"[{name}] of the bench: its companion"
        guests.append((what, partial(entry.accompany, given, run), remedy))
    if run.virtual is None:
        by_scheme: dict[str, dict[str, DeviceEndpoint]] = {}
        for key, endpoint in run.devices.items():
            by_scheme.setdefault(scheme_of(endpoint.spec), {})[key] = endpoint
        for scheme, endpoints in by_scheme.items():
            provider = device_provider(scheme)
            if isinstance(provider, DeviceWatcher):
                what = f"the watch over '{scheme}:…'"
                guests.append((what, partial(provider.watch, endpoints, run), "Report it."))
    with ExitStack() as stack:
        for what, make, remedy in guests:
            if hosting.ending():
                break
            stack.enter_context(Guest(what, make, hosting, limit_s=LIMIT_S, remedy=remedy))
        yield
