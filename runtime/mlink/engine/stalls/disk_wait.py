"""Detects workers that wait for a disk or a processor: they must not be ended as if they hung."""

from __future__ import annotations

from pathlib import Path

_WAITS_FOR_DISK = "D"
"""State of a thread in an uninterruptible wait, usually for a disk (proc(5))."""


class DiskWait:
    """Watches one process for writes to a disk and for waits on one.

    It reads /proc/PID/io (bytes written to storage) and the states of the process's threads.
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._written: int | None = None

    def busy(self) -> bool:
        """Return whether it has written since the last call, or waits for its disk right now.

        False when the process has ended or its files in /proc are not readable.
        """
        before, self._written = self._written, self._bytes_written()
        if before is not None and self._written is not None and self._written > before:
            return True
        return self._waits()

    def _bytes_written(self) -> int | None:
        text = _text_of(self._folder / "io")
        fields = dict(line.split(": ") for line in text.splitlines())
        return int(fields["write_bytes"]) if fields else None

    def _waits(self) -> bool:
        try:
            threads = list((self._folder / "task").iterdir())
        except OSError:
            return False
        return any(_state(_text_of(thread / "stat")) == _WAITS_FOR_DISK for thread in threads)


def processor_wait_s(pid: int) -> float:
    """Return how long a process's main thread was ready to run but did not, since its start.

    0 when the process has ended or the kernel keeps no such figure.
    """
    fields = _text_of(Path(f"/proc/{pid}/schedstat")).split()
    return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0


def _text_of(path: Path) -> str:
    """Return a file's text; "" when the process has ended or the file is not readable."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _state(stat: str) -> str:
    """Return the state letter in a thread's stat file: it follows the name in parentheses."""
    return stat.rpartition(")")[2][1:2]
