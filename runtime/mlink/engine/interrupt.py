"""Requests to end a run: Ctrl-C, SIGTERM and other signals, a closed terminal, other threads.

The second SIGINT, SIGQUIT or SIGTERM gives up the wait for modules, the third also that for their
files. Other signals are sent more than once (SIGXCPU), or by a machine: they only request the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any, Self

from mlink.ctrl_c import ENDING, has_own_handler, name_of

_NAMES: dict[int, str] = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGQUIT: "Ctrl-\\ (SIGQUIT)",
    signal.SIGHUP: "SIGHUP: its terminal was closed",
}
_ALWAYS = (signal.SIGINT, signal.SIGTERM)
"""Handled whatever the program does with them otherwise."""
_INSISTENT = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class Interrupts:
    """Handles all signals that would end the program while a run lasts; a context manager.

    What is ignored stays so, such as SIGHUP under nohup and with `mlink run --keep-going`, and so
    does a handler of the program's own for other signals than SIGINT and SIGTERM.
    Python allows signal handlers in the main thread only: in another thread none are installed.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_rung = False
        self._reason = ""
        self._count = 0
        # Keeps a request from writing to a descriptor that is being closed. Reentrant, since a
        # signal handler may interrupt a request of its own thread.
        self._closing = threading.RLock()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if number in _ALWAYS or not has_own_handler(number):
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
        with self._closing:
            os.close(self._fd)
            self._fd = -1

    def _on_signal(self, number: int, _frame: object) -> None:
        # A closed terminal sends SIGHUP twice, and a session's end SIGTERM with it.
        self._count += number in _INSISTENT
        self.request(f"interrupted by {_NAMES.get(number) or name_of(number)}")

    def fileno(self) -> int:
        """Return a descriptor that is readable after a request."""
        return self._fd

    @property
    def aborted(self) -> bool:
        """Whether a second signal has come: modules close their files without draining."""
        return self._count > 1

    @property
    def forced(self) -> bool:
        """Whether a third signal has come: workers that still run are killed at once."""
        return self._count > 2

    def request(self, reason: str) -> None:
        """Request the end, from any thread or signal handler; the first reason is kept."""
        self._reason = self._reason or reason
        self.wake()

    def wake(self) -> None:
        """Make the descriptor readable, from any thread or signal handler."""
        with self._closing:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)
                self._is_rung = True

    def abort(self, reason: str) -> None:
        """Request the end at once, like a second signal; from any thread."""
        self._count = max(self._count, 2)
        self.request(reason)

    def reason(self) -> str:
        """Return the reason of the request, or ""; resets the descriptor."""
        if self._is_rung:  # after the write, so that none is missed
            self._is_rung = False
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._fd)
        return self._reason
