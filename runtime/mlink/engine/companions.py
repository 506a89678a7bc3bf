"""Enters the companions of a bench before its modules prepare, and leaves them before the stop.

Each has a thread of its own: one that hangs cannot hold up the run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.companions import Companion
from mlink.catalog import companion
from mlink.engine.workers import WorkerHandle
from mlink.errors import ControlError

log = logging.getLogger("mlink.companions")

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
    """

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


class _Guest(threading.Thread):
    """Enters and leaves one companion's context; waits for it at most LIMIT_S each time.

    Args:
        name: The companion's key in the bench.
        accompany: Makes its context manager.
    """

    def __init__(self, name: str, accompany: Callable[[], AbstractContextManager[object]]) -> None:
        super().__init__(name=f"companion {name}", daemon=True)
        self._key = name
        self._accompany = accompany
        self._entered = threading.Event()
        self._leave = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Hold the context from the start of the thread until it has to leave."""
        try:
            with self._accompany():
                self._entered.set()
                self._leave.wait()
        except BaseException as error:  # noqa: BLE001 - raised again in the engine's thread
            self._error = error
        finally:
            self._entered.set()

    def __enter__(self) -> None:
        self.start()
        if not self._entered.wait(LIMIT_S):
            self._leave.set()
            raise ControlError(
                f"[{self._key}] of the bench: its companion has not begun after {LIMIT_S:g} s",
                remedy="Remove that key to run without it, or report it to its package.",
            )
        self._raise()

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self.join(LIMIT_S)
        if self.is_alive():
            log.warning("[%s]: its companion has not ended after %g s", self._key, LIMIT_S)
            return
        self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


@contextmanager
def accompanied(run: LiveRun, *, in_turns: bool = False) -> Iterator[None]:
    """Enter the bench's companions for the length of the block.

    Args:
        run: What the companions see of the run.
        in_turns: Whether modules run in virtual time. Companions act in real time, so such a run
            has none.
    """
    with ExitStack() as stack:
        for name, given in ({} if in_turns else run.bench.companions).items():
            entry: Companion = companion(name)
            stack.enter_context(_Guest(name, partial(entry.accompany, given, run)))
        yield
