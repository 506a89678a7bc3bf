"""How long the processes of a run waited for a processor.

A virtual bench keeps real time only where its host lets it run. The kernel counts, for each
thread, how long it was ready but did not run (/proc/PID/task/TID/schedstat). An event that is late
by no more than the sum of these waits is late because of the host, not of what is tested.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

_PROC = Path("/proc")
_RUN_DELAY = 1
"""Position in `schedstat`: ns on the CPU, ns ready but waiting, number of time slices."""
_POLL_SEC = 0.002

Snapshot = Mapping[Path, int]
"""What each thread had waited by a moment, in ns, by its `schedstat` file."""


class Starvation:
    """Wait counters of the threads below this process, from `mark` on or from a snapshot."""

    def __init__(self) -> None:
        self._before: Snapshot = {}
        self._threads: list[tuple[str, Path]] = []
        self._others: list[Path] = []
        """Threads outside the loop, such as the tap's: only `let_run` considers them."""

    def find(self, without: Container[str] = ()) -> None:
        """Find the threads of a run, once all of its processes are there, and `mark`.

        Args:
            without: Names of processes whose waits do not count.
        """
        self._threads, self._others = [], []
        for pid in _descendants(os.getpid()):
            folder = _PROC / str(pid)
            try:
                name = (folder / "comm").read_text().strip()
            except OSError:
                continue  # it has just ended
            tasks = [task / "schedstat" for task in folder.glob("task/*")]
            if name in without:
                self._others += tasks
            else:
                self._threads += [(name, task) for task in tasks]
        self.mark()

    def mark(self) -> None:
        """Let `waits_usec` count from now on."""
        self._before = self.snapshot()

    def snapshot(self) -> Snapshot:
        """Return the counters of this moment, for `waits_usec`."""
        return {path: delay for _, path, delay in self._delays()}

    def waits_usec(self, since: Snapshot | None = None) -> dict[str, int]:
        """Return the longest wait of a thread of each process, in µs.

        Args:
            since: Where the count begins; None is the last `mark`.
        """
        before = self._before if since is None else since
        found: dict[str, int] = {}
        for name, path, delay in self._delays():
            wait_usec = (delay - before.get(path, delay)) // 1000
            found[name] = max(found.get(name, 0), wait_usec)
        return found

    def let_run(self, timeout_sec: float) -> None:
        """Wait until each thread that is ready has run; the kernel counts its wait only then."""
        waiting = {
            path: text
            for path in (*(path for _, path in self._threads), *self._others)
            if _is_ready(path) and (text := _read(path))
        }
        deadline = time.monotonic() + timeout_sec
        while waiting and time.monotonic() < deadline:
            time.sleep(_POLL_SEC)
            waiting = {
                path: text
                for path, text in waiting.items()
                if _read(path) == text and _is_ready(path)
            }

    def _delays(self) -> Iterator[tuple[str, Path, int]]:
        for name, path in self._threads:
            try:
                yield name, path, int(_read(path).split()[_RUN_DELAY])
            except (IndexError, ValueError):
                continue  # it has ended, or the kernel does not count


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # it has ended


def _is_ready(schedstat: Path) -> bool:
    """Return whether a thread is running or ready to run."""
    # pid (name) state …; the name may hold anything but ends at the last parenthesis
    return _read(schedstat.with_name("stat")).rpartition(")")[2].strip().startswith("R")


def _descendants(pid: int) -> Iterator[int]:
    """Yield all descendants of a process."""
    for children in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            found = [int(child) for child in children.read_text().split()]
        except OSError:
            continue
        for child in found:
            yield child
            yield from _descendants(child)
