"""Starts the program that simulates boards, waits until it is ready, and ends it.

The program prints one line, its ready message, once its ports and sockets exist. It is ended by a
request on its control socket, then by SIGTERM, then by SIGKILL; when this process dies it ends by
itself.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import msgspec

from mlink.ctrl_c import name_of
from mlink.engine.stalls.disk_wait import processor_wait_s
from mlink.errors import DeviceError
from mlink.worker.forking.warm import start
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.messages import Ready

_READY_SEC = 60.0
_STARVED_SEC = 120.0
"""Most time without a processor that is added to that."""
_LOOK_SEC = 1.0
_QUIT_SEC = 2.0
_SHOWN_LINES = 5


class SimProcess:
    """Context manager of a program that simulates boards; removes its process and its files.

    Args:
        program: Module to run, such as "mlink_hil.sim.avr_uno".
        arguments: Its command-line arguments.
        control: Control socket of one of its boards, by which it is ended.
        leaves: Other files that it creates.
        log: Receives what it is, and a warning when it ends by itself.
        ready_sec: How long its start may take, without the time in which it gets no processor.

    Raises:
        DeviceError: On entry, when the program does not start or is not ready in time.
    """

    ready: Ready
    """The program's ready message; set on entry."""

    def __init__(
        self,
        program: str,
        arguments: list[str],
        *,
        control: Path,
        leaves: Sequence[Path] = (),
        log: logging.Logger,
        ready_sec: float = _READY_SEC,
    ) -> None:
        self._program = program
        self._control = control
        self._leaves = leaves
        self._log = log
        self._ready_sec = ready_sec
        self._arguments = [*arguments, "--parent", str(os.getpid())]

    def __enter__(self) -> Self:
        # A file and not a pipe: a program that writes much must not wait for a reader.
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        try:
            # In a session of its own: Ctrl-C in the terminal ends the engine, and that ends it.
            self._process = start(
                self._program,
                self._arguments,
                stdout=subprocess.PIPE,
                stderr=self._errors.fileno(),
            )
        except OSError as error:
            self._errors.close()
            raise DeviceError(
                f"the simulator {self._program} cannot be started: {error.strerror}"
            ) from error
        # A run that has to end does not wait for a program that is not ready yet.
        atexit.register(self._process.kill)
        try:
            self.ready = self._wait_ready()
        except BaseException:
            self._clean_up()
            raise
        self._log.debug("simulator: %s, %s", self.ready.simulator, self.ready.scheduling)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        asked = False
        if self._process.poll() is None:
            with contextlib.suppress(DeviceError), VirtualBoard.connect(self._control) as board:
                board.quit()
                asked = True
                self._wait(_QUIT_SEC)
        # One that cannot be asked is about to end by itself, and has written why.
        if not asked and kind is None and self._wait(_QUIT_SEC):
            self._log.warning(
                "the simulator %s ended by itself: %s", self._program, self._error_output()
            )
        self._clean_up()

    def _wait_ready(self) -> Ready:
        """Return the program's ready message; DeviceError when it does not come in time."""
        stdout = self._process.stdout
        assert stdout is not None  # a pipe was asked for
        deadline = time.monotonic() + self._ready_sec
        line = b""
        while not line.endswith(b"\n"):
            wait_sec = deadline - time.monotonic()
            if wait_sec <= 0:  # on a busy machine it may have had no processor
                starved_sec = processor_wait_s(self._process.pid)
                wait_sec += min(starved_sec, _STARVED_SEC)
            if wait_sec <= 0:
                raise DeviceError(
                    f"the simulator {self._program} was not ready within {self._ready_sec:g} s: "
                    f"{self._error_output()}",
                    remedy="Check whether the machine is overloaded; "
                    "virtual:uno?simulator=protocol needs less CPU time.",
                )
            if not select.select([stdout], [], [], min(wait_sec, _LOOK_SEC))[0]:
                continue
            part = os.read(stdout.fileno(), 65_536)
            if not part:
                self._wait(_QUIT_SEC)
                raise DeviceError(
                    f"the simulator {self._program} ended while it started: {self._error_output()}",
                    remedy=f"Start it by hand for more details: python -m {self._program} --help",
                )
            line += part
        try:
            return msgspec.json.decode(line, type=Ready)
        except msgspec.DecodeError as error:
            raise DeviceError(
                f"the simulator {self._program} wrote {line[:80]!r} in place of its ready message"
            ) from error

    def _error_output(self) -> str:
        """Return the last lines that the program wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-_SHOWN_LINES:]) or self._exit_reason()

    def _exit_reason(self) -> str:
        """Return in words how a program has ended that wrote nothing."""
        code = self._process.poll()
        if code is None:
            return "it wrote no reason"
        if code >= 0:
            return f"it wrote no reason; its exit code is {code}"
        cause = " (a lack of memory, or another program)" if -code == signal.SIGKILL else ""
        return f"{name_of(-code)} has ended it{cause}"

    def _wait(self, timeout_sec: float) -> bool:
        """Wait for the program's end; return whether it came in time."""
        try:
            self._process.wait(timeout_sec)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _clean_up(self) -> None:
        """End the program, with SIGKILL if need be, and remove the files that it left."""
        if self._process.poll() is None:
            self._process.terminate()
            if not self._wait(_QUIT_SEC):
                self._process.kill()
                self._wait(_QUIT_SEC)
        atexit.unregister(self._process.kill)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
        for path in (self._control, *self._leaves):
            path.unlink(missing_ok=True)


class UnoProcess(SimProcess):
    """Context manager of a program that simulates one board.

    Args:
        program: Module to run, such as "mlink_hil.sim.avr_uno".
        arguments: Its command-line arguments, besides the two paths.
        tty: Where the link to its serial port is to be.
        control: Where its control socket is to be.
        log: Receives what it is, and a warning when it ends by itself.
        ready_sec: How long its start may take.
    """

    def __init__(
        self,
        program: str,
        arguments: list[str],
        *,
        tty: Path,
        control: Path,
        log: logging.Logger,
        ready_sec: float = _READY_SEC,
    ) -> None:
        paths = ["--tty-link", str(tty), "--control", str(control)]
        super().__init__(
            program,
            [*arguments, *paths],
            control=control,
            leaves=[tty],
            log=log,
            ready_sec=ready_sec,
        )
