"""Whether a worker is busy with the disk: then it stands still for the disk's sake, not its own."""

from __future__ import annotations

from pathlib import Path

_WAITS_FOR_DISK = "D"
"""State of a thread that nothing wakes but its device (proc(5), "disk sleep")."""


class DiskWait:
    """Watches one process: does it write to a disk, or wait for one?"""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._written: int | None = None

    def busy(self) -> bool:
        """Say whether it has written since the last call, or waits for its disk right now.

        False when the process is gone or may not be looked at.
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


def _text_of(path: Path) -> str:
    """Return a file's text; "" when the process or thread has ended, or may not be looked at."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _state(stat: str) -> str:
    """Return a thread's state: it follows the name, which may hold anything, in parentheses."""
    return stat.rpartition(")")[2][1:2]
