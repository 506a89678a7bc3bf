"""How long the processes of a run were kept waiting for a processor.

A virtual bench keeps real time only where its host lets it run. The kernel counts, for each
thread, how long it was ready but did not run (`schedstat`); what that explains of a lateness is
the host's fault, and not that of what is being tested. A loop's lateness is at
most the sum of what its processes waited.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from pathlib import Path

_PROC = Path("/proc")
_RUN_DELAY = 1
"""Position in `schedstat`: ns on the CPU, ns ready but waiting, number of time slices."""


class Starvation:
    """Counters of the threads below this process; a difference of two says what happened."""

    def __init__(self) -> None:
        self._before: dict[Path, int] = {}
        self._threads: list[tuple[str, Path]] = []

    def find(self, without: Container[str] = ()) -> None:
        """Look for the processes of a run, without some; once, when it is in full flow."""
        self._threads = []
        for pid in _descendants(os.getpid()):
            folder = _PROC / str(pid)
            try:
                name = (folder / "comm").read_text().strip()
            except OSError:
                continue  # it has just ended
            if name not in without:
                self._threads += [(name, task / "schedstat") for task in folder.glob("task/*")]
        self.mark()

    def mark(self) -> None:
        """Count from now on."""
        self._before = {path: delay for _, path, delay in self._delays()}

    def waits_usec(self) -> dict[str, int]:
        """Return the longest wait of a thread of each process since the mark, in µs."""
        found: dict[str, int] = {}
        for name, path, delay in self._delays():
            wait_usec = (delay - self._before.get(path, delay)) // 1000
            found[name] = max(found.get(name, 0), wait_usec)
        return found

    def _delays(self) -> Iterator[tuple[str, Path, int]]:
        for name, path in self._threads:
            try:
                yield name, path, int(path.read_text().split()[_RUN_DELAY])
            except (OSError, IndexError, ValueError):
                continue  # it has ended, or the kernel does not count


def _descendants(pid: int) -> Iterator[int]:
    """Yield the processes that descend from one."""
    for children in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            found = [int(child) for child in children.read_text().split()]
        except OSError:
            continue
        for child in found:
            yield child
            yield from _descendants(child)
