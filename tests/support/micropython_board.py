"""A board that runs MicroPython: its Unix port, behind a pseudo-terminal as behind a USB cable.

The interpreter has a terminal of its own, so that Ctrl-C interrupts it; a thread copies the bytes.
It begins anew when it ends, as a board does at a soft reset.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from pathlib import Path
from typing import Self

INTERPRETER = Path(sys.executable).with_name("micropython")


def is_there() -> bool:
    return INTERPRETER.exists() or shutil.which("micropython") is not None


class MicroPythonBoard:
    """The board; `port` is the path of its serial port."""

    def __init__(self) -> None:
        self._outer, self._kept = pty.openpty()
        tty.setraw(self._kept)
        self.port = os.ttyname(self._kept)
        self.received = b""
        """What the host has sent."""
        self._inner = self._pid = -1
        self._ending = threading.Event()
        self._boot()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(10)
        self._kill()
        self.unplug()

    def unplug(self) -> None:
        """Pull the cable."""
        self._ending.set()
        self._thread.join(10)
        for name in ("_outer", "_kept"):
            with contextlib.suppress(OSError):
                os.close(getattr(self, name))

    def _boot(self) -> None:
        self._pid, self._inner = pty.fork()
        if self._pid == 0:
            modes = termios.tcgetattr(0)
            modes[1] &= ~termios.OPOST
            modes[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(0, termios.TCSANOW, modes)
            found = str(INTERPRETER) if INTERPRETER.exists() else "micropython"
            os.execvp(found, [found])

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        with contextlib.suppress(OSError):
            os.close(self._inner)

    def _copy(self) -> None:
        while not self._ending.is_set():
            for fd in select.select([self._outer, self._inner], [], [], 0.1)[0]:
                try:
                    data = os.read(fd, 4096)
                except OSError:
                    data = b""
                if fd == self._inner and not data:
                    self._kill()
                    self._boot()
                    continue
                if fd == self._outer:
                    self.received += data
                os.write(self._inner if fd == self._outer else self._outer, data)
