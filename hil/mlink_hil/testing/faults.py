"""Faults on demand: what a bench must survive, or at least tell."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlink.errors import DeviceError, ModuleError
from mlink_hil.board_link import BoardLink
from mlink_hil.sim import messages
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.events import Event

_PROC = Path("/proc")
_COMM_LENGTH = 15
_FAILURE_SEC = 15.0


class Faults:
    """Breaks things in a run; each method returns the moment, as an event."""

    def __init__(self, run: BenchRun) -> None:
        self._run = run

    def unplug(self, board: str | None = None) -> Event:
        """Pull the cable of a virtual board: its port and its power vanish."""
        self._link(board).do(messages.Unplug())
        return self._event(f"unplug {self._run.names.board(board)}")

    def plug(self, board: str | None = None) -> Event:
        """Put the cable back; the board boots."""
        self._link(board).do(messages.Plug())
        return self._event(f"plug {self._run.names.board(board)}")

    def reset(self, board: str | None = None) -> Event:
        """Push a virtual board's reset button (a brown-out, as seen from outside)."""
        self._link(board).do(messages.Reset())
        return self._event(f"reset {self._run.names.board(board)}")

    def kill(self, module: str) -> Event:
        """Kill a module's process."""
        os.kill(self.pid(module), signal.SIGKILL)
        return self._event(f"kill {module}")

    @contextmanager
    def frozen(self, module: str) -> Iterator[Event]:
        """Stop a module's process for the length of the block (a hung disk, a stalled camera)."""
        pid = self.pid(module)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield self._event(f"freeze {module}")
        finally:
            os.kill(pid, signal.SIGCONT)
            self._event(f"thaw {module}")

    def expect_failure(self, module: str, timeout_sec: float = _FAILURE_SEC) -> str:
        """Expect that the run fails, and names this module; return what it says."""
        self._run.expected_failures.add(module)
        deadline = time.monotonic() + timeout_sec
        while time.monotonic() < deadline:
            for failure in self._run.engine.failures:
                if failure.module == module:
                    return failure.message
            if not self._run.alive:
                break
            time.sleep(0.01)
        self._run.check()
        raise AssertionError(f"the run did not fail in '{module}' within {timeout_sec:g} s")

    def pid(self, module: str) -> int:
        """Return the process of a module's worker in this run."""
        name = f"ml:{module}"[:_COMM_LENGTH]
        for entry in _PROC.glob("[0-9]*"):
            try:
                if (entry / "comm").read_text().strip() == name and _is_ours(int(entry.name)):
                    return int(entry.name)
            except OSError:
                continue  # it has just ended
        raise ModuleError(
            f"no process of module '{module}' runs",
            remedy=f"Modules: {', '.join(self._run.bench.modules)}.",
        )

    def _link(self, board: str | None) -> BoardLink:
        name = self._run.names.board(board)
        link = self._run.boards.get(name)
        if link is None:
            raise DeviceError(
                f"'{name}' is a real board: nobody can pull its cable from here",
                remedy='Mark the test with @pytest.mark.mlink_needs("simulated").',
            )
        return link

    def _event(self, what: str) -> Event:
        event = Event("fault", self._run.now_usec(), cells=(what,), caused=True)
        self._run.history.add([event])
        return event


def _is_ours(pid: int) -> bool:
    """Tell whether a process descends from this one."""
    while pid > 1:
        if pid == os.getpid():
            return True
        # pid (name) state ppid …; the name may hold anything but ends at the last parenthesis
        stat = (_PROC / str(pid) / "stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return False
