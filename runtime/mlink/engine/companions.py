"""Enters the companions of a bench before its modules prepare, and leaves them before the stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.companions import Companion, VirtualMoments
from mlink.catalog import companion
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
        time_created: Creation time that files are given; None is now.
        virtual: How to act in virtual time; None in real time.
    """

    def __init__(
        self,
        bench: Bench,
        work_dir: Path,
        recording_dir: Path | None,
        run_uuid: bytes,
        workers: Mapping[str, WorkerHandle],
        *,
        time_created: datetime | None = None,
        virtual: VirtualMoments | None = None,
    ) -> None:
        self.bench = bench
        self.work_dir = work_dir
        self.recording_dir = recording_dir
        self.run_uuid = run_uuid
        self.time_created = time_created
        self.virtual = virtual
        self.t0_ns = 0
        self._workers = workers
        self._running = threading.Event()

    def begin(self, t0_ns: int) -> None:
        """Release `wait_running`: all modules have started, and master time zero is known.

        Args:
            t0_ns: Zero of master time on CLOCK_MONOTONIC, in ns.
        """
        self.t0_ns = t0_ns
        self._running.set()

    def wait_running(self, timeout_s: float) -> bool:
        """Wait until all modules have started; return False after a timeout."""
        return self._running.wait(timeout_s)

    def worker_pid(self, module: str) -> int:
        """Return the process id of a module; 0 when it has ended or there is no such module."""
        worker = self._workers.get(module)
        return worker.pid if worker is not None and worker.alive else 0


@contextmanager
def accompanied(run: LiveRun, hosting: Hosting, *, replay: bool = False) -> Iterator[None]:
    """Enter the bench's companions for the length of the block.

    Args:
        run: What the companions see of the run.
        hosting: What the engine does while one of them begins or ends.
        replay: Whether the run is a replay, which has none: what they did is in its recording.

    Raises:
        MlinkError: One of them failed, or did not begin in time.
    """
    with ExitStack() as stack:
        for name, given in ({} if replay else run.bench.companions).items():
            if hosting.ending():
                break
            entry: Companion = companion(name)
            stack.enter_context(
                Guest(
                    f"[{name}] of the bench: its companion",
                    partial(entry.accompany, given, run),
                    hosting,
                    limit_s=LIMIT_S,
                    remedy="Remove that key to run without it, or report it to its package.",
                )
            )
        yield
