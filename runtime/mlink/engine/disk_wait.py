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
        try:
            text = (self._folder / "io").read_text()
        except OSError:
            return None
        fields = dict(line.split(": ") for line in text.splitlines())
        return int(fields["write_bytes"])

    def _waits(self) -> bool:
        for stat in self._folder.glob("task/*/stat"):
            try:
                text = stat.read_text(errors="replace")
            except OSError:  # a thread that has ended
                continue
            # the state follows the thread's name, which may hold anything, in parentheses
            if text.rpartition(")")[2].split()[0] == _WAITS_FOR_DISK:
                return True
        return False
