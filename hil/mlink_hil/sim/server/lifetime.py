"""Ends a helper program on a signal, and when its parent process is gone.

The kernel sends the signal of `signal_at_parents_end` when the *thread* that started the program
ends, so its handler checks whether the parent process has really gone.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from mlink.closing import signal_at_parents_end


class Lifetime:
    """Sets `ended` on SIGTERM and SIGINT, and when the parent process is gone.

    Args:
        parent: Process ID of the parent; None if the program may outlive it.
    """

    def __init__(self, parent: int | None = None) -> None:
        self.ended = False
        self.reason = ""
        """Why, in words."""
        self._parent = parent
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        if parent is not None:
            signal.signal(signal.SIGHUP, self._check)
            signal_at_parents_end(signal.SIGHUP)
            self.check()  # the parent may have ended before prctl()

    def check(self) -> None:
        """Set `ended` if the parent process is gone."""
        if self._parent is not None and os.getppid() != self._parent:
            self.ended = True
            self.reason = f"its parent, process {self._parent}, is gone"

    def _end(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.ended = True
        self.reason = f"{signal.Signals(number).name} has asked it to end"

    def _check(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.check()
