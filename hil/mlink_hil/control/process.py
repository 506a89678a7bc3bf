"""Starts the program of a virtual board, waits until it is ready, and ends it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import msgspec

from mlink.errors import DeviceError
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.messages import Ready

_READY_SEC = 20.0
_QUIT_SEC = 2.0
_SHOWN_LINES = 5


class SimProcess:
    """A running program of boards; `ready` says what it is. Leaves no process and no file behind.

    `control` is the socket by which it is ended, `leaves` are the other files that it makes.
    """

    ready: Ready

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
        self._command = [sys.executable, "-m", program, *arguments, "--parent", str(os.getpid())]

    def __enter__(self) -> Self:
        # A file and not a pipe: a program that says much must not wait for a reader.
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C in the terminal ends the engine, and that ends us
            )
        except OSError as error:
            self._errors.close()
            raise DeviceError(f"the virtual Uno cannot be started: {error.strerror}") from error
        try:
            self.ready = self._wait_ready()
        except BaseException:
            self._clean_up()
            raise
        self._log.debug("virtual Uno: %s, %s", self.ready.simulator, self.ready.scheduling)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(DeviceError), VirtualBoard.connect(self._control) as board:
                board.quit()
                self._wait(_QUIT_SEC)
        elif kind is None:
            self._log.warning("the virtual Uno had ended by itself: %s", self._last_words())
        self._clean_up()

    def _wait_ready(self) -> Ready:
        """Return what the program says when it is ready; DeviceError when it does not."""
        stdout = self._process.stdout
        assert stdout is not None  # a pipe was asked for
        deadline = time.monotonic() + self._ready_sec
        line = b""
        while not line.endswith(b"\n"):
            wait_sec = deadline - time.monotonic()
            if wait_sec <= 0 or not select.select([stdout], [], [], wait_sec)[0]:
                raise DeviceError(
                    f"the virtual Uno was not ready within {self._ready_sec:g} s: "
                    f"{self._last_words()}",
                    remedy="See whether the machine is overloaded; virtual:uno?simulator=protocol "
                    "needs less of it.",
                )
            part = os.read(stdout.fileno(), 65_536)
            if not part:
                self._wait(_QUIT_SEC)
                raise DeviceError(
                    f"the virtual Uno did not start: {self._last_words()}",
                    remedy=f"Start it by hand to see more: python -m {self._program} --help",
                )
            line += part
        try:
            return msgspec.json.decode(line, type=Ready)
        except msgspec.DecodeError as error:
            raise DeviceError(
                f"the virtual Uno says {line[:80]!r} and not that it is ready"
            ) from error

    def _last_words(self) -> str:
        """Return the end of what the program wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-_SHOWN_LINES:]) or "it does not say why"

    def _wait(self, timeout_sec: float) -> bool:
        """Tell whether the program ended in time."""
        try:
            self._process.wait(timeout_sec)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _clean_up(self) -> None:
        """End the program, in the end by force, and remove what it could not remove."""
        if self._process.poll() is None:
            self._process.terminate()
            if not self._wait(_QUIT_SEC):
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
        for path in (self._control, *self._leaves):
            path.unlink(missing_ok=True)


class UnoProcess(SimProcess):
    """A running program of one board, with its port at `tty`."""

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
