"""Lets the companions of a bench see its run, from before its start until it turns to its stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlink.bench import Bench
from mlink.catalog import companion
from mlink.engine.workers import WorkerHandle


class LiveRun:
    """Implements `mlink.bench.companions.RunView`."""

    def __init__(
        self,
        bench: Bench,
        work_dir: Path,
        recording_dir: Path | None,
        run_uuid: bytes,
        workers: Mapping[str, WorkerHandle],
    ) -> None:
        self.bench = bench
        self.work_dir = work_dir
        self.recording_dir = recording_dir
        self.run_uuid = run_uuid
        self.t0_ns = 0
        self._workers = workers
        self._running = threading.Event()

    def begin(self, t0_ns: int) -> None:
        """All modules have started."""
        self.t0_ns = t0_ns
        self._running.set()

    def wait_running(self, timeout_s: float) -> bool:
        """Wait until all modules have started; False when that takes longer."""
        return self._running.wait(timeout_s)

    def worker_pid(self, module: str) -> int:
        """Return the process of a module; 0 when it has ended or there is none."""
        worker = self._workers.get(module)
        return worker.pid if worker is not None and worker.alive else 0


@contextmanager
def accompanied(run: LiveRun, *, in_turns: bool = False) -> Iterator[None]:
    """Have the bench's companions beside the run for the length of the block.

    They act in real time, so a run in turns (a replay) has none.
    """
    with ExitStack() as stack:
        for name, given in ({} if in_turns else run.bench.companions).items():
            stack.enter_context(companion(name).accompany(given, run))
        yield
