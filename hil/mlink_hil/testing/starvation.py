"""How long the processes of a run were kept waiting for a processor.

A virtual bench keeps real time only where its host lets it run. The kernel counts, for each
thread, how long it was ready but did not run (`schedstat`); what that explains of a lateness is
the host's fault, and not that of what is being tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_RUN_DELAY = 1
"""Position in `schedstat`: ns on the CPU, ns ready but waiting, number of time slices."""


class Starvation:
    """Counters of the threads below this process; a difference of two says what happened."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._threads: list[tuple[str, Path]] = []

    def find(self) -> None:
        """Look for the processes of a run; once, when it is in full flow."""
        self._threads = [
            ((_PROC / str(pid) / "comm").read_text().strip(), task / "schedstat")
            for pid in _descendants(os.getpid())
            for task in (_PROC / str(pid) / "task").glob("*")
        ]
        self.mark()

    def mark(self) -> None:
        """Count from now on."""
        self._before = {str(path): delay for _, path, delay in self._delays()}

    def longest_usec(self) -> tuple[int, str]:
        """Return the longest wait of any thread since the mark, in µs, and its process."""
        waits = [
            ((delay - self._before.get(str(path), delay)) // 1000, name)
            for name, path, delay in self._delays()
        ]
        return max(waits, default=(0, ""))

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
